package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// bare is a region without anything of Connect, and a gateway's file that wants it.
func bare(t *testing.T, asn uint32) (s *simtest.Sim, file string) {
	t.Helper()
	w, n := world.Example("us-east-1", time.Now, world.ExampleOptions{NoPeers: true, NoConnectivity: true})
	s = simtest.Start(t, w, tgwsim.Options{})
	s.Setenv(t, n.Instances[0])
	file = filepath.Join(t.TempDir(), "wgbgpd.toml")
	text := fmt.Sprintf(`[gateway]
name = "gw-a"
asn = %d
router-id = "10.0.0.10"

[wireguard.wg0]
private-key = "env:KEY_OF_THE_SERVICE"
address = ["172.20.1.1/24"]

[[tgw-apply]]
name = "core"
transit-gateway = %q
transport = %q
addresses = [%q]
cidr = "192.0.2.0/24"
vpc-route-tables = [%q]
`, asn, n.TransitGateway, n.VPCAttachment, n.Addresses[0], n.RouteTable)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, file
}

func TestPlanApplyDestroy(t *testing.T) {
	s, file := bare(t, 65010)
	none := filepath.Join(t.TempDir(), "no.sock")
	run := func(args ...string) result {
		return wgbgp(t.Context(), none, append([]string{"tgw"}, append(args, "-f", file)...)...)
	}
	peers := func() int { return len(s.World().Snapshot().ConnectPeers) }
	want := func(what string, r result, code int, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if r.code != code || !strings.Contains(r.out+r.err, text) {
				t.Errorf("%s: want exit %d and %q in %+v", what, code, text, r)
			}
		}
	}
	want("plan", run("plan"), 0, "create a Connect attachment", "192.0.2.0/24", "create a Connect peer for 10.0.0.10")
	want("nobody to ask", run("apply"), 7, "--yes")
	if peers() != 0 {
		t.Fatal("something was made without a yes")
	}
	fast := []string{"--yes", "--poll", "3ms", "--settle", "1ms"}
	want("apply", run(append([]string{"apply"}, fast...)...), 0, "create a Connect peer", "done")
	if peers() != 1 {
		t.Errorf("%d Connect peers, want 1", peers())
	}
	want("plan again", run("plan"), 0, "nothing to do")
	want("apply again", run("apply"), 0, "nothing to do")
	want("as JSON", run("plan", "-j"), 0, `"done":true`)
	want("destroy", run(append([]string{"destroy", "core"}, fast...)...), 0, "delete Connect attachment", "take the CIDR block", "done")
	want("an unknown name", run("plan", "edge"), 3, "edge")
}

func TestPlanSaysWhatStandsInTheWay(t *testing.T) {
	_, file := bare(t, 64512) // the Transit Gateway's own
	r := wgbgp(t.Context(), filepath.Join(t.TempDir(), "no.sock"), "tgw", "plan", "-f", file)
	if r.code != 7 || !strings.Contains(r.err, "iBGP") || !strings.Contains(r.err, "asn") {
		t.Errorf("got %+v, want exit 7, the trap and its cure", r)
	}
}
