package tgwsim

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Words are what a service calls the refusals that are common to all, by the
// codes of EC2: UnauthorizedOperation, RequestLimitExceeded, AuthFailure and such.
// What it has no word for is called as in EC2.
type Words map[string]Word

// Word is a code with its status of HTTP.
type Word struct {
	Code   string
	Status int
}

func (w Words) translate(e *wire.Error) *wire.Error {
	if word, ok := w[e.Code]; ok {
		return &wire.Error{Code: word.Code, Message: e.Message, Status: word.Status}
	}
	return e
}

// Exchange is one request of any protocol: what is needed to answer it.
type Exchange struct {
	Service, Operation string
	Signed             Scope
	// Refused is what is wrong with it before it is looked at, such as its
	// signature; nil: nothing.
	Refused *wire.Error
	Words   Words
	// Act does what was asked and writes the answer's body. It is not called when
	// the request is refused, throttled, or cut off before.
	Act func(*Call) ([]byte, *wire.Error)
	// Fail writes the body of an error.
	Fail        func(e *wire.Error, requestID string) []byte
	ContentType string
}

// largeAnswer is the size in bytes from which an answer takes a millisecond, as
// from AWS it always does. smithy-go 1.28 closes the request's body when the answer
// begins; if net/http has not asked yet whether there is more of it, it takes that
// for an error and closes the connection, and what it has not read is lost.
const largeAnswer = 2000

// Answer is what every request of every service goes through: faults, signature,
// permissions, the log of calls. The caller's Act does the rest.
func (s *Server) Answer(ctx context.Context, w http.ResponseWriter, x Exchange) {
	c, cut, err := s.begin(ctx, x.Service, x.Operation)
	c.words, c.Signed = x.Words, x.Signed
	if err == nil {
		err = x.Refused
	}
	if err != nil {
		err = x.Words.translate(err)
	}
	status, body := http.StatusOK, []byte(nil)
	if err == nil && !cut.before {
		body, err = x.Act(c)
	}
	code := ""
	if err != nil {
		code, status = err.Code, or(err.Status, http.StatusBadRequest)
		body = x.Fail(err, c.RequestID())
	}
	s.record(LoggedCall{Time: s.now(), Service: x.Service, Operation: x.Operation, Code: code, Cut: cut.before || cut.after})
	s.log.Debug("call", "service", x.Service, "operation", x.Operation, "code", code, "cut", cut.before || cut.after)
	if cut.before || cut.after {
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
	}
	if len(body) > largeAnswer {
		time.Sleep(time.Millisecond)
	}
	w.Header().Set("Content-Type", x.ContentType)
	w.Header().Set("X-Amzn-Requestid", c.RequestID())
	w.WriteHeader(status)
	w.Write(body) // the caller has gone
}

// Permit applies the caller's policy, and ends a dry run: its success is an error
// too [ERR; the statuses are those of the real service].
func (c *Call) Permit(service, action string, dryRun bool) *wire.Error {
	name := service + ":" + action
	if c.State.Denied[name] || c.State.Denied[service+":*"] {
		return c.words.translate(&wire.Error{
			Code: "UnauthorizedOperation", Status: http.StatusForbidden,
			Message: "You are not authorized to perform this operation. User: " + c.Caller().ARN + " is not authorized to perform: " + name,
		})
	}
	if dryRun {
		return &wire.Error{Code: "DryRunOperation", Status: http.StatusPreconditionFailed, Message: "Request would have succeeded, but DryRun flag is set."}
	}
	return nil
}

// Translate gives an error the word of the call's service.
func (c *Call) Translate(e *wire.Error) *wire.Error { return c.words.translate(e) }

// Caller is who has signed: one of the world's callers, or a gateway if it has none.
func (c *Call) Caller() world.Caller {
	if known, ok := c.State.Callers[c.Signed.AccessKey]; ok {
		return known
	}
	return world.Caller{ARN: "arn:aws:sts::" + c.State.AccountID + ":assumed-role/gateway/i", UserID: "AROAEXAMPLE:i"}
}

// RequestID is the ID that AWS gives each request.
func (c *Call) RequestID() string {
	if c.id == "" {
		c.mu.Lock()
		c.requests++
		c.id = fmt.Sprintf("00000000-0000-4000-8000-%012x", c.requests)
		c.mu.Unlock()
	}
	return c.id
}
