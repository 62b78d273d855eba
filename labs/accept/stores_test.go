package accept

import (
	"fmt"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// keeping are the stores that a gateway's keys are in: Secrets Manager, Parameter
// Store, and a Vault that it logs in to as its role.
type keeping struct {
	sim   *simtest.Sim
	vault *services.Vault
	url   string // of the Vault
}

func newKeeping(t *testing.T) *keeping {
	t.Helper()
	w, _ := world.Example("us-east-1", time.Now, world.ExampleOptions{NoPeers: true})
	k := &keeping{sim: simtest.Start(t, w, tgwsim.Options{}), vault: services.NewVault()}
	const role = "arn:aws:sts::123456789012:assumed-role/gateway/i-0a"
	w.Do(func(s *world.State) {
		s.Callers["AKIAEXAMPLE"] = world.Caller{ARN: role, UserID: "AROA:i-0a", SecretKey: "secret"}
	})
	k.vault.STS = k.sim.URL
	k.vault.AWSRole("gateway", role, "vault.example.net", time.Hour)
	server := httptest.NewServer(k.vault)
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// put writes all three keys anew.
func (k *keeping) put(private, paris, berlin string) {
	k.sim.World().Do(func(s *world.State) {
		s.PutSecret("", "gw", world.SecretVersion{Text: `{"wg0":"` + private + `"}`})
		s.PutParameter("", "/gw/paris", "SecureString", world.ParameterVersion{Value: paris})
	})
	k.vault.Put("kv/gw", map[string]string{"berlin": berlin})
}

// outage begins or ends one of all stores.
func (k *keeping) outage(begin bool) {
	f := tgwsim.Faults{}
	if begin {
		f.Plan = []tgwsim.Fault{{Operations: []string{"Get*"}, Kind: tgwsim.CutBefore}}
	}
	k.sim.SetFaults(f)
	k.vault.SetState(services.VaultState{Sealed: begin})
}

// config refers to the keys; %s are the Vault, and the sites' public keys.
const storesConfig = `
[gateway]
name = "gw"
asn = 65010
router-id = "192.0.2.1"

[secrets]
refresh = "10s"
[secrets.vault]
address = %q
auth = "aws"
role = "gateway"
server-id = "vault.example.net"

[wireguard.wg0]
backend = "userspace"
private-key = "aws-sm:gw#wg0"
address = ["10.255.0.1/24"]

[[site]]
name = "paris"
public-key = %q
preshared-key = "ssm:/gw/paris"
address = ["10.255.0.2"]
prefixes = ["10.101.0.0/16"]

[[site]]
name = "berlin"
public-key = %q
preshared-key = "vault:kv/gw#berlin"
address = ["10.255.0.3"]
prefixes = ["10.102.0.0/16"]
`

// TestKeysFromStoresAreFollowedAndOutliveAnOutage runs the daemon on keys of three
// stores; what the interface has is read by wg.
func TestKeysFromStoresAreFollowedAndOutliveAnOutage(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "wg")
	k := newKeeping(t)
	_, paris := newKey(t)
	_, berlin := newKey(t)
	s := newSolo(t, k.sim.Env(""), fmt.Sprintf(storesConfig, k.url, paris, berlin))
	// fresh puts other keys and returns what wg must show of them.
	fresh := func() (want string) {
		private, public := newKey(t)
		one, _ := newKey(t)
		two, _ := newKey(t)
		k.put(private, one, two)
		return public + " " + paris + "=" + one + " " + berlin + "=" + two
	}
	has := func(within time.Duration, want string) {
		t.Helper()
		nstest.Eventually(t, within, func() error {
			if got, err := interfaceKeys(paris, berlin); err != nil || got != want {
				return fmt.Errorf("the interface has %q, %v; want %q", got, err, want) // keys of this test only
			}
			return nil
		})
	}
	logged := func(reason string) {
		t.Helper()
		nstest.Eventually(t, 60*time.Second, func() error {
			if strings.Count(s.text(t), reason) < 3 {
				return fmt.Errorf("%q is not in the log for each key:\n%s", reason, s.text(t))
			}
			return nil
		})
	}
	want := fresh()
	s.start(t)
	has(30*time.Second, want)

	want = fresh()
	has(60*time.Second, want)
	logged("secret-changed")

	k.outage(true)
	fresh()
	logged("secret-unreadable")
	has(time.Second, want)
	if out, stderr, code := s.cli(t, "config", "reload"); code != 0 {
		t.Errorf("a reload in the outage: exit %d\n%s%s", code, out, stderr)
	}
	has(time.Second, want)

	want = fresh()
	k.outage(false)
	logged("secret-readable")
	has(60*time.Second, want)

	if n := len(k.sim.Calls("GetCallerIdentity")); n != 1 {
		t.Errorf("STS was asked %d times, want once: the Vault's token is good for an hour", n)
	}
	s.end(t, syscall.SIGTERM)
	if bad := k.vault.Violations(); len(bad) > 0 {
		t.Errorf("the Vault was asked what it has not: %q", bad)
	}
}

// interfaceKeys is the public key of wg0 and the preshared keys of its peers.
func interfaceKeys(peers ...string) (string, error) {
	public, err := exec.Command("wg", "show", "wg0", "public-key").Output()
	if err != nil {
		return "", err
	}
	shared, err := exec.Command("wg", "show", "wg0", "preshared-keys").Output()
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(public))
	for _, p := range peers {
		for line := range strings.Lines(string(shared)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == p {
				text += " " + p + "=" + f[1]
			}
		}
	}
	return text, nil
}
