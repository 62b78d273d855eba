package fib

import (
	"slices"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestSysctlsAreCheckedSetAndCured(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Veth(t, nil, "wg0", nil, nil, "eth0.5", nil)
	nstest.Run(t, "ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1")
	strict := []string{
		"net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv4.conf.all.rp_filter=1",
		"net.ipv4.conf.wg0.rp_filter=1", "net.ipv4.conf.eth0/5.rp_filter=1", "net.ipv4.conf.other0.rp_filter=1",
	}
	nstest.Run(t, append([]string{"sysctl", "-qw"}, strict...)...)
	devices := []string{"wg0", "eth0.5", "missing0"}
	keys := func(ps []SysctlProblem) (out []string) {
		for _, p := range ps {
			out = append(out, p.Key+"="+p.Have)
		}
		return out
	}
	want := []string{
		"net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv4.conf.all.rp_filter=1",
		"net.ipv4.conf.eth0/5.rp_filter=1", "net.ipv6.conf.eth0/5.forwarding=0", "net.ipv4.conf.wg0.rp_filter=1", "net.ipv6.conf.wg0.forwarding=0",
	}
	found := CheckSysctls(devices, SysctlCheck)
	if got := keys(found); !slices.Equal(got, want) {
		t.Fatalf("check:\ngot  %v\nwant %v", got, want)
	}
	if got := CheckSysctls(devices, SysctlOff); got != nil {
		t.Errorf("off: got %v, want nothing", got)
	}
	// The cure printed is the cure: run it for one key and it is gone.
	nstest.Run(t, "sh", "-c", found[3].Cure())
	if got := keys(CheckSysctls(devices, SysctlCheck)); slices.Contains(got, want[3]) {
		t.Errorf("%s did not cure %s", found[3].Cure(), want[3])
	}
	for _, p := range CheckSysctls(devices, SysctlSet) {
		if !p.Fixed {
			t.Errorf("not set: %s", p)
		}
	}
	if got := CheckSysctls(devices, SysctlCheck); len(got) > 0 {
		t.Errorf("after set: still %v", got)
	}
	if got := strings.TrimSpace(nstest.Run(t, "sysctl", "-n", "net.ipv4.conf.other0.rp_filter")); got != "1" {
		t.Errorf("a stranger's device was touched: rp_filter %s, want 1", got)
	}
	for key, want := range map[string]string{"net.ipv4.nexthop_compat_mode": "0", "net.ipv4.conf.all.rp_filter": "2", "net.ipv4.fib_multipath_hash_policy": "1"} {
		if got := strings.TrimSpace(nstest.Run(t, "sysctl", "-n", key)); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}
