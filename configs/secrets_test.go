package configs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
)

// vaultDouble is a store whose content and state a test changes.
type vaultDouble struct {
	mu   sync.Mutex
	docs map[string]string
	err  error
}

func (v *vaultDouble) Fetch(_ context.Context, name string) (secret.Document, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return secret.Document{}, v.err
	}
	if _, ok := v.docs[name]; !ok {
		return secret.Document{}, secret.ErrNotFound
	}
	return secret.Document{Text: secret.NewValue(v.docs[name])}, nil
}

func (v *vaultDouble) set(text string, err error) {
	v.mu.Lock()
	v.docs["kv/gw"], v.err = text, err
	v.mu.Unlock()
}

const stored = `[gateway]
name = "gw-a"
asn = 65010
router-id = "192.0.2.1"

[wireguard.wg0]
private-key = "vault:kv/gw#wg0"

[[neighbor]]
name = "core"
address = "192.0.2.2"
asn = 65020
password = "file:FILE"
`

// storing writes a configuration with one secret in a store and one in a file.
func storing(t *testing.T) (path, file string, v *vaultDouble, opt Options) {
	t.Helper()
	dir := t.TempDir()
	path, file = filepath.Join(dir, "w.toml"), filepath.Join(dir, "md5")
	write(t, file, "first")
	write(t, path, strings.ReplaceAll(stored, "FILE", file))
	v = &vaultDouble{docs: map[string]string{}}
	v.set(`{"wg0":"`+testKeys["/etc/wgbgp/wg0.key"]+`"}`, nil)
	r := secret.Default()
	r.Register(secret.SchemeVault, &secret.Remote{Scheme: secret.SchemeVault, Fetcher: v, Budget: 20 * time.Millisecond, Pause: time.Millisecond})
	return path, file, v, Options{Stores: func(Secrets) *secret.Resolver { return r }}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRenewTakesOverSecretsAndNothingElse(t *testing.T) {
	path, file, v, opt := storing(t)
	cfg, _, err := Load(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Renew(cfg, opt); err != nil || r.Config != nil || len(r.Failed) != 0 {
		t.Errorf("nothing changed: got %+v, %v", r, err)
	}
	write(t, path, "this is not TOML")
	write(t, file, "second")
	v.set(`{"wg0":"`+testKeys["/etc/wgbgp/wg1.key"]+`"}`, nil)
	r, err := Renew(cfg, opt)
	if want := []string{"wireguard.wg0.private-key", "neighbor[core].password"}; err != nil || !slices.Equal(r.Changed, want) {
		t.Fatalf("got %v, %v, want %v", r.Changed, err, want)
	}
	var keys []string
	for _, c := range Diff(cfg, r.Config) {
		keys = append(keys, c.Object+" "+strings.Join(c.Keys, " "))
	}
	if want := []string{"neighbor core password", "wireguard wg0 private-key"}; !slices.Equal(keys, want) {
		t.Errorf("the difference is %v, want %v", keys, want)
	}
	if again, err := Renew(r.Config, opt); err != nil || again.Config != nil {
		t.Errorf("the second time: got %+v, %v", again, err)
	}
}

func TestRenewKeepsWhatItCanNotRead(t *testing.T) {
	path, file, v, opt := storing(t)
	cfg, _, err := Load(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	v.set("", fmt.Errorf("%w: connection refused", secret.ErrUnavailable))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r, err := Renew(cfg, opt)
	if err != nil || r.Config != nil || len(r.Failed) != 2 {
		t.Errorf("both sources are gone: got %+v, %v", r, err)
	}
	write(t, file, "second")
	r, err = Renew(cfg, opt)
	if err != nil || r.Config == nil || len(r.Changed) != 1 || len(r.Failed) != 1 {
		t.Fatalf("one source is back: got %+v, %v", r, err)
	}
	if got := r.Config.Core.Devices[0].PrivateKey; got != cfg.Core.Devices[0].PrivateKey {
		t.Error("the key whose source is gone changed")
	}
	// What the new secret is does not fit: the old one stays.
	v.set(`{"wg0":"`+testKeys["/etc/wgbgp/notakey"]+`"}`, nil)
	r, err = Renew(cfg, opt)
	if err == nil || r.Config != nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a bad key: got %+v, %v", r, err)
	}
}

func TestAStoreThatIsDownIsAWarningLaterAndAnErrorAtStart(t *testing.T) {
	path, _, v, opt := storing(t)
	down := fmt.Errorf("%w from http://127.0.0.1:8200: connection refused", secret.ErrUnavailable)
	v.set("", down)
	_, _, err := Load(path, opt)
	var ps Problems
	if !errors.As(err, &ps) || !ps.Temporary() || !strings.Contains(err.Error(), "wireguard.wg0.private-key: vault:kv/gw: no answer from http://127.0.0.1:8200") {
		t.Errorf("at start: got %v (temporary: %v)", err, ps.Temporary())
	}
	v.set(`{"wg0":"`+testKeys["/etc/wgbgp/wg0.key"]+`"}`, nil)
	if _, _, err := Load(path, opt); err != nil {
		t.Fatal(err)
	}
	v.set("", down)
	_, warnings, err := Load(path, opt)
	if err != nil || !slices.ContainsFunc(warnings, func(p Problem) bool { return p.Code == "W-STALE" }) {
		t.Errorf("on reload: got %v with %v", err, warnings)
	}
	write(t, path, strings.ReplaceAll(stored, "FILE", "/nonexistent"))
	_, _, err = Load(path, opt)
	if !errors.As(err, &ps) || ps.Temporary() {
		t.Errorf("with another mistake: got %v, want one that no other try cures", err)
	}
}

func TestACheckAsksNoStore(t *testing.T) {
	cfg, warnings, err := Load("testdata/valid/stores.toml", Options{CheckOnly: true})
	n := 0
	for _, w := range warnings {
		if w.Code == "W-NOTHERE" {
			n++
		}
	}
	if err != nil || cfg == nil || n != 3 {
		t.Errorf("got %v and %d warnings of 3 secrets", err, n)
	}
}
