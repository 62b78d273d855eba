package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Code is the kind of an error as a stable word. Every code has one exit code
// of the command line and one HTTP status.
type Code string

// Codes.
const (
	CodeFailed      Code = "failed"         // the operation failed
	CodeUsage       Code = "usage"          // it was asked for in the wrong way
	CodeNotFound    Code = "not_found"      // the named object does not exist
	CodeUnreachable Code = "unreachable"    // the daemon does not answer
	CodeDegraded    Code = "degraded"       // a check found a problem
	CodeInvalid     Code = "config_invalid" // the configuration is wrong
	CodeRefused     Code = "refused"        // a guard said no
	CodePartial     Code = "partial"        // some of it failed
	CodeTimeout     Code = "timeout"
)

var codes = map[Code]struct{ exit, status int }{
	CodeFailed:      {1, http.StatusInternalServerError},
	CodeUsage:       {2, http.StatusBadRequest},
	CodeNotFound:    {3, http.StatusNotFound},
	CodeUnreachable: {4, http.StatusServiceUnavailable},
	CodeDegraded:    {5, http.StatusInternalServerError},
	CodeInvalid:     {6, http.StatusUnprocessableEntity},
	CodeRefused:     {7, http.StatusConflict},
	CodePartial:     {8, http.StatusMultiStatus},
	CodeTimeout:     {124, http.StatusGatewayTimeout},
}

// Exit is the exit code of the command line for c.
func (c Code) Exit() int {
	if e, ok := codes[c]; ok {
		return e.exit
	}
	return codes[CodeFailed].exit
}

func (c Code) status() int {
	if e, ok := codes[c]; ok {
		return e.status
	}
	return http.StatusInternalServerError
}

// Error is an error with a code. Its text names the object and has no secret.
type Error struct {
	Schema string `json:"schema"`
	Text   string `json:"error"`
	Code   Code   `json:"code"`
	Exit   int    `json:"exit"`
	Hint   string `json:"hint,omitempty"` // what to do about it
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// Errorf makes an error with a code.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Schema: Schema, Text: fmt.Sprintf(format, args...), Code: c, Exit: c.Exit()}
}

// NotFound says that there is no object of this kind and name.
func NotFound(kind, name string) *Error {
	return Errorf(CodeNotFound, "%s %s: no such %s", kind, name, kind)
}

// Refused says that a guard forbids it.
func Refused(format string, args ...any) *Error { return Errorf(CodeRefused, format, args...) }

// Usagef says that the question makes no sense.
func Usagef(format string, args ...any) *Error { return Errorf(CodeUsage, format, args...) }

// WithHint adds what to do about it.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// AsError gives every error a code: its own, or one by what it wraps.
func AsError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return Errorf(CodeTimeout, "%v", err)
	default:
		return Errorf(CodeFailed, "%v", err)
	}
}

// Closest returns the word of all that was probably meant by word, or nothing.
func Closest(word string, all []string) string {
	best, found := max(1, len(word)/2)+1, ""
	for _, w := range all {
		if d := distance(word, w); d < best {
			best, found = d, w
		}
	}
	return found
}

// distance is the edit distance of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
