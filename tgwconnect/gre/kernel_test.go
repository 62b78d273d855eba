package gre

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// What the tests of this file need of the kernel is in the VM of labs/vm/run:
// make test-vm.

func kernelOnly(t *testing.T) {
	if testBackend() != tgwconnect.BackendKernel {
		t.Skip("concerns the kernel's data path")
	}
}

func TestMarkSteersOuterPacketsAndChangesInPlace(t *testing.T) {
	kernelOnly(t)
	if !nstest.Isolate(t) {
		return
	}
	z := underlay(t)
	for _, fam := range []string{"-4", "-6"} {
		nstest.Run(t, "ip", fam, "rule", "add", "pref", "1", "fwmark", "42", "blackhole")
	}
	marked := []tgwconnect.Tunnel{tunnel4(), tunnel6()}
	for i := range marked {
		marked[i].Mark, marked[i].TTL, marked[i].MTU = 42, 9, 1400 // given, as the path can not be asked with this mark
	}
	plain := []tgwconnect.Tunnel{marked[0], marked[1]}
	plain[0].Mark, plain[1].Mark = 0, 0
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(plain[0]), far(plain[1])}}))
	m := newManager(t)
	first := apply(m, false, plain...)
	mustBeUp(t, first)
	mustPing(t, "169.254.100.2", "fd00:100::2", "169.254.101.2", "fd00:101::2")

	states := apply(m, false, marked...)
	mustBeUp(t, states)
	for i, dst := range []string{"169.254.100.2", "169.254.101.2"} {
		if states[i].Index != first[i].Index {
			t.Errorf("%s: want index %d as before, got %d", states[i].Name, first[i].Index, states[i].Index)
		}
		if err := exec.Command("ping", "-c1", "-W1", dst).Run(); err == nil {
			t.Errorf("%s: packets cross although marked ones are dropped", states[i].Name)
		}
	}
	for name, want := range map[string][]string{
		"gre1": {"gre remote 10.0.0.2 local 10.0.0.1", "fwmark 0x2a", "ttl 9", "tos inherit"},
		"gre6": {"ip6gre remote fd00:9::2 local fd00:9::1", "fwmark 0x2a", "hoplimit 9", "encaplimit none", "tclass inherit"},
	} {
		out := nstest.Run(t, "ip", "-d", "link", "show", name)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: want %q in\n%s", name, w, out)
			}
		}
	}
	mustBeUp(t, apply(m, false, plain...))
	mustPing(t, "169.254.100.2", "169.254.101.2")
}

func TestTunnelMovesIntoAVRFAndBack(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.NeedLink(t, "vrf", "table", "10")
	z := underlay(t)
	nstest.Run(t, "ip", "link", "add", "blue", "type", "vrf", "table", "10")
	nstest.Run(t, "ip", "link", "set", "blue", "up")
	mustBeUp(t, startHelper(t, z, "manager").ask(applyRequest{Want: []tgwconnect.Tunnel{far(tunnel4())}}))
	m := newManager(t)
	for _, vrf := range []string{"blue", "", "blue"} {
		tun := tunnel4()
		tun.VRF = vrf
		mustBeUp(t, apply(m, false, tun))
		for _, dst := range []string{"169.254.100.2", "fd00:100::2"} {
			args := []string{"-c1", "-W3", dst}
			if vrf != "" {
				args = append([]string{"-I", vrf}, args...)
			}
			if out, err := exec.Command("ping", args...).CombinedOutput(); err != nil {
				t.Errorf("VRF %q, ping %s: %s", vrf, dst, out)
			}
		}
		inside := strings.Contains(nstest.Run(t, "ip", "-d", "link", "show", "gre1"), "master blue")
		if inside != (vrf == "blue") {
			t.Errorf("VRF %q: gre1 is in blue: %v", vrf, inside)
		}
	}
}
