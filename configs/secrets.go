package configs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/internal/secret/vault"
)

// secretsDoc is where secrets are kept that are not on this host.
type secretsDoc struct {
	meta
	Refresh   time.Duration `toml:"refresh" class:"live" span:"0s..24h"`
	AWSRegion string        `toml:"aws-region" class:"live"`
	Vault     vaultDoc      `toml:"vault"`
}

type vaultDoc struct {
	meta
	Address   string    `toml:"address" class:"live"`
	CAFile    string    `toml:"ca-file" class:"live"`
	Namespace string    `toml:"namespace" class:"live"`
	Auth      string    `toml:"auth" class:"live" enum:"token|approle|aws"`
	Mount     string    `toml:"mount" class:"live"`
	Token     secretRef `toml:"token" class:"live"`
	RoleID    string    `toml:"role-id" class:"live"`
	SecretID  secretRef `toml:"secret-id" class:"live"`
	Role      string    `toml:"role" class:"live"`
	ServerID  string    `toml:"server-id" class:"live"`
}

func (d *secretsDoc) setDefaults() {
	d.Refresh = 5 * time.Minute
	d.Vault.setDefaults()
}

func (v *vaultDoc) setDefaults() { v.Auth = vault.AuthToken }

// Secrets says where the stores of secrets are.
type Secrets struct {
	Refresh   time.Duration // between two looks at all secrets; 0: only on reload
	AWSRegion string        // empty: the environment's or the instance's
	Vault     vault.Config
}

// build fills what Vault's own tools take from the environment.
func (d *secretsDoc) build() Secrets {
	v := &d.Vault
	out := Secrets{Refresh: d.Refresh, AWSRegion: d.AWSRegion, Vault: vault.Config{
		Address: cmp.Or(v.Address, os.Getenv("VAULT_ADDR")), CAFile: cmp.Or(v.CAFile, os.Getenv("VAULT_CACERT")),
		Namespace: cmp.Or(v.Namespace, os.Getenv("VAULT_NAMESPACE")), Auth: v.Auth, Mount: v.Mount, Token: v.Token.ref,
		RoleID: v.RoleID, SecretID: v.SecretID.ref, Role: v.Role, ServerID: v.ServerID,
	}}
	if out.Vault.Token.IsZero() && os.Getenv("VAULT_TOKEN") != "" {
		out.Vault.Token = secret.Ref{Scheme: "env", Name: "VAULT_TOKEN"}
	}
	return out
}

func (l *loader) checkSecretStores(d *secretsDoc) {
	v := &d.Vault
	for _, r := range []struct {
		key string
		ref *secretRef
	}{{"token", &v.Token}, {"secret-id", &v.SecretID}} {
		switch r.ref.ref.Scheme {
		case "", "file", "credential", "env":
		default:
			l.wrong(&v.meta, r.key, "it opens the store, so it can not be in a store itself", `write "file:/PATH", "credential:ID" or "env:NAME"`)
			v.refuse(r.key)
		}
	}
	if d.Refresh > 0 && d.Refresh < 10*time.Second && d.ok("refresh") {
		l.wrong(&d.meta, "refresh", fmt.Sprintf("%s is too often: stores count requests for all hosts together", d.Refresh), "use 10s to 24h, or 0s for never")
	}
	need := map[string]map[string]bool{
		vault.AuthAppRole: {"role-id": v.RoleID != "", "secret-id": !v.SecretID.ref.IsZero()},
		vault.AuthAWS:     {"role": v.Role != ""},
	}[v.Auth]
	for _, key := range []string{"role-id", "secret-id", "role"} {
		if has, wanted := need[key]; wanted && !has && v.ok("auth", key) {
			l.wrong(&v.meta, "auth", fmt.Sprintf("login by %s needs %s", v.Auth, key), "add "+key+" = \"...\"")
		}
	}
	if v.Address != "" && v.ok("address") {
		cfg := d.build().Vault
		cfg.CAFile = ""
		if _, err := vault.New(cfg, vault.Options{}); err != nil {
			l.wrong(&v.meta, "address", quote(v.Address)+" is no URL of a server", `write it as "https://vault.example.net:8200"`)
			v.refuse("address")
		} else if strings.HasPrefix(v.Address, "http:") && !strings.HasPrefix(v.Address, "http://127.0.0.1:") && !strings.HasPrefix(v.Address, "http://localhost:") && !strings.HasPrefix(v.Address, "http://[::1]:") {
			l.warn("W-PLAIN", v.problem("address", "token and secrets go over the network in clear text", "use https"))
		}
	}
}

// secretPlace is a key that holds a reference.
type secretPlace struct {
	meta *meta
	key  string
	ref  *secretRef
}

// places lists every reference that is written.
func (d *document) places() []secretPlace {
	var out []secretPlace
	add := func(m *meta, key string, r *secretRef) {
		if !r.ref.IsZero() && m.ok(key) {
			out = append(out, secretPlace{m, key, r})
		}
	}
	v := &d.Secrets.Vault
	add(&v.meta, "token", &v.Token)
	add(&v.meta, "secret-id", &v.SecretID)
	for _, w := range d.devices() {
		add(&w.meta, "private-key", &w.PrivateKey)
	}
	for _, s := range d.Site {
		add(&s.meta, "preshared-key", &s.PresharedKey)
		if s.Neighbor != nil {
			add(&s.Neighbor.meta, "password", &s.Neighbor.Password)
		}
	}
	for _, n := range d.Neighbor {
		add(&n.meta, "password", &n.Password)
	}
	return out
}

func refs(places []secretPlace) []secret.Ref {
	out := make([]secret.Ref, len(places))
	for i, p := range places {
		out[i] = p.ref.ref
	}
	return out
}

// resolver is what opens the references of a document.
func (o *Options) resolver(d *document) *secret.Resolver {
	switch {
	case o.Stores != nil:
		return o.Stores(d.Secrets.build())
	case o.Secrets != nil:
		return o.Secrets
	}
	return secret.Default()
}

// secrets opens or checks every reference.
func (l *loader) secrets() {
	res := l.opt.resolver(&l.doc)
	places := l.doc.places()
	if !l.opt.CheckOnly {
		res.Prefetch(context.Background(), refs(places))
	}
	for _, p := range places {
		l.secret(res, p)
	}
	l.keys()
}

func (l *loader) secret(res *secret.Resolver, p secretPlace) {
	warnings, err := res.Check(p.ref.ref)
	for _, w := range warnings {
		code := "W-SECRET"
		switch p.ref.ref.Scheme {
		case "env":
			code = "W-ENV"
		case "file":
			code = "W-KEYMODE"
		}
		text, cure, _ := strings.Cut(w, "; ")
		l.warn(code, p.meta.problem(p.key, text, cure))
	}
	switch {
	case err == nil && !l.opt.CheckOnly:
		if p.ref.value, err = res.Open(p.ref.ref); err == nil {
			if old := res.Trouble(p.ref.ref); old != nil {
				text, cure, _ := strings.Cut(old.Error(), "; ")
				l.warn("W-STALE", p.meta.problem(p.key, text, cure))
			}
		}
	case err == nil && res.IsRemote(p.ref.ref.Scheme):
		l.warn("W-NOTHERE", p.meta.problem(p.key, p.ref.text()+" is kept elsewhere, and a check asks nobody", "the service must be able to read it"))
	}
	switch {
	case err == nil:
	case l.opt.CheckOnly && errors.Is(err, secret.ErrNotHere):
		l.warn("W-NOTHERE", p.meta.problem(p.key, notHere(err), "the service must have it"))
	default:
		text, cure, _ := strings.Cut(notHere(err), "; ")
		if cure == "" {
			cure = map[string]string{
				"env": "set it for the daemon, or use file: or credential:",
			}[p.ref.ref.Scheme]
		}
		what := p.meta.problem(p.key, text, cmp.Or(cure, "put the secret there, or correct the reference"))
		what.Temporary = errors.Is(err, secret.ErrUnavailable)
		l.report(what)
		p.meta.refuse(p.key)
	}
}

// notHere drops the sentinel's own words, which say nothing new.
func notHere(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+secret.ErrNotHere.Error())
}

// Renewed is what a look at all secrets found.
type Renewed struct {
	Config  *Config           // nil: nothing changed
	Changed []string          // keys whose secret changed, such as "wireguard.wg0.private-key"
	Failed  map[string]string // keys whose secret could not be read, with why; the old value stays
}

// Renew reads the secrets of a configuration in force again, and nothing else:
// its files may have been edited since, and that is not to be taken over unasked.
// What can not be read stays as it is. With an error nothing changes: the new
// secrets do not fit.
func Renew(c *Config, opt Options) (Renewed, error) {
	out := Renewed{Failed: map[string]string{}}
	res := opt.resolver(c.doc)
	places := c.doc.places()
	res.Prefetch(context.Background(), refs(places))
	now := secret.Fixed{}
	for _, p := range places {
		key := join(p.meta.path, p.key)
		v, err := res.Open(p.ref.ref)
		switch {
		case err != nil:
			out.Failed[key] = err.Error()
			v = p.ref.value
		case v != p.ref.value:
			out.Changed = append(out.Changed, key)
		}
		if old := res.Trouble(p.ref.ref); old != nil && err == nil {
			out.Failed[key] = old.Error()
		}
		now[p.ref.ref] = v
	}
	if len(out.Changed) == 0 {
		return out, nil
	}
	l := &loader{opt: Options{Secrets: now.Resolver()}, read: c.source.read, glob: c.source.glob}
	cfg, _, err := l.load(c.Files[0])
	if cfg != nil {
		cfg.source = c.source
	}
	out.Config = cfg
	return out, err
}

// source is what a configuration was read from.
type source struct {
	files   map[string][]byte
	matches map[string][]string
}

func (s *source) read(path string) ([]byte, error) {
	b, ok := s.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (s *source) glob(pattern string) ([]string, error) { return s.matches[pattern], nil }
