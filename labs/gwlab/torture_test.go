package gwlab

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
)

// Without them some rounds are played, with another seed each day they would be
// no test. WGBGP_KILLS=1000 WGBGP_KILL_SEED=7 go test -run KillNine ./labs/gwlab
const (
	killsEnv    = "WGBGP_KILLS"
	killSeedEnv = "WGBGP_KILL_SEED"
)

// convergeLimit is for a busy machine; how long it takes is printed.
const convergeLimit = 30 * time.Second

// killing is a gateway that dies without a word at any instant, while a site
// announces and withdraws and packets flow.
type killing struct {
	l            *Lab
	g            *GatewayHost
	rand         *rand.Rand
	berlin       *SiteHost
	announced    []netip.Prefix // by berlin, sorted
	static       []netip.Prefix
	foreign      string // what somebody else has on the host
	took         []time.Duration
	kills, early int // early: while it still started
}

// The daemon's tunnels are its own here and end with it. What the kernel does
// alone is TestKernelKillNine's.
func TestKillNineAtAnyInstantConverges(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	newKilling(t).play(t, 4)
}

func TestKernelKillNineAtAnyInstantConverges(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.NeedLink(t, "wireguard")
	nstest.NeedLink(t, "gre", "local", "192.0.2.1", "remote", "192.0.2.2")
	k := newKilling(t)
	mustBeKernel(t, k.g, "wg0", "wireguard")
	// A peer and a prefix that somebody else put on the daemon's own interface.
	k.do(t, "wg set wg0 peer "+foreignPeer+" allowed-ips 10.96.0.0/24 endpoint 198.18.1.1:9")
	k.play(t, 3)
}

// foreignPeer is a key of nobody.
const foreignPeer = "Zm9yZWlnbmZvcmVpZ25mb3JlaWduZm9yZWlnbmZvcmU="

func newKilling(t *testing.T) *killing {
	t.Helper()
	l := start(t, Spec{
		Gateways: []Gateway{{Name: "gw1", NotStarted: true}},
		Sites: []Site{
			{Name: "paris", Keepalive: 1, TOML: "hold-down = \"0s\"\n", Tables: "[[site.probe]]\nname = \"ping\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n"},
			{Name: "berlin", BGP: BGPRouter, Keepalive: 1, TOML: "hold-down = \"0s\"\n", Neighbor: "connect-retry = \"1s\"\n"},
		},
	})
	seed := uint64(1)
	if s := os.Getenv(killSeedEnv); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	k := &killing{l: l, g: l.Gateways[0], rand: rand.New(rand.NewPCG(seed, 0)), berlin: l.Site("berlin")}
	k.static = []netip.Prefix{l.Site("paris").Net4, l.Site("paris").Net6}
	text, err := os.ReadFile(k.g.Config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "[gateway]\n", "[gateway]\nend-of-rib-wait = \"1s\"\nlinger = \"1s\"\n", 1))
	if err := os.WriteFile(k.g.Config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.StartGateway(k.g); err != nil {
		t.Fatal(err)
	}
	reach(t, l, "paris")
	k.plant(t)
	return k
}

// plant puts things of somebody else's on the host: beside ours, in our table,
// with our interface's kind.
func (k *killing) plant(t *testing.T) {
	t.Helper()
	k.do(t,
		"ip link add theirs type veth peer name theirs-far", "ip link set theirs-far up", "ip addr add 10.97.0.1/24 dev theirs", "ip link set theirs up",
		"ip route add 10.98.0.0/16 dev theirs table 1186 metric 7", "ip -6 route add 2001:db8:98::/48 dev theirs table 1186 metric 7",
		"ip route add 10.99.0.0/16 dev theirs proto 17", "ip rule add pref 4000 from 10.97.0.0/24 lookup 77", "ip -6 rule add pref 4000 to 2001:db8:97::/48 lookup 77",
		"ip route add blackhole default table 77", "ip nexthop add id 4242 dev theirs",
	)
	conf := daemons.WireGuardConfig("QK5cdFBWyQBYsHyFuFgBDrIqTDD1NnUpDFcm+NoPKFY=", 51999,
		daemons.WireGuardPeer{PublicKey: foreignPeer, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.95.0.0/16")}})
	if _, err := daemons.StartWireGuard(k.g.Host, "wgtheirs", conf, 0, "10.95.0.1/16"); err != nil {
		t.Fatal(err)
	}
}

func (k *killing) do(t *testing.T, lines ...string) {
	t.Helper()
	if err := k.g.Host.RunAll(lines...); err != nil {
		t.Fatal(err)
	}
}

// theirs is everything that was planted, as the system shows it.
func (k *killing) theirs() (string, error) {
	var b strings.Builder
	for _, line := range []string{
		"ip -d link show theirs", "ip addr show theirs", "ip route show table all", "ip -6 route show table all", "ip rule show", "ip -6 rule show",
		"ip nexthop show", "wg show wgtheirs private-key", "wg show wgtheirs allowed-ips", "wg show wgtheirs listen-port",
	} {
		out, err := k.g.Host.Run(strings.Fields(line)...)
		if err != nil {
			return "", err
		}
		for l := range strings.Lines(volatile.ReplaceAllString(out, "")) {
			if !strings.HasPrefix(line, "ip") || strings.HasSuffix(line, "theirs") || strings.Contains(l, "theirs") || strings.Contains(l, "lookup 77") || strings.Contains(l, "table 77") {
				b.WriteString(l)
			}
		}
	}
	if out, err := k.g.Host.Run("wg", "show", "wg0", "allowed-ips"); err == nil {
		for l := range strings.Lines(out) {
			if strings.HasPrefix(l, foreignPeer) {
				b.WriteString(l)
			}
		}
	}
	return b.String(), nil
}

// churn lets berlin announce another set of prefixes.
func (k *killing) churn() error {
	k.announced = nil
	for i := range 8 {
		if k.rand.IntN(2) == 0 {
			continue
		}
		a := k.berlin.Net4.Addr().As4()
		a[2] = byte(i)
		k.announced = append(k.announced, netip.PrefixFrom(netip.AddrFrom4(a), 24))
		b := k.berlin.Net6.Addr().As16()
		b[7] = byte(i)
		k.announced = append(k.announced, netip.PrefixFrom(netip.AddrFrom16(b), 64))
	}
	slices.SortFunc(k.announced, netip.Prefix.Compare)
	return k.l.SetSiteNetworks(k.berlin, k.announced...)
}

// pause passes some time; in the product's own time scale any instant is likely.
func (k *killing) pause(most time.Duration) { time.Sleep(time.Duration(k.rand.Int64N(int64(most)))) }

func (k *killing) kill(t *testing.T) {
	t.Helper()
	if err := k.g.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-k.g.Process.Done()
	k.kills++
}

func (k *killing) run(t *testing.T) {
	t.Helper()
	p, err := k.g.Host.Start("wgbgpd", k.l.spec.Daemon, "-f", k.g.Config)
	if err != nil {
		t.Fatal(err)
	}
	k.g.Process = p
}

func (k *killing) play(t *testing.T, rounds int) {
	if s := os.Getenv(killsEnv); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	streams := k.l.throughGateway(t, k.l.Site("paris").Workload(), 20)
	if err := k.churn(); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, convergeLimit, k.right)
	var err error
	if k.foreign, err = k.theirs(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for round := 0; k.kills < rounds; round++ {
		if err := k.churn(); err != nil {
			t.Fatal(err)
		}
		k.pause(300 * time.Millisecond)
		k.kill(t)
		if k.rand.IntN(2) == 0 {
			if err := k.churn(); err != nil {
				t.Fatal(err)
			}
		}
		for k.run(t); k.kills < rounds && k.rand.IntN(3) == 0; k.run(t) {
			k.pause(500 * time.Millisecond)
			k.kill(t)
			k.early++
		}
		back := time.Now()
		nstest.Eventually(t, convergeLimit, k.right)
		k.took = append(k.took, time.Since(back))
		now, err := k.theirs()
		if err != nil {
			t.Fatal(err)
		}
		if now != k.foreign {
			t.Fatalf("round %d: what is somebody else's was touched:\nbefore\n%s\nnow\n%s", round, k.foreign, now)
		}
		if k.kills%50 == 0 {
			t.Logf("%d kills, %s", k.kills, time.Since(began).Round(time.Second))
		}
	}
	sent := 0
	for _, s := range streams {
		sent += s.Stop(time.Second).Sent
	}
	slices.Sort(k.took)
	t.Logf("figure: kill -9 %d times, %d of them while it started, under %d packets and churn: every time all was right again, after %.2f s in the median, %.2f s at most; %.2f s a kill",
		k.kills, k.early, sent, k.took[len(k.took)/2].Seconds(), k.took[len(k.took)-1].Seconds(), time.Since(began).Seconds()/float64(k.kills))
}

// right says what is not yet as it should be: the routes of the Transit Gateway,
// our table and the allowed IPs are those of what the sites have now, no more and
// no less.
func (k *killing) right() error {
	if !k.g.Process.Running() {
		return Fatal(fmt.Errorf("wgbgpd ended: %w\n%s", k.g.Process.Err(), k.g.Process.Tail(20)))
	}
	want := slices.Concat(k.announced, k.static)
	slices.SortFunc(want, netip.Prefix.Compare)
	at, err := k.l.TGWRoutes()
	if err != nil {
		return err
	}
	var told []netip.Prefix
	for p := range at {
		told = append(told, p)
	}
	if err := sameSet("routes of the Transit Gateway", told, want); err != nil {
		return err
	}
	var routed []netip.Prefix
	for _, v := range []string{"-4", "-6"} {
		out, err := k.g.Host.Run("ip", v, "route", "show", "table", "1186")
		if err != nil {
			return err
		}
		for l := range strings.Lines(out) {
			// "blackhole ..." is no prefix.
			if p, err := netip.ParsePrefix(strings.Fields(l)[0]); err == nil && strings.Contains(l, "proto bgp") && p.String() != vpcNet4 && p.String() != vpcNet6 {
				routed = append(routed, p)
			}
		}
	}
	if err := sameSet("routes into the tunnels", routed, want); err != nil {
		return err
	}
	out, err := k.g.Host.Run("wg", "show", "wg0", "allowed-ips")
	if err != nil {
		return err
	}
	owned := map[string][]netip.Prefix{}
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		for _, w := range f[1:] {
			if p, err := netip.ParsePrefix(w); err == nil && !p.IsSingleIP() {
				owned[f[0]] = append(owned[f[0]], p)
			}
		}
	}
	paris, berlin := k.l.Site("paris").keys[k.g.Name].Public().String(), k.berlin.keys[k.g.Name].Public().String()
	if err := sameSet("allowed IPs of paris", owned[paris], k.static); err != nil {
		return err
	}
	return sameSet("allowed IPs of berlin", owned[berlin], k.announced)
}

func sameSet(what string, have, want []netip.Prefix) error {
	slices.SortFunc(have, netip.Prefix.Compare)
	want = slices.Clone(want)
	slices.SortFunc(want, netip.Prefix.Compare)
	if !slices.Equal(have, want) {
		return fmt.Errorf("%s: got %v, want %v", what, have, want)
	}
	return nil
}
