// Package secret opens secrets by reference, so that no key ever stands in a
// configuration file. A reference is "scheme:name"; the schemes of Default are
// file, credential and env; those of stores elsewhere (aws-sm, ssm, vault) are
// known by form only, until the daemon registers a Remote for each.
//
// Nothing in this package prints a secret: Value redacts itself in every
// formatter, and no error repeats the text of a reference that does not parse,
// because the likeliest wrong reference is the key itself.
package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// Value is an opened secret. Every formatter and encoder redacts it; Reveal is
// the one way to the text.
type Value struct{ s string }

// NewValue wraps the text of a secret. Sources use it.
func NewValue(s string) Value { return Value{s} }

// Reveal returns the text, for the one caller that parses or uses it.
func (v Value) Reveal() string { return v.s }

// IsZero reports whether the secret is unset.
func (v Value) IsZero() bool { return v.s == "" }

// String redacts.
func (v Value) String() string { return redacted }

// GoString redacts.
func (v Value) GoString() string { return redacted }

// Format redacts whatever the verb is.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText redacts, so that no JSON or TOML writer can print the secret.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts in slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// Ref is a parsed reference, such as "file:/etc/wgbgp/wg0.key". It says where a
// secret is and may be printed.
type Ref struct{ Scheme, Name string }

// String is the form that ParseRef reads; empty for the zero Ref.
func (r Ref) String() string {
	if r == (Ref{}) {
		return ""
	}
	return r.Scheme + ":" + r.Name
}

// IsZero reports whether the reference is unset.
func (r Ref) IsZero() bool { return r == Ref{} }

// Errors that callers tell apart.
var (
	// ErrLiteral: the text is no reference at all; it may be the secret itself.
	ErrLiteral = errors.New("not a secret reference")
	// ErrNotHere: the source does not exist in this process (a variable that
	// is not set, no credentials directory). A check run from a shell, outside
	// the service's environment, can not tell whether the service has it.
	ErrNotHere = errors.New("not in this environment")
)

// ParseRef reads "scheme:name". Its errors never repeat the input, and a key with a
// scheme in front is none: messages repeat the names of references.
func ParseRef(s string) (Ref, error) {
	scheme, name, ok := strings.Cut(s, ":")
	if !ok || name == "" || !isScheme(scheme) || isKey(name) {
		return Ref{}, ErrLiteral
	}
	return Ref{scheme, name}, nil
}

// isKey says that a text is a key of WireGuard: 32 bytes in base64.
func isKey(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(b) == 32
}

// isScheme follows RFC 3986 section 3.1 in lower case. Base64 has no colon, so
// a key never looks like a reference.
func isScheme(s string) bool {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '+' && c != '.') {
			return false
		}
	}
	return s != ""
}

// Source opens the secrets of one scheme. Both methods name the object and the
// cure in their errors and never repeat content.
type Source interface {
	// Check says whether Open would succeed, without reading the secret.
	// Warnings are things that work but should not stay that way.
	Check(name string) (warnings []string, err error)
	// Open reads the secret.
	Open(name string) (Value, error)
}

// Resolver is the registry of schemes. It is set up once and then only read.
type Resolver struct{ sources map[string]Source }

// Schemes of stores elsewhere.
const (
	SchemeAWS   = "aws-sm" // AWS Secrets Manager: aws-sm:NAME-or-ARN#FIELD
	SchemeSSM   = "ssm"    // SSM Parameter Store, SecureString: ssm:/PATH
	SchemeVault = "vault"  // Vault or OpenBao, KV v2: vault:MOUNT/PATH#FIELD
)

// Default knows file, credential and env, in the environment of this process, and
// the form of the others.
func Default() *Resolver {
	r := &Resolver{}
	r.Register("file", File{})
	r.Register("credential", Credential{})
	r.Register("env", Env{})
	r.Register(SchemeAWS, elsewhere{scheme: SchemeAWS})
	r.Register(SchemeSSM, elsewhere{scheme: SchemeSSM})
	r.Register(SchemeVault, elsewhere{scheme: SchemeVault, needField: true})
	return r
}

// Register adds or replaces the source of a scheme.
func (r *Resolver) Register(scheme string, s Source) {
	if r.sources == nil {
		r.sources = map[string]Source{}
	}
	r.sources[scheme] = s
}

// Schemes lists what is registered, sorted.
func (r *Resolver) Schemes() []string {
	out := make([]string, 0, len(r.sources))
	for s := range r.sources {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (r *Resolver) source(ref Ref) (Source, error) {
	s, ok := r.sources[ref.Scheme]
	if !ok {
		// The scheme is not repeated either: it may be the head of a secret.
		return nil, fmt.Errorf("unknown secret scheme; this build knows %s", strings.Join(r.Schemes(), ", "))
	}
	return s, nil
}

// Check says whether Open would succeed, without reading the secret.
func (r *Resolver) Check(ref Ref) (warnings []string, err error) {
	s, err := r.source(ref)
	if err != nil {
		return nil, err
	}
	return s.Check(ref.Name)
}

// IsRemote reports whether the secrets of a scheme are kept elsewhere, so that
// only asking tells whether they are there.
func (r *Resolver) IsRemote(scheme string) bool {
	switch r.sources[scheme].(type) {
	case *Remote, elsewhere:
		return true
	}
	return false
}

// Prefetch asks the stores elsewhere for everything named, so that the Opens that
// follow cost nothing. All stores are asked at the same time.
func (r *Resolver) Prefetch(ctx context.Context, refs []Ref) {
	names := map[*Remote][]string{}
	for _, ref := range refs {
		if s, ok := r.sources[ref.Scheme].(*Remote); ok {
			names[s] = append(names[s], ref.Name)
		}
	}
	var wg sync.WaitGroup
	for s, n := range names {
		wg.Go(func() { s.settle(); s.Prefetch(ctx, n) })
	}
	wg.Wait()
}

// Trouble is why the value of a reference is an old one; nil: it is not.
func (r *Resolver) Trouble(ref Ref) error {
	if s, ok := r.sources[ref.Scheme].(*Remote); ok {
		return s.Trouble(ref.Name)
	}
	return nil
}

// Open reads the secret, without the newline that ends most key files.
func (r *Resolver) Open(ref Ref) (Value, error) {
	s, err := r.source(ref)
	if err != nil {
		return Value{}, err
	}
	v, err := s.Open(ref.Name)
	if err != nil {
		return Value{}, err
	}
	v.s = strings.TrimRight(v.s, "\r\n")
	if v.s == "" {
		return Value{}, fmt.Errorf("%s: the secret is empty", ref)
	}
	return v, nil
}
