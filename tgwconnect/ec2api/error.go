package ec2api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error is what became of a call that failed. It holds AWS's words, which name
// the caller and the resource, and never credentials.
type Error struct {
	Op         string // the API's name of the call
	Code       string // AWS's, empty: there was no answer
	Message    string
	HTTPStatus int // 0: there was no answer
	RequestID  string
	unknown    bool  // a change may have been made
	cause      error // of the context, or nil
}

func (e *Error) Error() string {
	switch {
	case e.Code == "":
		return fmt.Sprintf("%s: no answer: %s", e.Op, e.Message)
	case e.Message == "":
		return fmt.Sprintf("%s: %s", e.Op, e.Code)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Code, e.Message)
}

// Unwrap is context.Canceled or context.DeadlineExceeded if that ended the call.
func (e *Error) Unwrap() error { return e.cause }

// Code is AWS's word for an error of a Client, "" for any other.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// IsNotFound says that the named object is not there; just after it was made it
// means "not yet" [ERR].
func IsNotFound(err error) bool {
	code := Code(err)
	return strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, "NotFoundException") || strings.HasSuffix(code, "NotFound")
}

// IsThrottled says that there were too many requests, by whomever in the account.
func IsThrottled(err error) bool { return throttleCodes[Code(err)] }

// IsUnauthorized says that a permission is missing, or that the credentials are
// not good (any more); the message says which.
func IsUnauthorized(err error) bool {
	switch Code(err) {
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure", "Blocked", "PendingVerification",
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "SignatureDoesNotMatch",
		"UnrecognizedClientException", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired":
		return true
	}
	return false
}

// IsUnknownOutcome says that a change may have been made or not: its answer was
// lost, or was an internal error of AWS.
func IsUnknownOutcome(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.unknown
}

// longestMessage bounds what is kept of AWS's words; an UnauthorizedOperation
// brings its encoded message of some kilobytes.
const longestMessage = 500

// fail makes an Error of what the SDK returned. changes: the call was a write.
// A dry run that would have succeeded is no error.
func (c *Client) fail(op string, err error, changes bool) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op}
	var api smithy.APIError
	e.HTTPStatus = httpStatus(err)
	var withID interface{ ServiceRequestID() string }
	if errors.As(err, &withID) {
		e.RequestID = withID.ServiceRequestID()
	}
	if errors.As(err, &api) {
		e.Code, e.Message = api.ErrorCode(), api.ErrorMessage()
		if e.Code == "DryRunOperation" {
			return nil
		}
		e.unknown = changes && e.HTTPStatus >= 500 && !throttleCodes[e.Code]
	} else {
		e.Message = innermost(err).Error()
		var sent *smithyhttp.RequestSendError
		e.unknown = changes && (errors.As(err, &sent) || e.HTTPStatus != 0 || ended(err) != nil)
	}
	e.cause = ended(err)
	if i := strings.Index(e.Message, "Encoded authorization failure message"); i >= 0 {
		e.Message = strings.TrimSpace(e.Message[:i])
	}
	if len(e.Message) > longestMessage {
		e.Message = strings.ToValidUTF8(e.Message[:longestMessage], "") + "..."
	}
	c.stats.failed.Add(1)
	if IsUnauthorized(e) {
		c.stats.unauthorized.Add(1)
	}
	c.o.Logger.Debug("call failed", "edge", "aws", "op", op, "reason", e.Code, "err", e.Message)
	return e
}

// ended is the context's error, if it is in err.
func ended(err error) error {
	for _, target := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			return target
		}
	}
	return nil
}

// innermost is what the SDK's many layers wrap.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
