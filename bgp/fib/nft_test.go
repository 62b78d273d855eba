package fib

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func prefixes(ps ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range ps {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func pings(n *nstest.NS, src, dst string) bool {
	return n.Cmd("ping", "-c1", "-W1", "-I", src, dst).Run() == nil
}

func TestSourceCheckDropsSpoofedPackets(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft", "ping")
	l := newLab(t)
	for _, a := range []string{"10.1.0.1/32", "10.66.0.1/32"} {
		l.a.Run(t, "ip", "addr", "add", a, "dev", "lo")
	}
	for _, a := range []string{"2001:db8:1::1/128", "2001:db8:66::1/128"} {
		l.a.Run(t, "ip", "addr", "add", a, "dev", "lo", "nodad")
	}
	f := newFIB(t, Options{})
	mustApply(t, f, wanted(route("10.1.0.0/16", gw(0, false)), route("10.66.0.0/16", gw(0, false)),
		route("2001:db8:1::/48", gw(0, true)), route("2001:db8:66::/48", gw(0, true))))
	check := func(want map[string]bool) {
		t.Helper()
		for src, pass := range want {
			dst := "10.255.1.2"
			if strings.Contains(src, ":") {
				dst = "fd00:ff:1::2"
			}
			if got := pings(l.a, src, dst); got != pass {
				t.Errorf("ping from %s: got %v, want %v", src, got, pass)
			}
		}
	}
	check(map[string]bool{"10.1.0.1": true, "10.66.0.1": true, "2001:db8:1::1": true, "2001:db8:66::1": true})
	ctx := context.Background()
	set := []bgp.SourceCheck{{Device: "wg0", Prefixes: prefixes("10.1.0.0/16", "2001:db8:1::/48", "fd00:ff::/64", "fe80::/10")}}
	if err := f.ApplySources(ctx, set); err != nil {
		t.Fatal(err)
	}
	check(map[string]bool{"10.1.0.1": true, "10.66.0.1": false, "2001:db8:1::1": true, "2001:db8:66::1": false})
	set = []bgp.SourceCheck{{Device: "wg0", Prefixes: prefixes("10.66.0.0/16", "2001:db8:66::/48", "fd00:ff::/64", "fe80::/10")}}
	if err := f.ApplySources(ctx, set); err != nil {
		t.Fatal(err)
	}
	check(map[string]bool{"10.1.0.1": false, "10.66.0.1": true, "2001:db8:1::1": false, "2001:db8:66::1": true})
	if err := f.ApplySources(ctx, nil); err != nil {
		t.Fatal(err)
	}
	check(map[string]bool{"10.1.0.1": true, "10.66.0.1": true, "2001:db8:1::1": true, "2001:db8:66::1": true})
	if out := nstest.Run(t, "nft", "list", "tables"); strings.Contains(out, nftTable) {
		t.Errorf("nothing wanted, table left: %s", out)
	}
}

func nftGeneration(t testing.TB, f *FIB) uint32 {
	t.Helper()
	g, err := f.nft.generation()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSourceSetsWriteOnlyDifferencesAndAdopt(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	ctx := context.Background()
	f := newFIB(t, Options{})
	var many []netip.Prefix
	for i := range 3000 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
	}
	set := []bgp.SourceCheck{
		{Device: "wg0", Prefixes: append(many, prefixes("2001:db8::/32", "ff00::/8")...)},
		{Device: "wg1", Prefixes: prefixes("0.0.0.0/0", "::/0")},
		{Device: "wg2", Prefixes: prefixes("255.0.0.0/8")},
	}
	apply := func(f *FIB, set []bgp.SourceCheck) (ops uint64, transactions uint32) {
		t.Helper()
		before, g := f.Counters().SourceOps.Load(), nftGeneration(t, f)
		if err := f.ApplySources(ctx, set); err != nil {
			t.Fatal(err)
		}
		return f.Counters().SourceOps.Load() - before, nftGeneration(t, f) - g
	}
	if err := f.ApplyClamp(ctx, []string{"wg0", "wg1"}); err != nil {
		t.Fatal(err)
	}
	if ops, tr := apply(f, set); ops != 3005 || tr != 1 {
		t.Errorf("first: got %d elements in %d transactions, want 3005 in 1", ops, tr)
	}
	if ops, tr := apply(f, set); ops != 0 || tr != 0 {
		t.Errorf("again: got %d elements in %d transactions, want none", ops, tr)
	}
	next := slices.Clone(set)
	next[0].Prefixes = append(slices.Clone(many[1:]), prefixes("10.99.0.0/16", "2001:db8::/32", "ff00::/8")...)
	if ops, tr := apply(f, next); ops != 2 || tr != 1 {
		t.Errorf("one prefix exchanged: got %d elements in %d transactions, want 2 in 1", ops, tr)
	}
	second := newFIB(t, Options{})
	g := nftGeneration(t, f)
	if err := second.ApplyClamp(ctx, []string{"wg1", "wg0"}); err != nil {
		t.Fatal(err)
	}
	if ops, tr := apply(second, next); ops != 0 || tr != 0 || nftGeneration(t, f) != g {
		t.Errorf("restart: got %d elements in %d transactions, want none", ops, nftGeneration(t, f)-g)
	}
	for name, tamper := range map[string][]string{
		"element":  {"delete", "element", "inet", "wgbgp", "src4_wg2", "{ 255.0.0.0/8 }"},
		"chain":    {"flush", "chain", "inet", "wgbgp", "src_wg0"},
		"ruleset":  {"flush", "ruleset"},
		"a device": {"add", "element", "inet", "wgbgp", "tunnels", "{ eth7 }"},
	} {
		before := nstest.Run(t, "nft", "-s", "list", "ruleset")
		nstest.Run(t, append([]string{"nft"}, tamper...)...)
		if _, tr := apply(f, next); tr != 1 {
			t.Errorf("tampered %s: got %d transactions, want 1", name, tr)
		}
		if after := nstest.Run(t, "nft", "-s", "list", "ruleset"); sortLines(after) != sortLines(before) {
			t.Errorf("tampered %s: not repaired", name)
		}
	}
}

func sortLines(s string) string {
	l := strings.Split(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

func TestSourceSetsHoldExactlyTheWantedPrefixes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	f := newFIB(t, Options{})
	rng := rand.New(rand.NewPCG(11, 7))
	for round := range 60 {
		var ps []netip.Prefix
		for i := range 16 {
			if rng.IntN(2) == 0 {
				ps = append(ps, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)) // often adjacent
			}
			if rng.IntN(3) == 0 {
				ps = append(ps, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(16 * i), 0, 0, 0}), 8))
			}
			if rng.IntN(2) == 0 {
				ps = append(ps, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, byte(i)}), 16))
			}
		}
		if err := f.ApplySources(context.Background(), []bgp.SourceCheck{{Device: "wg0", Prefixes: ps}}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		w4, w6 := toRanges(ps)
		got, err := f.nft.read()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.sets["src4_wg0"], w4) || !slices.Equal(got.sets["src6_wg0"], w6) {
			t.Fatalf("round %d: got %v %v, want %v %v", round, got.sets["src4_wg0"], got.sets["src6_wg0"], w4, w6)
		}
	}
}

func TestSegmentSizeIsClampedBothWays(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft", "tcpdump")
	l := newLab(t)
	nstest.Run(t, "ip", "link", "set", "wg1", "mtu", "1400")
	f := newFIB(t, Options{})
	if err := f.ApplyClamp(context.Background(), []string{"wg1"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to *nstest.NS
		dst      string
		mss      int
	}{
		{l.a, l.b, "10.255.1.2", 1400 - 40},
		{l.b, l.a, "10.255.0.2", 1400 - 40},
		{l.a, l.b, "fd00:ff:1::2", 1400 - 60},
		{l.b, l.a, "fd00:ff::2", 1400 - 60},
		{l.a, l.c, "10.255.2.2", 1500 - 40}, // no tunnel on the way
	} {
		dump := c.to.Cmd("tcpdump", "-nlvi", "eth0", "-c1", "tcp or (ip6 and ip6[6] == 6)", "and", "dst", "port", "99")
		out, err := dump.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		errPipe, err := dump.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := dump.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 4096)
		if _, err := errPipe.Read(line); err != nil { // "listening on"
			t.Fatal(err)
		}
		dial := exec.Command("ip", "netns", "exec", c.from.Name(), "timeout", "2", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/99", c.dst))
		nstest.Eventually(t, 3*time.Second, func() error { return dial.Start() })
		got, _ := io.ReadAll(out)
		_ = dial.Wait()
		_ = dump.Wait()
		if !strings.Contains(string(got), fmt.Sprintf("mss %d,", c.mss)) {
			t.Errorf("SYN to %s: want mss %d, got %s", c.dst, c.mss, got)
		}
	}
}
