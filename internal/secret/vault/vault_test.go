package vault

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
)

const key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="

// world is a double of a server with one secret, and the time of its tokens.
type world struct {
	*services.Vault
	url string
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Vault: services.NewVault(), now: time.Now()}
	w.Now = func() time.Time { return w.now }
	w.Put("kv/gw-a", map[string]string{"wg0": key})
	w.Put("team/kv/gw-a", map[string]string{"wg0": key})
	s := httptest.NewServer(w)
	t.Cleanup(func() {
		s.Close()
		if v := w.Violations(); len(v) > 0 {
			t.Errorf("requests that no server understands: %q", v)
		}
	})
	w.url = s.URL
	return w
}

func client(t *testing.T, cfg Config, o Options) *secret.Resolver {
	t.Helper()
	o.Secrets = secret.Default()
	c, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	r := secret.Default()
	r.Register(secret.SchemeVault, &secret.Remote{Scheme: secret.SchemeVault, Fetcher: c, NeedField: true})
	return r
}

func file(t *testing.T, text string) (secret.Ref, string) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return secret.Ref{Scheme: "file", Name: p}, p
}

func open(r *secret.Resolver, name string) (string, error) {
	v, err := r.Open(secret.Ref{Scheme: secret.SchemeVault, Name: name})
	return v.Reveal(), err
}

// again opens a name after asking the server once more.
func again(r *secret.Resolver, name string) (string, error) {
	r.Prefetch(context.Background(), []secret.Ref{{Scheme: secret.SchemeVault, Name: name}})
	return open(r, name)
}

func TestTokenReadsAndSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.Token("s.root", 0)
	w.Token("s.narrow", 0, "kv/other/")
	w.Put("kv/deleted", map[string]string{"wg0": key})
	w.Delete("kv/deleted")
	ref, path := file(t, "s.root")
	r := client(t, Config{Address: w.url, Token: ref}, Options{})
	for name, want := range map[string]string{
		"kv/gw-a#wg0":       "",
		"team/kv//gw-a#wg0": "",
		"kv/gw-b#wg0":       "no such secret; check mount and path",
		"kv/deleted#wg0":    "its latest version is deleted",
		"kv#wg0":            "malformed",
	} {
		got, err := open(r, name)
		if want == "" && (err != nil || got != key) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	// The token is replaced in its file: the next refusal makes it be read again.
	w.Revoke()
	w.Token("s.fresh", time.Hour)
	if err := os.WriteFile(path, []byte("s.fresh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := again(r, "kv/gw-a#wg0"); err != nil || got != key {
		t.Errorf("after the token's rotation: %v", err)
	}
	narrow, _ := file(t, "s.narrow")
	if _, err := open(client(t, Config{Address: w.url, Token: narrow}, Options{}), "kv/gw-a#wg0"); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("a token that may not read it: got %v", err)
	}
}

func TestOutagesAreToldFromRefusals(t *testing.T) {
	w := newWorld(t)
	w.Token("s.root", 0)
	ref, _ := file(t, "s.root")
	r := client(t, Config{Address: w.url, Token: ref}, Options{})
	if _, err := open(r, "kv/gw-a#wg0"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []services.VaultState{{Sealed: true}, {Throttled: true}, {Status: 473}, {Status: 502}} {
		w.SetState(s)
		if got, err := again(r, "kv/gw-a#wg0"); err != nil || got != key {
			t.Errorf("%+v: got %v, want the last good value", s, err)
		}
	}
	w.SetState(services.VaultState{Garbage: true})
	if _, err := again(r, "kv/gw-a#wg0"); err == nil || strings.Contains(err.Error(), key[:10]) {
		t.Errorf("an answer that is no JSON: got %v, want an error without its text", err)
	}
	w.SetState(services.VaultState{Namespace: "net"})
	if _, err := again(r, "kv/gw-a#wg0"); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("another namespace: got %v", err)
	}
	inside := client(t, Config{Address: w.url, Token: ref, Namespace: "net"}, Options{})
	if _, err := open(inside, "kv/gw-a#wg0"); err != nil {
		t.Errorf("with the namespace: %v", err)
	}
}

func TestAppRoleLogsInAgainBeforeTheTokenEnds(t *testing.T) {
	w := newWorld(t)
	w.AppRole("gw", "s3cret", time.Hour)
	ref, path := file(t, "s3cret")
	c, err := New(Config{Address: w.url, Auth: AuthAppRole, RoleID: "gw", SecretID: ref}, Options{Secrets: secret.Default()})
	if err != nil {
		t.Fatal(err)
	}
	logins := func() (n int) {
		for _, q := range w.Requests() {
			if strings.HasSuffix(q, "approle/login") {
				n++
			}
		}
		return n
	}
	fetch := func() error { _, err := c.Fetch(t.Context(), "kv/gw-a"); return err }
	for range 3 {
		if err := fetch(); err != nil {
			t.Fatal(err)
		}
	}
	if n := logins(); n != 1 {
		t.Errorf("three reads: got %d logins, want 1", n)
	}
	c.until = time.Now().Add(-time.Second) // two thirds of the hour are over
	if err := fetch(); err != nil || logins() != 2 {
		t.Errorf("late: got %v and %d logins, want 2", err, logins())
	}
	w.now = w.now.Add(2 * time.Hour)
	if err := fetch(); err != nil || logins() != 3 {
		t.Errorf("the token has ended: got %v and %d logins, want 3", err, logins())
	}
	if err := os.WriteFile(path, []byte("wr0ng"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Revoke()
	if err := fetch(); !errors.Is(err, secret.ErrDenied) || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong secret ID: got %v", err)
	}
}

func TestNothingFollowsARedirectionOutOfTLS(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token went out in clear text") }))
	defer plain.Close()
	tls := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	defer tls.Close()
	ref, _ := file(t, "s.root")
	c, err := New(Config{Address: tls.URL, Token: ref}, Options{Secrets: secret.Default()})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = tls.Client().Transport
	if _, err := c.Fetch(t.Context(), "kv/gw-a"); !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestAddressAndCertificates(t *testing.T) {
	for _, bad := range []string{"", "vault:8200", "https://", "ftp://x", "https://user:pw@x"} {
		if _, err := New(Config{Address: bad}, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := New(Config{Address: "https://x", CAFile: "/nonexistent"}, Options{}); err == nil {
		t.Error("a missing CA file is taken")
	}
	s := httptest.NewTLSServer(services.NewVault())
	defer s.Close()
	ref, _ := file(t, "s.root")
	c, _ := New(Config{Address: s.URL, Token: ref}, Options{Secrets: secret.Default()})
	if _, err := c.Fetch(t.Context(), "kv/gw-a"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: got %v", err)
	}
}
