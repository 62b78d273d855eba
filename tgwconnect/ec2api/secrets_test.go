package ec2api_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/internal/secret/vault"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// kept is a resolver of the daemon's kind whose stores are the emulator.
func kept(t *testing.T) (*simtest.Sim, *secret.Resolver) {
	t.Helper()
	w, names := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	sim := simtest.Start(t, w, tgwsim.Options{})
	sim.Setenv(t, names.Instances[0])
	return sim, resolver()
}

// resolver is one that has asked nothing yet. Its time is enough for all attempts
// of the SDK.
func resolver() *secret.Resolver {
	s := ec2api.NewSecrets("")
	r := secret.Default()
	r.Register(secret.SchemeAWS, &secret.Remote{Scheme: secret.SchemeAWS, Fetcher: s.Manager(), Timeout: time.Minute, Budget: time.Minute})
	r.Register(secret.SchemeSSM, &secret.Remote{Scheme: secret.SchemeSSM, Fetcher: s.Parameters(), Timeout: time.Minute, Budget: time.Minute})
	return r
}

func ref(t *testing.T, text string) secret.Ref {
	t.Helper()
	r, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSecretsAreFoundWhereTheyAre: names, ARNs of this region and of another,
// fields, versions and labels.
func TestSecretsAreFoundWhereTheyAre(t *testing.T) {
	sim, r := kept(t)
	var far, farParameter string
	sim.World().Do(func(s *world.State) {
		s.OtherRegions["eu-central-1"] = true
		s.PutSecret("", "gw/wg0", world.SecretVersion{Text: "old"})
		s.PutSecret("", "gw/wg0", world.SecretVersion{Text: "new"})
		s.PutSecret("", "gw/all", world.SecretVersion{Text: `{"wg0":"of a field"}`})
		far = s.PutSecret("eu-central-1", "far", world.SecretVersion{Text: "far away"}).ARN
		s.PutParameter("", "/gw/key", "SecureString", world.ParameterVersion{Value: "first", Labels: []string{"stable"}})
		s.PutParameter("", "/gw/key", "SecureString", world.ParameterVersion{Value: "second"})
		farParameter = s.PutParameter("eu-central-1", "/far", "SecureString", world.ParameterVersion{Value: "far too"}).ARN
	})
	for name, want := range map[string]string{
		"aws-sm:gw/wg0":       "new",
		"aws-sm:gw/all#wg0":   "of a field",
		"aws-sm:" + far:       "far away",
		"ssm:/gw/key":         "second",
		"ssm:/gw/key:1":       "first",
		"ssm:/gw/key:stable":  "first",
		"ssm:" + farParameter: "far too",
		"ssm:arn:aws:ssm:us-east-1:123456789012:parameter/gw/key": "second",
	} {
		if v, err := r.Open(ref(t, name)); err != nil || v.Reveal() != want {
			t.Errorf("%s: got %q, %v", name, v.Reveal(), err)
		}
	}
}

// TestWhySecretsAreNotRead: each kind of refusal is what the operator can act on,
// and none of the errors repeats a secret.
func TestWhySecretsAreNotRead(t *testing.T) {
	const hidden = "dont-print-me"
	sim, _ := kept(t)
	sim.World().Do(func(s *world.State) {
		s.PutSecret("", "binary", world.SecretVersion{Binary: []byte(hidden)})
		s.PutSecret("", "deleted", world.SecretVersion{Text: hidden}).Deleted = true
		s.PutSecret("", "broken", world.SecretVersion{Text: hidden}).KeyBroken = true
		s.PutSecret("", "good", world.SecretVersion{Text: hidden})
		s.PutParameter("", "/plain", "String", world.ParameterVersion{Value: hidden})
		s.PutParameter("", "/broken", "SecureString", world.ParameterVersion{Value: hidden}).KeyBroken = true
		s.PutParameter("", "/good", "SecureString", world.ParameterVersion{Value: hidden})
	})
	wrong := func(code string) func() {
		return func() {
			sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: code, Status: 400}}})
		}
	}
	denied := func(action string) func() {
		return func() { sim.World().Do(func(s *world.State) { s.Denied[action] = true }) }
	}
	for _, try := range []struct {
		name  string
		fault func()
		kind  error
		words string
	}{
		{"aws-sm:none", nil, secret.ErrNotFound, "ResourceNotFoundException"},
		{"aws-sm:deleted", nil, secret.ErrNotFound, "marked for deletion"},
		{"aws-sm:binary", nil, nil, "binary"},
		{"aws-sm:broken", nil, secret.ErrDenied, "kms:Decrypt"},
		{"aws-sm:good", denied("secretsmanager:GetSecretValue"), secret.ErrDenied, "secretsmanager:GetSecretValue"},
		{"aws-sm:good", denied("kms:Decrypt"), secret.ErrDenied, "kms:Decrypt"},
		{"ssm:/none", nil, secret.ErrNotFound, "ParameterNotFound"},
		{"ssm:/good:7", nil, secret.ErrNotFound, "ParameterVersionNotFound"},
		{"ssm:/good:label", nil, secret.ErrNotFound, "ParameterVersionNotFound"},
		{"ssm:/plain", nil, nil, "SecureString"},
		{"ssm:/broken", nil, secret.ErrDenied, "kms:Decrypt"},
		{"ssm:no/slash", nil, nil, "ValidationException"},
		{"ssm:/good", denied("ssm:GetParameter"), secret.ErrDenied, "ssm:GetParameter"},
		{"ssm:/good", wrong("ThrottlingException"), secret.ErrUnavailable, "ThrottlingException"},
		{"ssm:/good", func() { sim.SetFaults(tgwsim.Faults{Credentials: "ExpiredToken"}) }, secret.ErrUnavailable, "credentials"},
		{"aws-sm:good", func() { sim.SetFaults(tgwsim.Faults{Credentials: "InvalidClientTokenId"}) }, secret.ErrUnavailable, "UnrecognizedClientException"},
		{"aws-sm:good", func() { sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail}}}) }, secret.ErrUnavailable, "HTTP 500"},
		{"aws-sm:good", func() { sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.CutBefore}}}) }, secret.ErrUnavailable, "no answer"},
	} {
		if try.fault != nil {
			try.fault()
		}
		v, err := resolver().Open(ref(t, try.name))
		if err == nil || try.kind != nil && !errors.Is(err, try.kind) || !strings.Contains(err.Error(), try.words) || strings.Contains(err.Error(), hidden) || !v.IsZero() {
			t.Errorf("%s: got %v, want %v with %q", try.name, err, try.kind, try.words)
		}
		sim.SetFaults(tgwsim.Faults{})
		sim.World().Do(func(s *world.State) { clear(s.Denied) })
	}
}

func TestAChangedSecretIsReadAndAnOutageKeepsTheLastOne(t *testing.T) {
	sim, r := kept(t)
	put := func(text string) {
		sim.World().Do(func(s *world.State) {
			s.PutSecret("", "gw", world.SecretVersion{Text: text})
			s.PutParameter("", "/gw", "SecureString", world.ParameterVersion{Value: text})
		})
	}
	refs := []secret.Ref{ref(t, "aws-sm:gw"), ref(t, "ssm:/gw")}
	wants := func(when, want string, old bool) {
		t.Helper()
		r.Prefetch(t.Context(), refs)
		for _, x := range refs {
			if v, err := r.Open(x); err != nil || v.Reveal() != want || (r.Trouble(x) != nil) != old {
				t.Errorf("%s, %v: got %q, %v, trouble %v; want %q", when, x, v.Reveal(), err, r.Trouble(x), want)
			}
		}
	}
	put("one")
	wants("at first", "one", false)
	put("two")
	wants("changed", "two", false)
	put("three")
	sim.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"Get*"}, Kind: tgwsim.CutBefore}}})
	wants("in an outage", "two", true)
	sim.SetFaults(tgwsim.Faults{Credentials: "ExpiredToken"})
	wants("with credentials that have ended", "two", true)
	sim.SetFaults(tgwsim.Faults{})
	wants("after it", "three", false)
}

// TestVaultLearnsFromSTSWhoThisHostIs: the server sends the signed request on, and
// STS computes its signature.
func TestVaultLearnsFromSTSWhoThisHostIs(t *testing.T) {
	sim, _ := kept(t)
	const role = "arn:aws:sts::123456789012:assumed-role/gateway/i-0a"
	sim.World().Do(func(s *world.State) {
		s.Callers["AKIAEXAMPLE"] = world.Caller{ARN: role, UserID: "AROA:i-0a", SecretKey: "secret"}
	})
	v := services.NewVault()
	v.STS = sim.URL
	v.AWSRole("gateway", role, "vault.example.net", time.Hour)
	v.Put("kv/gw", map[string]string{"wg0": "of the vault"})
	web := httptest.NewServer(v)
	t.Cleanup(web.Close)
	login := func(role, serverID string) error {
		c, err := vault.New(vault.Config{Address: web.URL, Auth: vault.AuthAWS, Role: role, ServerID: serverID}, vault.Options{
			Secrets: secret.Default(), Sign: ec2api.NewSecrets("").SignCallerIdentity,
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Fetch(context.Background(), "kv/gw")
		if err == nil && !strings.Contains(d.Text.Reveal(), "of the vault") {
			t.Errorf("the secret is %q", d.Text.Reveal())
		}
		return err
	}
	if err := login("gateway", "vault.example.net"); err != nil {
		t.Errorf("as it should be: %v", err)
	}
	if err := login("gateway", ""); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("without the server's ID: got %v", err)
	}
	if err := login("other", "vault.example.net"); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("another role: got %v", err)
	}
	v.AWSRole("gateway", "arn:aws:sts::123456789012:assumed-role/other/i-0a", "vault.example.net", time.Hour)
	if err := login("gateway", "vault.example.net"); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("the role of another principal: got %v", err)
	}
	v.AWSRole("gateway", role, "vault.example.net", time.Hour)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "guessed")
	if err := login("gateway", "vault.example.net"); !errors.Is(err, secret.ErrDenied) {
		t.Errorf("a signature with another key: got %v", err)
	}
	if len(sim.Calls("GetCallerIdentity")) != 3 {
		t.Errorf("STS was asked %d times, want 3: a wrong server ID or role needs no answer of it", len(sim.Calls("GetCallerIdentity")))
	}
	if bad := v.Violations(); len(bad) > 0 {
		t.Errorf("violations: %q", bad)
	}
}
