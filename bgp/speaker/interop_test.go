package speaker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// daemon runs a routing daemon in a namespace until the test ends.
func daemon(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, out.String())
		}
	})
}

const bgpd = "/usr/lib/frr/bgpd"

// startFRR runs FRR's bgpd alone, without zebra: it speaks BGP and nothing else.
func startFRR(t testing.TB, ns *nstest.NS, conf string) func(args ...string) string {
	t.Helper()
	dir := "/run/frr-" + ns.Name()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bgpd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, ns.Cmd(bgpd, "-Z", "-S", "-f", file, "-i", dir+"/bgpd.pid", "--vty_socket", dir, "-A", "127.0.0.1"))
	return func(args ...string) string {
		out, _ := ns.Cmd("vtysh", "--vty_socket", dir, "-d", "bgpd", "-c", strings.Join(args, " ")).CombinedOutput()
		return string(out)
	}
}

func startBIRD(t testing.TB, ns *nstest.NS, conf string) func(args ...string) string {
	t.Helper()
	dir := "/run/bird-" + ns.Name()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, ns.Cmd("bird", "-f", "-c", file, "-s", dir+"/ctl", "-P", dir+"/pid"))
	return func(args ...string) string {
		out, _ := ns.Cmd(append([]string{"birdc", "-s", dir + "/ctl"}, args...)...).CombinedOutput()
		return string(out)
	}
}

// frrPath is what FRR knows about one path.
type frrPath struct {
	Paths []struct {
		Med       *int `json:"metric"`
		Aspath    struct{ String string }
		Community struct{ String string }
		Nexthops  []struct{ IP, Afi, Scope string }
	}
}

func frrShow(show func(...string) string, family, prefix string) (frrPath, error) {
	var p frrPath
	out := show("show bgp", family, "unicast", prefix, "json")
	err := json.Unmarshal([]byte(out), &p)
	if err == nil && len(p.Paths) != 1 {
		err = fmt.Errorf("%s: %d paths: %s", prefix, len(p.Paths), out)
	}
	return p, err
}

func TestFRRAsTransitGateway(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, bgpd, "vtysh")
	ns := nstest.New(t, "frr")
	nstest.Veth(t, nil, "gre1", []string{"169.254.6.1/29", "fd00:9::1/125"}, ns, "eth0", []string{"169.254.6.2/29", "fd00:9::2/125"})
	show := startFRR(t, ns, `
router bgp 64512
 bgp router-id 169.254.6.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 169.254.6.1 remote-as 65000
 neighbor 169.254.6.1 ebgp-multihop 2
 neighbor 169.254.6.1 timers 10 30
 neighbor 169.254.6.1 timers connect 1
 address-family ipv4 unicast
  network 10.200.0.0/16
 exit-address-family
 address-family ipv6 unicast
  network fd00:200::/48
  neighbor 169.254.6.1 activate
 exit-address-family
`)
	s, rec := start(t, Config{ListenPort: 179})
	n := bgp.Neighbor{
		Name: "tgw/1", Kind: bgp.KindTGW, Group: "tgw", Address: netip.MustParseAddr("169.254.6.2"), LocalAddress: netip.MustParseAddr("169.254.6.1"),
		RemoteASN: 64512, MultihopTTL: 2, HoldTime: 30 * time.Second, Keepalive: 10 * time.Second, IPv4: true, IPv6: true,
		NextHop6: netip.MustParseAddr("fd00:9::1"), Export: true, MaxPrefixes: 5000,
		Import: &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.0.0.0/8"), LE: 32}, {Prefix: pfx("fd00::/8"), LE: 64}}},
	}
	exp := bgp.Export{Group: "tgw", MED: 50, Prepend: 1, Communities: []bgp.Community{65000<<16 | 42}}
	ann := []bgp.Announcement{
		announcement("10.1.0.0/16", []bgp.ASN{65101}, exp), announcement("10.2.0.0/16", nil, exp),
		announcement("fd00:1::/48", []bgp.ASN{65101}, exp), announcement("fd00:2::/48", nil, exp),
	}
	apply(t, s, []bgp.Neighbor{n}, ann)
	established(t, s, "tgw/1")
	rec.has(t, "tgw/1 10.200.0.0/16", "tgw/1 fd00:200::/48")
	nstest.Eventually(t, 3*time.Second, func() error {
		// FRR sends End-of-RIB only where graceful restart was negotiated, and
		// so, presumably, does a transit gateway: the core needs a deadline.
		if st := rec.state("tgw/1"); st.HoldTime != 30*time.Second {
			return fmt.Errorf("got %+v, want hold time 30 s", st)
		}
		return nil
	})

	for _, c := range []struct{ family, prefix, nextHop, as string }{
		{"ipv4", "10.1.0.0/16", "169.254.6.1", "65000 65000 65101"},
		{"ipv4", "10.2.0.0/16", "169.254.6.1", "65000 65000"},
		{"ipv6", "fd00:1::/48", "fd00:9::1", "65000 65000 65101"},
		{"ipv6", "fd00:2::/48", "fd00:9::1", "65000 65000"},
	} {
		nstest.Eventually(t, 5*time.Second, func() error {
			p, err := frrShow(show, c.family, c.prefix)
			if err != nil {
				return err
			}
			g := p.Paths[0]
			if g.Med == nil || *g.Med != 50 || g.Aspath.String != c.as || g.Community.String != "65000:42" {
				return fmt.Errorf("%s: FRR has %+v, want MED 50, AS_PATH %s, community 65000:42", c.prefix, g, c.as)
			}
			if len(g.Nexthops) != 1 || g.Nexthops[0].IP != c.nextHop {
				return fmt.Errorf("%s: FRR has next hops %+v, want only %s", c.prefix, g.Nexthops, c.nextHop)
			}
			return nil
		})
	}
	// Withdraw.
	apply(t, s, []bgp.Neighbor{n}, []bgp.Announcement{announcement("10.2.0.0/16", nil, exp), announcement("fd00:2::/48", nil, exp)})
	for _, c := range [][2]string{{"ipv4", "10.1.0.0/16"}, {"ipv6", "fd00:1::/48"}} {
		nstest.Eventually(t, 5*time.Second, func() error {
			if p, err := frrShow(show, c[0], c[1]); err == nil && len(p.Paths) > 0 {
				return fmt.Errorf("%s is still at FRR", c[1])
			}
			return nil
		})
	}
	// FRR withdraws.
	_ = ns.Cmd("vtysh", "--vty_socket", "/run/frr-frr", "-d", "bgpd", "-c", "configure terminal", "-c", "router bgp 64512", "-c", "address-family ipv4 unicast", "-c", "no network 10.200.0.0/16").Run()
	rec.has(t, "tgw/1 fd00:200::/48")
}

const birdConf = `
router id 10.0.1.2;
protocol device { }
protocol static { ipv4 { import all; }; route 10.9.0.0/16 blackhole; route 10.10.0.0/16 blackhole; }
protocol static { ipv6 { import all; }; route fd00:99::/48 blackhole; }
protocol bgp hub {
  local %s as 65101;
  neighbor 10.0.1.1 as 65000;
  %s
  connect retry time 1; connect delay time 1; error wait time 1,2;
  ipv4 { import all; export all; };
  ipv6 { import all; export all; };
}
`

// birdSite is BIRD as a remote site with options for its session.
func birdSite(t testing.TB, options string) (func(args ...string) string, bgp.Neighbor) {
	t.Helper()
	nstest.Need(t, "bird", "birdc")
	ns := nstest.New(t, "bird")
	nstest.Veth(t, nil, "wg1", []string{"10.0.1.1/24", "fd00:9::1/64"}, ns, "eth0", []string{"10.0.1.2/24", "fd00:9::2/64"})
	show := startBIRD(t, ns, fmt.Sprintf(birdConf, "10.0.1.2", options))
	n := neighbor("site", "10.0.1.2", 65101, "sites")
	n.Passive, n.LocalAddress = false, netip.MustParseAddr("10.0.1.1")
	n.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.9.0.0/16")}, {Prefix: pfx("fd00:99::/48")}}, EnforceFirstAS: true}
	return show, n
}

func TestBIRDAsSite(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	show, n := birdSite(t, "")
	s, rec := start(t, Config{ListenPort: 179})
	exp := bgp.Export{Group: "sites", MED: 20, Communities: []bgp.Community{65000<<16 | 42}, Large: []bgp.LargeCommunity{{Global: 65000, Data1: 1, Data2: 2}}}
	apply(t, s, []bgp.Neighbor{n}, []bgp.Announcement{announcement("10.200.0.0/16", []bgp.ASN{64512}, exp), announcement("fd00:200::/48", nil, exp)})
	established(t, s, "site")
	rec.has(t, "site 10.9.0.0/16", "site fd00:99::/48")
	nstest.Eventually(t, 5*time.Second, func() error { return rec.refused("site 10.10.0.0/16 not-allowed") })
	for prefix, want := range map[string][]string{
		"10.200.0.0/16": {"BGP.as_path: 65000 64512", "BGP.next_hop: 10.0.1.1", "BGP.med: 20", "BGP.community: (65000,42)", "BGP.large_community: (65000, 1, 2)"},
		"fd00:200::/48": {"BGP.as_path: 65000\n", "BGP.next_hop: fd00:9::1\n", "BGP.med: 20"},
	} {
		nstest.Eventually(t, 5*time.Second, func() error {
			out := show("show", "route", prefix, "all")
			for _, w := range want {
				if !strings.Contains(out, w) {
					return fmt.Errorf("%s: BIRD lacks %q:\n%s", prefix, w, out)
				}
			}
			return nil
		})
	}
	apply(t, s, []bgp.Neighbor{n}, nil)
	nstest.Eventually(t, 5*time.Second, func() error {
		if out := show("show", "route", "protocol", "hub"); strings.Contains(out, "200") {
			return fmt.Errorf("withdrawn routes are still at BIRD:\n%s", out)
		}
		return nil
	})
	if st := s.States()[0]; st.State != bgp.StateEstablished {
		t.Errorf("state after refusing a path: got %s, want Established", st.State)
	}
}

func TestMD5RightWrongAndRemoved(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	show, n := birdSite(t, `password "right";`)
	s, _ := start(t, Config{ListenPort: 179})
	n.Password = "wrong"
	apply(t, s, []bgp.Neighbor{n}, nil)
	never(t, s, 4*time.Second)
	n.Password = "right"
	apply(t, s, []bgp.Neighbor{n}, nil)
	established(t, s, "site")
	n.Password = ""
	apply(t, s, []bgp.Neighbor{n}, nil)
	never(t, s, 4*time.Second)

	// BIRD gives the password up as well; it dials, so that the listener's key
	// of before would be in the way.
	n.Passive = true
	apply(t, s, []bgp.Neighbor{n}, nil)
	conf := fmt.Sprintf(birdConf, "10.0.1.2", "")
	if err := os.WriteFile("/run/bird-bird/bird.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	show("configure")
	established(t, s, "site")
}

func TestTTLSecurity(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	show, n := birdSite(t, "ttl security on;")
	s, _ := start(t, Config{ListenPort: 179})
	n.TTLSecurity = true
	apply(t, s, []bgp.Neighbor{n}, nil)
	established(t, s, "site")
	if out := show("show", "protocols"); !strings.Contains(out, "Established") {
		t.Errorf("BIRD: %s", out)
	}
}

func TestTTLSecurityRefusesALowTTL(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	_, n := birdSite(t, "") // sends TTL 1
	s, _ := start(t, Config{ListenPort: 179})
	n.TTLSecurity = true
	apply(t, s, []bgp.Neighbor{n}, nil)
	never(t, s, 5*time.Second)
}

func never(t testing.TB, s *Speaker, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // watch for the whole time
		if st := s.States()[0]; st.State == bgp.StateEstablished {
			t.Fatalf("session came up, want never (reason %q)", st.Reason)
		}
	}
}

func TestSourceAddressMayAppearLater(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "bird", "birdc")
	ns := nstest.New(t, "bird")
	nstest.Veth(t, nil, "wg1", nil, ns, "eth0", []string{"10.0.1.2/24"})
	startBIRD(t, ns, fmt.Sprintf(birdConf, "10.0.1.2", "passive;"))
	s, _ := start(t, Config{ListenPort: 179})
	n := neighbor("site", "10.0.1.2", 65101, "sites")
	n.Passive, n.LocalAddress, n.Device, n.BindDevice = false, netip.MustParseAddr("10.0.1.1"), "wg1", true
	apply(t, s, []bgp.Neighbor{n}, nil)
	never(t, s, 3*time.Second)
	nstest.Run(t, "ip", "addr", "add", "10.0.1.1/24", "dev", "wg1")
	begin := time.Now()
	established(t, s, "site")
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("came up %s after the address, want at most 4 s", d)
	} else {
		t.Logf("came up %s after the address", d)
	}
}

func TestLinkLocalTwins(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "bird", "birdc")
	s, rec := start(t, Config{ListenPort: 179})
	var all []bgp.Neighbor
	for i, name := range []string{"one", "two"} {
		ns := nstest.New(t, name)
		dev := fmt.Sprintf("wg%d", i)
		nstest.Veth(t, nil, dev, []string{fmt.Sprintf("fe80::a%d/64", i)}, ns, "eth0", []string{"fe80::1/64"})
		startBIRD(t, ns, fmt.Sprintf(`
router id 10.0.1.%d;
protocol device { }
protocol static { ipv6 { import all; }; route fd00:%d::/48 blackhole; }
protocol bgp hub { local fe80::1%%eth0 as 6510%d; neighbor fe80::a%d%%eth0 as 65000; connect retry time 1; connect delay time 1; error wait time 1,2; ipv6 { import all; export all; }; }
`, i+2, i+1, i+1, i))
		n := neighbor(name, "fe80::1%"+dev, bgp.ASN(65101+i), "sites")
		n.Passive, n.IPv4, n.Device, n.BindDevice = false, false, dev, true
		all = append(all, n)
	}
	apply(t, s, all, []bgp.Announcement{announcement("fd00:200::/48", nil, bgp.Export{Group: "sites"})})
	established(t, s, "one", "two")
	rec.has(t, "one fd00:1::/48", "two fd00:2::/48")
	for _, name := range []string{"one", "two"} {
		out, err := s.AdjOut(name)
		if err != nil || len(out) != 1 {
			t.Errorf("AdjOut of %s: got %v, %v, want one path", name, out, err)
		}
	}
}

func TestTwoSpeakersOverIBGP(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	mk := func(ip, peer string, passive bool) (*Speaker, *recorder, bgp.Neighbor) {
		s, rec := start(t, Config{ListenPort: 179, RouterID: netip.MustParseAddr(ip), Listen: []netip.Addr{netip.MustParseAddr(ip)}})
		n := neighbor("peer-"+peer, peer, 65000, "fleet")
		n.Passive, n.LocalAddress, n.Kind = passive, netip.MustParseAddr(ip), bgp.KindFleet
		return s, rec, n
	}
	a, _, na := mk("127.0.1.1", "127.0.1.2", false)
	b, recb, nb := mk("127.0.1.2", "127.0.1.1", true)
	an := announcement("10.1.0.0/16", []bgp.ASN{65101}, bgp.Export{Group: "fleet", MED: 1, LocalPref: 250})
	apply(t, a, []bgp.Neighbor{na}, []bgp.Announcement{an})
	apply(t, b, []bgp.Neighbor{nb}, nil)
	recb.has(t, "peer-127.0.1.1 10.1.0.0/16")
	paths, _ := b.AdjIn("peer-127.0.1.1")
	if g := paths[0]; g.Attrs.LocalPref != 250 || !slices.Equal(g.Attrs.ASPath, []bgp.ASN{65101}) || g.NextHop != netip.MustParseAddr("127.0.1.1") {
		t.Errorf("got next hop %s %+v, want 127.0.1.1, local preference 250, AS_PATH 65101", g.NextHop, *g.Attrs)
	}
}
