package services

import (
	"io"
	"net/http"
	"reflect"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
)

// jsonWords are the common refusals of the JSON services [COMMON].
var jsonWords = tgwsim.Words{
	"UnauthorizedOperation": {Code: "AccessDeniedException", Status: http.StatusBadRequest},
	"RequestLimitExceeded":  {Code: "ThrottlingException", Status: http.StatusBadRequest},
	"AuthFailure":           {Code: "InvalidSignatureException", Status: http.StatusBadRequest},
	"RequestExpired":        {Code: "InvalidSignatureException", Status: http.StatusBadRequest},
	"ExpiredToken":          {Code: "ExpiredTokenException", Status: http.StatusBadRequest},
	"InvalidClientTokenId":  {Code: "UnrecognizedClientException", Status: http.StatusBadRequest},
	"InternalError":         {Code: "InternalServerError", Status: http.StatusInternalServerError},
	"MissingParameter":      {Code: "ValidationException", Status: http.StatusBadRequest},
	"UnknownParameter":      {Code: "SerializationException", Status: http.StatusBadRequest},
}

// jsonOperation is an operation of a service of the JSON protocol.
type jsonOperation struct {
	name  string
	input reflect.Type
	run   func(*tgwsim.Call, any) (any, error)
}

func jsonOp[I, O any](name string, f func(*tgwsim.Call, *I) (*O, error)) jsonOperation {
	return jsonOperation{name, reflect.TypeFor[I](), func(c *tgwsim.Call, in any) (any, error) { return f(c, in.(*I)) }}
}

// jsonService is a service of the JSON 1.1 protocol; prefix is that of the header
// X-Amz-Target.
type jsonService struct {
	*wire.Service
	prefix     string
	operations []jsonOperation
}

const jsonType = "application/x-amz-json-1.1"

// decode finds the operation and reads its Input.
func (j jsonService) decode(r *http.Request) (jsonOperation, any, *wire.Error) {
	text, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != jsonType {
		return jsonOperation{}, nil, &wire.Error{Code: "SerializationException", Message: "not a POST of " + jsonType}
	}
	for _, o := range j.operations {
		if r.Header.Get("X-Amz-Target") == j.prefix+"."+o.name {
			in := reflect.New(o.input).Interface()
			return o, in, j.DecodeJSON(text, in)
		}
	}
	return jsonOperation{}, nil, &wire.Error{Code: "UnknownOperationException", Message: "not emulated: " + r.Header.Get("X-Amz-Target")}
}

func (j jsonService) add(s *tgwsim.Server) {
	s.Mount(j.Name, func(w http.ResponseWriter, r *http.Request, signed tgwsim.Scope, refused *wire.Error) {
		o, in, malformed := j.decode(r)
		s.Answer(r.Context(), w, tgwsim.Exchange{
			Service: j.Name, Operation: o.name, Signed: signed, Refused: refused, Words: jsonWords, ContentType: jsonType, Fail: wire.EncodeJSONError,
			Act: func(c *tgwsim.Call) ([]byte, *wire.Error) {
				if malformed != nil {
					c.Violation("%s: %v", j.Name, malformed)
					return nil, c.Translate(malformed)
				}
				if err := c.Permit(j.Name, o.name, false); err != nil {
					return nil, err
				}
				out, err := o.run(c, in)
				if err != nil {
					return nil, tgwsim.WireError(err)
				}
				body, err := wire.EncodeJSON(out)
				if err != nil { // a mistake in the emulator must not look like AWS
					c.Violation("%s: %v", o.name, err)
					return nil, tgwsim.WireError(err)
				}
				return body, nil
			},
		})
	})
}
