package gwlab

import (
	"errors"
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
	"github.com/wgbgp/wgbgp/labs/traffic"
)

// Without them some rounds are played, with another seed each day they would be
// no test. WGBGP_KILLS=1000 WGBGP_KILL_SEED=7 go test -timeout 2h -run KillNine ./labs/gwlab
// Mostly it waits, so that two processes with a seed each take no longer than one.
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
	streams      []*traffic.Stream
	took         []time.Duration
	kills, early int // early: before it had converged
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
	k.harmless(t)
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
	k.streams = k.l.throughGateway(t, k.l.Site("paris").Workload(), 20)
	if err := k.churn(); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, convergeLimit, k.right)
	var err error
	if k.foreign, err = k.theirs(); err != nil {
		t.Fatal(err)
	}
	began, told := time.Now(), 0
	for k.kills < rounds {
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
		// Most die again before all is right: while they start, or while they converge.
		for k.run(t); k.kills < rounds && k.rand.IntN(3) > 0; k.run(t) {
			most := 500 * time.Millisecond
			if k.rand.IntN(4) == 0 {
				most = 3 * time.Second
			}
			k.pause(most)
			k.kill(t)
			k.early++
		}
		back := time.Now()
		nstest.Eventually(t, convergeLimit, k.right)
		k.took = append(k.took, time.Since(back))
		nstest.Eventually(t, convergeLimit, k.flowing)
		k.harmless(t)
		if k.kills >= told+50 {
			told = k.kills
			t.Logf("%d kills, %s", k.kills, time.Since(began).Round(time.Second))
		}
	}
	sent := 0
	for _, s := range k.streams {
		sent += s.Stop(time.Second).Sent
	}
	slices.Sort(k.took)
	t.Logf("figure: kill -9 %d times, %d of them before it had converged, under %d packets and churn: nothing of others was touched, and each of the %d that lived on had all right again, after %.2f s in the median, %.2f s at most; %.2f s a kill",
		k.kills, k.early, sent, len(k.took), k.took[len(k.took)/2].Seconds(), k.took[len(k.took)-1].Seconds(), time.Since(began).Seconds()/float64(k.kills))
}

// flowing says which packets do not get through.
func (k *killing) flowing() error {
	for i, s := range k.streams {
		if !s.Flowing(500 * time.Millisecond) {
			return fmt.Errorf("stream %d of %d: the latest packet that arrived was sent %s ago", i+1, len(k.streams), time.Since(s.Latest()))
		}
	}
	return nil
}

// harmless is what must hold at any instant, whether a process lives or not, and
// however far it came: what others have is as it was, and a site has no prefix
// that it may never have. Too few, or one that was withdrawn meanwhile, is what a
// dead process can not help.
func (k *killing) harmless(t *testing.T) {
	t.Helper()
	now, err := k.theirs()
	if err != nil {
		t.Fatal(err)
	}
	if now != k.foreign {
		t.Fatalf("after %d kills: what is somebody else's was touched:\nbefore\n%s\nnow\n%s", k.kills, k.foreign, now)
	}
	within := func(p netip.Prefix, sets ...[]netip.Prefix) bool {
		for _, set := range sets {
			if slices.ContainsFunc(set, func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) }) {
				return true
			}
		}
		return false
	}
	routed, err := k.routed()
	if err != nil {
		t.Fatal(err)
	}
	berlin := []netip.Prefix{k.berlin.Net4, k.berlin.Net6}
	for _, p := range routed {
		if !within(p, k.static, berlin) {
			t.Fatalf("after %d kills: a route to %s, which nobody has", k.kills, p)
		}
	}
	owned, err := k.owned()
	if err != nil {
		t.Fatal(err)
	}
	for name, may := range map[string][]netip.Prefix{"paris": k.static, "berlin": berlin} {
		for _, p := range owned[k.key(name)] {
			if !within(p, may) {
				t.Fatalf("after %d kills: %s has allowed IP %s, which is not its own", k.kills, name, p)
			}
		}
	}
	for key := range owned {
		if key != k.key("paris") && key != k.key("berlin") && key != foreignPeer {
			t.Fatalf("after %d kills: there is a peer %s, whom nobody knows", k.kills, key)
		}
	}
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
	routed, err := k.routed()
	if err != nil {
		return err
	}
	if err := sameSet("routes into the tunnels", routed, want); err != nil {
		return err
	}
	owned, err := k.owned()
	if err != nil {
		return err
	}
	if owned == nil {
		return errors.New("no interface wg0")
	}
	if err := sameSet("allowed IPs of paris", owned[k.key("paris")], k.static); err != nil {
		return err
	}
	return sameSet("allowed IPs of berlin", owned[k.key("berlin")], k.announced)
}

// routed are the sites' prefixes in our table.
func (k *killing) routed() ([]netip.Prefix, error) {
	var routed []netip.Prefix
	for _, v := range []string{"-4", "-6"} {
		out, err := k.g.Host.Run("ip", v, "route", "show", "table", "1186")
		if err != nil {
			return nil, err
		}
		for l := range strings.Lines(out) {
			// "blackhole ..." is no prefix.
			if p, err := netip.ParsePrefix(strings.Fields(l)[0]); err == nil && strings.Contains(l, "proto bgp") && p.String() != vpcNet4 && p.String() != vpcNet6 {
				routed = append(routed, p)
			}
		}
	}
	return routed, nil
}

// owned are the prefixes of the peers of wg0 by key, without addresses in the
// tunnel; nil: there is no wg0, which ends with the process where it is its own.
func (k *killing) owned() (map[string][]netip.Prefix, error) {
	if _, _, code, err := k.g.Host.Output("ip", "link", "show", "dev", "wg0"); err != nil || code != 0 {
		return nil, err
	}
	out, err := k.g.Host.Run("wg", "show", "wg0", "allowed-ips")
	if err != nil {
		return nil, err
	}
	owned := map[string][]netip.Prefix{}
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		owned[f[0]] = []netip.Prefix{}
		for _, w := range f[1:] {
			if p, err := netip.ParsePrefix(w); err == nil && !p.IsSingleIP() {
				owned[f[0]] = append(owned[f[0]], p)
			}
		}
	}
	return owned, nil
}

// key is a site's public key.
func (k *killing) key(site string) string { return k.l.Site(site).keys[k.g.Name].Public().String() }

func sameSet(what string, have, want []netip.Prefix) error {
	slices.SortFunc(have, netip.Prefix.Compare)
	want = slices.Clone(want)
	slices.SortFunc(want, netip.Prefix.Compare)
	if !slices.Equal(have, want) {
		return fmt.Errorf("%s: got %v, want %v", what, have, want)
	}
	return nil
}
