// Package tgwsim emulates what a gateway on EC2 talks to: the EC2 API as far as
// it concerns Transit Gateway Connect and the VPC around an appliance, and the
// instance metadata service. README.md says how to use it, what each behaviour is
// known from, and what is assumed.
//
// Package wire translates between HTTP and the SDK's structs, package world holds
// the objects and AWS's rules, and this package is the server between them:
// signatures, permissions, throttling, faults (server.go, exchange.go, faults.go),
// one file per group of operations (ec2_*.go), control.go for scenarios and imds.go.
// Services besides EC2 are in package services.
package tgwsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Options of a Server; the zero value is fine.
type Options struct {
	Seed   uint64           // of all that is left to chance
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: silent
}

// Server answers for AWS. It is an http.Handler; which service is meant follows
// from the credential scope of the request's signature, so that one address
// serves all.
type Server struct {
	world *world.World
	now   func() time.Time
	log   *slog.Logger

	mu         sync.Mutex
	faults     Faults
	random     *rand.Rand
	buckets    map[string]*bucket
	calls      []LoggedCall
	violations []string
	requests   uint64

	query    map[string]*queryService // by name in the credential scope
	handlers map[string]Handler
}

// queryService is a service of package wire with its operations.
type queryService struct {
	*wire.Service
	words      Words
	operations map[string]Operation
	verify     func(r *http.Request, body []byte, signed Scope) *wire.Error
}

// Operation is an operation of a Query service. Make it with Op.
type Operation struct {
	Name          string
	input, output reflect.Type
	run           func(c *Call, s *wire.Service, form url.Values) (any, *wire.Error)
}

// Call is what an operation knows of its request.
type Call struct {
	*Server
	Context context.Context
	World   *world.World
	State   *world.State // as the caller sees it, perhaps not the newest
	Signed  Scope

	past  *world.State // with a lag: what a change can be about
	words Words
	id    string // of the request
}

// Input is the type of the SDK's Input struct.
func (o Operation) Input() reflect.Type { return o.input }

// Op makes an Operation of a function of the SDK's Input and Output structs. It
// may return a *wire.Error or a *world.Error; others become InternalError.
func Op[I, O any](name string, f func(*Call, *I) (*O, error)) Operation {
	return Operation{Name: name, input: reflect.TypeFor[I](), output: reflect.TypeFor[O](), run: func(c *Call, s *wire.Service, form url.Values) (any, *wire.Error) {
		in := new(I)
		if err := s.Decode(form, in); err != nil {
			if err.Code == "UnknownParameter" || err.Code == "MissingParameter" {
				c.Violation("%s: %s", name, err.Message)
			}
			return nil, c.Translate(err)
		}
		if err := c.Permit(s.Name, name, dryRun(in)); err != nil {
			return nil, err
		}
		if err := c.unseen(in); err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, WireError(err)
		}
		return out, nil
	}}
}

func dryRun(in any) bool {
	f := reflect.ValueOf(in).Elem().FieldByName("DryRun")
	return f.IsValid() && !f.IsNil() && f.Elem().Bool()
}

// WireError is what the API says of an error of the world; others become
// InternalError.
func WireError(err error) *wire.Error {
	var w *wire.Error
	var refusal *world.Error
	switch {
	case errors.As(err, &w):
		return w
	case errors.As(err, &refusal):
		return &wire.Error{Code: refusal.Code, Message: refusal.Message}
	}
	return &wire.Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}

// NewServer returns a Server with the operations of EC2.
func NewServer(w *world.World, o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		world: w, now: o.Now, log: o.Logger, random: rand.New(rand.NewPCG(o.Seed, 0)),
		buckets: map[string]*bucket{}, query: map[string]*queryService{}, handlers: map[string]Handler{},
	}
	s.AddService(wire.EC2, nil, ec2Operations()...)
	return s
}

// AddService serves another service of the Query protocol.
func (s *Server) AddService(service *wire.Service, words Words, operations ...Operation) {
	q := &queryService{Service: service, words: words, operations: map[string]Operation{}}
	for _, o := range operations {
		q.operations[o.Name] = o
	}
	s.query[service.Name] = q
}

// Verify adds a look at the whole request to what a Query service does with
// signatures.
func (s *Server) Verify(service string, look func(r *http.Request, body []byte, signed Scope) *wire.Error) {
	s.query[service].verify = look
}

// Handler answers requests of a service of another protocol, by Answer. It is
// told what is wrong with the signature, for its own words for that.
type Handler func(w http.ResponseWriter, r *http.Request, signed Scope, refused *wire.Error)

// Mount serves a service by its name in the credential scope.
func (s *Server) Mount(service string, h Handler) { s.handlers[service] = h }

// World is the world behind the API.
func (s *Server) World() *world.World { return s.world }

// Run lets the world's time pass until ctx ends, for a network that must see what
// becomes available without anybody asking.
func (s *Server) Run(ctx context.Context) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			s.world.Tick()
		}
	}
}

// mostBody bounds a request; the real limit is larger.
const mostBody = 1 << 20

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, ControlPath) {
		s.Control().ServeHTTP(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	scope, err := parseScope(r, s.world.Snapshot(), s.now())
	if h, ok := s.handlers[scope.Service]; ok {
		h(w, r, scope, err)
		return
	}
	q := s.query[scope.Service]
	if q == nil {
		q = s.query[wire.EC2.Name]
		if err == nil {
			s.Violation("a request is signed for the service %q, which is not emulated", scope.Service)
			err = &wire.Error{Code: "AuthFailure", Message: "no such service: " + scope.Service, Status: http.StatusForbidden}
		}
	}
	s.serveQuery(w, r, q, scope, err)
}

func (s *Server) serveQuery(w http.ResponseWriter, r *http.Request, q *queryService, signed Scope, authError *wire.Error) {
	if q.verify != nil && authError == nil {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			authError = q.verify(r, body, signed)
		}
	}
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		authError = &wire.Error{Code: "InvalidRequest", Message: "not a POST of a form"}
	}
	action := r.PostForm.Get("Action")
	s.Answer(r.Context(), w, Exchange{
		Service: q.Name, Operation: action, Signed: signed, Refused: authError, Words: q.words, ContentType: "text/xml;charset=UTF-8", Fail: q.EncodeError,
		Act: func(c *Call) ([]byte, *wire.Error) {
			out, err := s.act(c, q, action, r.PostForm)
			if err != nil {
				return nil, err
			}
			return c.Encoded(q.Service, action, out)
		},
	})
}

// Encoded is the body of a successful answer. A mistake in the emulator must not
// look like AWS: it is a violation.
func (c *Call) Encoded(service *wire.Service, operation string, out any) ([]byte, *wire.Error) {
	body, err := service.Encode(operation, c.RequestID(), out)
	if err != nil {
		c.Violation("%v", err)
		return nil, WireError(err)
	}
	return body, nil
}

func (s *Server) act(c *Call, q *queryService, action string, form url.Values) (any, *wire.Error) {
	o, ok := q.operations[action]
	if !ok {
		s.Violation("%s: the action is not emulated", action)
		return nil, &wire.Error{Code: "InvalidAction", Message: "The action " + action + " is not valid for this web service."} // [ERR]
	}
	if v := form.Get("Version"); v != q.Version {
		s.Violation("%s: version %q", action, v)
		return nil, &wire.Error{Code: "NoSuchVersion", Message: "The requested version (" + v + ") of service " + q.Name + " does not exist"}
	}
	return o.run(c, q.Service, form)
}
