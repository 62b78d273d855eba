package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of stores that are reached over a network.
var (
	// ErrUnavailable: the store did not answer or has no time; another try may
	// succeed.
	ErrUnavailable = errors.New("no answer")
	// ErrNotFound: the store answers, and the secret is not there.
	ErrNotFound = errors.New("no such secret")
	// ErrDenied: the store answers, and refuses.
	ErrDenied = errors.New("permission denied")
)

// Document is what a store holds under one name: a text, or with fields the text
// of a JSON object.
type Document struct {
	Text    Value
	Version string // changes when the text does; empty: the store has none
}

// Fetcher reads documents from one store. Its errors wrap one of the above where
// they can, name the cure after "; " and never repeat content.
type Fetcher interface {
	Fetch(ctx context.Context, name string) (Document, error)
}

// Remote is the source of a scheme whose secrets are kept in a store elsewhere:
// "SCHEME:NAME" or "SCHEME:NAME#FIELD". A document is fetched once for all its
// fields. While the store does not answer, the last value that it gave in this
// process stays good.
type Remote struct {
	Scheme  string
	Fetcher Fetcher
	// NeedField: documents of this store are always objects.
	NeedField bool
	// Timeout bounds one fetch; 0: 5 s. Budget bounds a Prefetch with all its
	// tries; 0: 20 s. Pause is the time between two tries; 0: 1 s.
	Timeout, Budget, Pause time.Duration

	mu   sync.Mutex
	docs map[string]*document
}

// document is what is known of one name.
type document struct {
	good Document
	at   time.Time // of good; zero: never fetched
	err  error     // of the last attempt
	done bool      // attempted by Prefetch since it was opened last
}

// parallel bounds how many documents are fetched at once: stores count requests
// per second for all hosts together.
const parallel = 8

// Split cuts a name into the document's and the field's. The field is what
// follows the last "#".
func Split(name string) (doc, field string) {
	if i := strings.LastIndexByte(name, '#'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// Check judges the form of a name; it asks nobody.
func (r *Remote) Check(name string) ([]string, error) {
	return nil, checkRemote(r.Scheme, name, r.NeedField)
}

func checkRemote(scheme, name string, needField bool) error {
	doc, field := Split(name)
	if doc == "" || strings.HasSuffix(name, "#") || strings.ContainsAny(name, " \t\r\n?") {
		return fmt.Errorf("%s: the name is malformed; write %s:NAME or %s:NAME#FIELD", scheme, scheme, scheme)
	}
	if needField && field == "" {
		return fmt.Errorf("%s:%s: which field is meant is missing; write %s:%s#FIELD", scheme, name, scheme, name)
	}
	return nil
}

// Open returns the secret: from what Prefetch got, else it asks the store.
func (r *Remote) Open(name string) (Value, error) {
	if err := checkRemote(r.Scheme, name, r.NeedField); err != nil {
		return Value{}, err
	}
	doc, field := Split(name)
	r.mu.Lock()
	d := r.docs[doc]
	r.mu.Unlock()
	if d == nil || !d.done {
		r.fetch(context.Background(), doc)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d = r.docs[doc]
	if d.at.IsZero() || d.err != nil && !errors.Is(d.err, ErrUnavailable) {
		return Value{}, fmt.Errorf("%s:%s: %w", r.Scheme, doc, d.err)
	}
	v, err := pick(d.good.Text, field)
	if err != nil {
		return Value{}, fmt.Errorf("%s:%s: %w", r.Scheme, doc, err)
	}
	return v, nil
}

// Trouble is why the value of a name is an old one; nil: it is not.
func (r *Remote) Trouble(name string) error {
	doc, _ := Split(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.docs[doc]; d != nil && d.err != nil && !d.at.IsZero() {
		return fmt.Errorf("%s:%s: %w; the value of %s ago stays in force", r.Scheme, doc, d.err, time.Since(d.at).Round(time.Second))
	}
	return nil
}

// Prefetch asks the store for every named document, once each, some at a time,
// and again within the budget for those that it did not answer and of which
// nothing is known.
func (r *Remote) Prefetch(ctx context.Context, names []string) {
	budget, pause := orTime(r.Budget, 20*time.Second), orTime(r.Pause, time.Second)
	ctx, stop := context.WithTimeout(ctx, budget)
	defer stop()
	want := map[string]bool{}
	for _, n := range names {
		if doc, _ := Split(n); checkRemote(r.Scheme, n, r.NeedField) == nil {
			want[doc] = true
		}
	}
	for {
		r.all(ctx, want)
		r.mu.Lock()
		for doc := range want {
			if d := r.docs[doc]; d.at.IsZero() && errors.Is(d.err, ErrUnavailable) {
				continue
			}
			delete(want, doc)
		}
		r.mu.Unlock()
		if len(want) == 0 {
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// all fetches the documents, some at a time. A store that leaves the first ones
// without an answer is not asked for the rest: each would take its time-out.
func (r *Remote) all(ctx context.Context, want map[string]bool) {
	docs := make([]string, 0, len(want))
	for doc := range want {
		docs = append(docs, doc)
	}
	slices.Sort(docs)
	for len(docs) > 0 {
		n := min(parallel, len(docs))
		var wg sync.WaitGroup
		for _, doc := range docs[:n] {
			wg.Go(func() { r.fetch(ctx, doc) })
		}
		wg.Wait()
		r.mu.Lock()
		var down error
		for _, doc := range docs[:n] {
			if err := r.docs[doc].err; err == nil || !errors.Is(err, ErrUnavailable) {
				down = nil
				break
			} else {
				down = err
			}
		}
		docs = docs[n:]
		if down != nil {
			for _, doc := range docs {
				d := r.doc(doc)
				d.err, d.done = down, true
			}
			docs = nil
		}
		r.mu.Unlock()
	}
}

// fetch asks for one document and remembers the answer.
func (r *Remote) fetch(ctx context.Context, name string) {
	ctx, stop := context.WithTimeout(ctx, orTime(r.Timeout, 5*time.Second))
	defer stop()
	got, err := r.Fetcher.Fetch(ctx, name)
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, ErrUnavailable):
		err = fmt.Errorf("%w in time", ErrUnavailable)
	case err == nil && len(got.Text.s) > maxSecret:
		err = fmt.Errorf("larger than %d bytes", maxSecret)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.doc(name)
	d.err, d.done = err, true
	if err == nil {
		d.good, d.at = got, time.Now()
	}
}

// doc returns the entry of a name. mu held.
func (r *Remote) doc(name string) *document {
	if r.docs == nil {
		r.docs = map[string]*document{}
	}
	if r.docs[name] == nil {
		r.docs[name] = &document{}
	}
	return r.docs[name]
}

// settle ends a round: the next Open of a name that no Prefetch asked for asks
// the store.
func (r *Remote) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.docs {
		d.done = false
	}
}

// pick takes one field of a document. Its errors tell neither the content nor
// the names of other fields.
func pick(text Value, field string) (Value, error) {
	if field == "" {
		return text, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(text.s), &fields) != nil {
		return Value{}, fmt.Errorf("not a JSON object, so it has no field %s", field)
	}
	raw, ok := fields[field]
	if !ok {
		return Value{}, fmt.Errorf("it has no field %s", field)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return Value{}, fmt.Errorf("field %s is not a string", field)
	}
	return Value{s}, nil
}

func orTime(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// elsewhere is the source of a remote scheme in a program that can not ask the
// store: it judges the form only.
type elsewhere struct {
	scheme    string
	needField bool
}

// Check judges the form of a name.
func (e elsewhere) Check(name string) ([]string, error) {
	return nil, checkRemote(e.scheme, name, e.needField)
}

// Open refuses.
func (e elsewhere) Open(name string) (Value, error) {
	doc, _ := Split(name)
	return Value{}, fmt.Errorf("%s:%s: only the daemon asks this store: %w", e.scheme, doc, ErrNotHere)
}

// Fixed are secrets that are known already, by their references.
type Fixed map[Ref]Value

// Resolver opens what is known and nothing else.
func (f Fixed) Resolver() *Resolver {
	r := &Resolver{}
	for ref := range f {
		r.Register(ref.Scheme, fixed{f, ref.Scheme})
	}
	return r
}

type fixed struct {
	known  Fixed
	scheme string
}

// Check says nothing.
func (f fixed) Check(string) ([]string, error) { return nil, nil }

// Open returns the known value.
func (f fixed) Open(name string) (Value, error) {
	v, ok := f.known[Ref{f.scheme, name}]
	if !ok {
		return Value{}, ErrNotFound
	}
	return v, nil
}
