package doctor

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// Row 30.
func forwardingOff(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		v, read := f.Host.Sysctls[name]
		switch {
		case !read:
			t.good("%s: this kernel has none", name)
		case v == "0":
			t.bad("sysctl -w "+name+"=1, and a line in /etc/sysctl.d", "%s is 0", name)
		default:
			t.good("%s is %s", name, v)
		}
	}
	for _, s := range f.Daemon.Status.Sysctls {
		t.bad("sysctl -w "+s.Name+"="+s.Want, "%s is %s: %s", s.Name, s.Have, s.Text)
	}
}

// Row 31 (Documentation/networking/ip-sysctl.rst: the larger of all and the
// interface's own counts, 1 is strict).
func rpFilter(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	var tunnels []string
	for _, x := range f.tunnels() {
		if f.towardTGW(x) {
			tunnels = append(tunnels, x.Name)
		}
	}
	all, _ := strconv.Atoi(f.Host.Sysctls["net.ipv4.conf.all.rp_filter"]) // missing is 0
	for _, name := range tunnels {
		key := "net.ipv4.conf." + name + ".rp_filter"
		own, _ := strconv.Atoi(f.Host.Sysctls[key]) // missing is 0
		switch {
		case max(all, own) == 1 && len(tunnels) > 1:
			t.bad("sysctl -w "+key+"=2, or net.ipv4.conf.all.rp_filter=2", "%s: strict, and there are %d tunnels: what comes back by another one is dropped", name, len(tunnels))
		case max(all, own) == 1:
			t.good("%s: strict, with one tunnel", name)
		default:
			t.good("%s: rp_filter %d", name, max(all, own))
		}
	}
	if moved, since, read := f.Host.delta("netstat.IPReversePathFilter"); read && moved > 0 && len(tunnels) > 0 {
		t.warn("nstat -az TcpExtIPReversePathFilter; tcpdump says of whom", "the reverse path filter dropped %d packets within %s, %d in all", moved, f.Host.Elapsed, since)
	}
	t.none("there is no GRE tunnel")
}

// Row 36: a peer ignores handshakes older than the newest it saw (WireGuard's
// TAI64N), so a clock that jumped back costs the tunnel.
func clock(f *Facts, t *tally) {
	switch {
	case f.Host.Clock == nil && f.Host.Gap == "":
		t.unknown("adjtimex is not permitted here")
	case f.Host.Clock == nil:
		t.unknown("%s", f.hostGap())
	case !f.Host.Clock.Synchronized:
		t.warn("run chronyd with server 169.254.169.123; timedatectl", "the kernel's clock is not synchronized")
	case f.Host.Clock.MaxError > 5*time.Second:
		t.warn("chronyc tracking", "the clock may be %s wrong", f.Host.Clock.MaxError)
	default:
		t.good("the clock is synchronized, at most %s wrong", f.Host.Clock.MaxError)
	}
	for _, p := range f.Daemon.Peers {
		if p.Handshake.Time.After(f.Now.Add(2 * time.Second)) {
			t.bad("chronyc tracking; the clock was set back", "%s: the latest handshake is in the future: %s", name(p), p.Handshake.Time.Format(time.RFC3339))
		}
	}
}

func name(p api.Peer) string {
	if p.Name != "" {
		return p.Name
	}
	return p.PublicKey
}

// Limits of a Connect peer [QUOTA].
const (
	tunnelBits    = 5e9
	tunnelPackets = 300e3
)

// Row 45 [ENA-MON][QUOTA].
func bandwidth(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	cure := "a larger instance type; more Connect peers (4 per attachment), more gateways"
	f.ena(t, "bw_in_allowance_exceeded", "packets beyond the bandwidth allowance, in", cure)
	f.ena(t, "bw_out_allowance_exceeded", "packets beyond the bandwidth allowance, out", cure)
	f.ena(t, "pps_allowance_exceeded", "packets beyond the rate allowance", cure)
	if s := f.Host.Elapsed.Seconds(); s >= 0.1 {
		for _, x := range f.tunnels() {
			if !f.towardTGW(x) {
				continue
			}
			for _, dir := range []string{"rx", "tx"} {
				bytes, _, read := f.Host.delta(x.Name + "." + dir + "_bytes")
				packets, _, _ := f.Host.delta(x.Name + "." + dir + "_packets")
				bits, rate := float64(bytes)*8/s, float64(packets)/s
				switch {
				case !read:
				case bits > 0.8*tunnelBits || rate > 0.8*tunnelPackets:
					t.warn("more Connect peers: one carries 5 Gbit/s and 300,000 packets/s", "%s %s: %.2f Gbit/s, %.0f packets/s", x.Name, dir, bits/1e9, rate)
				default:
					t.good("%s %s: %.2f Gbit/s, %.0f packets/s", x.Name, dir, bits/1e9, rate)
				}
			}
		}
	}
	for _, i := range f.AWS.InstanceTypes.Values {
		t.good("%s: baseline %.2f Gbit/s", i.Name, i.BaselineGbps)
	}
	if t.verdict == "" {
		t.unknown("no interface has ENA's counters, and no tunnel was measured")
	}
}

// Row 46 [ENA-MON].
func conntrack(f *Facts, t *tally) {
	if t.lacks(f.hostGap()) {
		return
	}
	cure := "sysctl -w net.netfilter.nf_conntrack_max=...; tunnels need no tracking: notrack in nftables"
	count, e1 := strconv.Atoi(f.Host.Sysctls["net.netfilter.nf_conntrack_count"])
	most, e2 := strconv.Atoi(f.Host.Sysctls["net.netfilter.nf_conntrack_max"])
	if e1 == nil && e2 == nil && most > 0 {
		switch {
		case count*100 >= most*95:
			t.bad(cure, "nf_conntrack: %d of %d", count, most)
		case count*10 >= most*8:
			t.warn(cure, "nf_conntrack: %d of %d", count, most)
		default:
			t.good("nf_conntrack: %d of %d", count, most)
		}
	}
	f.ena(t, "conntrack_allowance_exceeded", "packets beyond the connection tracking allowance",
		"a larger instance type; security group rules that admit everything both ways are not tracked")
	var low []string
	for k, v := range f.Host.After {
		if strings.HasSuffix(k, ".conntrack_allowance_available") && v < 1000 {
			low = append(low, k)
		}
	}
	slices.Sort(low)
	for _, k := range low {
		t.warn("a larger instance type", "%s: %d connections left", strings.TrimSuffix(k, ".conntrack_allowance_available"), f.Host.After[k])
	}
	t.none("this host tracks no connections and has no ENA counters")
}
