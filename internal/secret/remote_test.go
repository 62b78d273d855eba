package secret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// store is a store elsewhere, with a switch for its outage.
type store struct {
	mu    sync.Mutex
	docs  map[string]string
	err   error // of every fetch
	calls atomic.Int32
}

func (s *store) Fetch(ctx context.Context, name string) (Document, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return Document{}, s.err
	}
	text, ok := s.docs[name]
	if !ok {
		return Document{}, fmt.Errorf("%w; create it", ErrNotFound)
	}
	return Document{Text: NewValue(text)}, nil
}

func (s *store) set(name, text string) { s.mu.Lock(); s.docs[name] = text; s.mu.Unlock() }
func (s *store) fail(err error)        { s.mu.Lock(); s.err = err; s.mu.Unlock() }

func remote(t *testing.T) (*store, *Resolver) {
	t.Helper()
	s := &store{docs: map[string]string{"gw": `{"wg0":"` + key + `","n":7}`, "plain": key + "\n"}}
	r := Default()
	r.Register(SchemeAWS, &Remote{Scheme: SchemeAWS, Fetcher: s, Budget: 50 * time.Millisecond, Pause: time.Millisecond})
	return s, r
}

func TestRemoteOpensDocumentsAndFields(t *testing.T) {
	s, r := remote(t)
	for name, want := range map[string]string{
		"gw#wg0":    "",
		"plain":     "",
		"gw#n":      "aws-sm:gw: field n is not a string",
		"gw#absent": "aws-sm:gw: it has no field absent",
		"plain#f":   "aws-sm:plain: not a JSON object, so it has no field f",
		"nowhere":   "aws-sm:nowhere: no such secret; create it",
		"gw#":       "aws-sm: the name is malformed; write aws-sm:NAME or aws-sm:NAME#FIELD",
	} {
		v, err := r.Open(Ref{SchemeAWS, name})
		switch {
		case want == "" && (err != nil || v.Reveal() != key):
			t.Errorf("%s: got %v", name, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	s.calls.Store(0)
	r.Prefetch(t.Context(), []Ref{{SchemeAWS, "gw#wg0"}, {SchemeAWS, "gw#n"}, {"file", "/x"}})
	_, _ = r.Open(Ref{SchemeAWS, "gw#wg0"})
	if n := s.calls.Load(); n != 1 {
		t.Errorf("two fields and one open: got %d fetches, want 1", n)
	}
}

func TestLastGoodValueSurvivesAnOutageAndNothingElse(t *testing.T) {
	s, r := remote(t)
	ref := Ref{SchemeAWS, "gw#wg0"}
	refs := []Ref{ref}
	r.Prefetch(t.Context(), refs)
	s.fail(fmt.Errorf("%w: connection refused", ErrUnavailable))
	r.Prefetch(t.Context(), refs)
	if v, err := r.Open(ref); err != nil || v.Reveal() != key {
		t.Errorf("during the outage: got %v", err)
	}
	if err := r.Trouble(ref); err == nil || !strings.Contains(err.Error(), "stays in force") {
		t.Errorf("during the outage: trouble is %v", err)
	}
	s.fail(nil)
	s.set("gw", `{"wg0":"new"}`)
	r.Prefetch(t.Context(), refs)
	if v, err := r.Open(ref); err != nil || v.Reveal() != "new" || r.Trouble(ref) != nil {
		t.Errorf("after it: got %v, trouble %v", err, r.Trouble(ref))
	}
	// A store that answers is believed: what it took away or refuses is no outage.
	s.fail(ErrDenied)
	r.Prefetch(t.Context(), refs)
	if _, err := r.Open(ref); !errors.Is(err, ErrDenied) {
		t.Errorf("refused: got %v", err)
	}
}

func TestStoreThatIsDownAtStartIsTriedForABoundedTime(t *testing.T) {
	s, r := remote(t)
	s.fail(fmt.Errorf("%w: connection refused; start it", ErrUnavailable))
	var refs []Ref
	for i := range 1000 {
		refs = append(refs, Ref{SchemeAWS, fmt.Sprintf("doc%d", i)})
	}
	began := time.Now()
	r.Prefetch(t.Context(), refs)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s, want about the budget of 50 ms", took)
	}
	_, err := r.Open(refs[999])
	if !errors.Is(err, ErrUnavailable) || err.Error() != "aws-sm:doc999: no answer: connection refused; start it" {
		t.Errorf("got %v", err)
	}
	if n := s.calls.Load(); n < 2*parallel || n > 2000 {
		t.Errorf("got %d fetches of 1000 documents, want several tries of the first %d only", n, parallel)
	}
	s.fail(nil)
	s.set("doc999", "x")
	if _, err := r.Open(refs[999]); err == nil {
		t.Error("Open asked again within the round")
	}
	r.Prefetch(t.Context(), refs[999:])
	if v, err := r.Open(refs[999]); err != nil || v.Reveal() != "x" {
		t.Errorf("got %v", err)
	}
}

func TestRemoteSchemesAreKnownByFormEverywhere(t *testing.T) {
	r := Default()
	for name, ok := range map[string]bool{
		"vault:kv/wgbgp/gw#key": true, "vault:kv/wgbgp/gw": false,
		"aws-sm:arn:aws:secretsmanager:eu-central-1:123456789012:secret:gw-AbCdEf#wg0": true,
		"ssm:/wgbgp/gw/wg0": true, "aws-sm:a b": false, "ssm:#x": false,
	} {
		ref, err := ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Check(ref); (err == nil) != ok {
			t.Errorf("Check(%s): got %v", name, err)
		}
		if _, err := r.Open(ref); !ok && err == nil || ok && !errors.Is(err, ErrNotHere) {
			t.Errorf("Open(%s): got %v, want ErrNotHere", name, err)
		}
		if !r.IsRemote(ref.Scheme) {
			t.Errorf("%s is not remote", ref.Scheme)
		}
	}
}
