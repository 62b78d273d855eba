package configs

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

var cmpOptions = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b wg.PrivateKey) bool { return a == b }),
	cmp.Comparer(func(a, b wg.PresharedKey) bool { return a == b }),
	cmp.Comparer(func(a, b bgp.Password) bool { return a == b }),
}

// loadText loads a configuration from a string.
func loadText(t *testing.T, text string) (*Config, Problems, error) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "wgbgpd.toml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(p, testOptions())
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	cfg, _, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const baseText = `
[gateway]
name = "gw-a"
asn = 65010
router-id = "192.0.2.1"

[wireguard.wg0]
private-key = "file:/etc/wgbgp/wg0.key"
address = ["10.255.0.1/24", "fd77::1/64"]
`

const parisText = `
[[site]]
name = "paris"
public-key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
address = ["10.255.0.2", "fd77::2"]
prefixes = ["10.1.0.0/16"]
`

func TestConnectPeerBecomesTwoNeighbors(t *testing.T) {
	cfg := mustLoad(t, baseText+`
[[tgw-connect]]
name = "tgw-a"
local = "10.0.0.10"
remote = "192.0.2.100"
inside = ["169.254.6.0/29", "fd00:1::8/125"]
tgw-asn = 64513
`)
	everything := []bgp.PrefixRule{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), LE: 32},
		{Prefix: netip.MustParsePrefix("::/0"), LE: 128},
	}
	want := func(name, addr string) bgp.Neighbor {
		return bgp.Neighbor{
			Name: name, Kind: bgp.KindTGW, Group: "tgw-a", Device: "gre-tgw-a",
			Address: netip.MustParseAddr(addr), LocalAddress: netip.MustParseAddr("169.254.6.1"),
			RemoteASN: 64513, MultihopTTL: 2,
			HoldTime: 30 * time.Second, Keepalive: 10 * time.Second, ConnectRetry: 2 * time.Second,
			IPv4: true, IPv6: true, NextHop6: netip.MustParseAddr("fd00:1::9"), Export: true, AnnounceLimit: 1000,
			Import: &bgp.ImportPolicy{Allow: everything, EnforceFirstAS: true, LocalPref: 100},
		}
	}
	if diff := cmp.Diff([]bgp.Neighbor{want("tgw-a/1", "169.254.6.2"), want("tgw-a/2", "169.254.6.3")}, cfg.Core.Neighbors, cmpOptions); diff != "" {
		t.Errorf("neighbors (-want +got):\n%s", diff)
	}
	if got := cfg.Core.Connect[0].Tunnel().Addresses; len(got) != 2 || got[1] != netip.MustParsePrefix("fd00:1::9/125") {
		t.Errorf("tunnel addresses: %v", got)
	}
}

func TestSiteNeighborRunsInsideTheTunnel(t *testing.T) {
	cfg := mustLoad(t, baseText+parisText+`
allow = ["10.1.0.0/16 le 24"]
[site.neighbor]
asn = 65101
password = "file:/etc/wgbgp/md5"
`)
	want := []bgp.Neighbor{{
		Name: "paris", Kind: bgp.KindSite, Group: "sites", Site: "paris", Device: "wg0", BindDevice: true,
		Address: netip.MustParseAddr("10.255.0.2"), LocalAddress: netip.MustParseAddr("10.255.0.1"), RemoteASN: 65101,
		HoldTime: 30 * time.Second, Keepalive: 10 * time.Second, ConnectRetry: 5 * time.Second,
		Password: "correct horse battery", IPv4: true, IPv6: true, NextHop6: netip.MustParseAddr("fd77::1"),
		MaxPrefixes: 100, Export: true,
		Import: &bgp.ImportPolicy{
			Allow:          []bgp.PrefixRule{{Prefix: netip.MustParsePrefix("10.1.0.0/16"), LE: 24}},
			EnforceFirstAS: true, LocalPref: 200,
		},
	}}
	if diff := cmp.Diff(want, cfg.Core.Neighbors, cmpOptions); diff != "" {
		t.Errorf("neighbors (-want +got):\n%s", diff)
	}
	if cfg.Core.Sites[0].Neighbor != "paris" {
		t.Errorf("site's neighbor: %q", cfg.Core.Sites[0].Neighbor)
	}
}

// AC-19: the same fe80 address on two interfaces is two neighbors.
// An address of the interface is a live edit: one that is added behind those there
// are, even in the site's own subnet, must leave the session where it is.
func TestAddedAddressMovesNoSession(t *testing.T) {
	text := baseText + parisText + "[site.neighbor]\nasn = 65101\n"
	for _, more := range []string{`"10.255.0.9/24"`, `"10.255.0.9/16"`, `"192.0.2.1/24"`, `"fd77::9/64"`} {
		a := mustLoad(t, text)
		b := mustLoad(t, strings.Replace(text, `"fd77::1/64"`, `"fd77::1/64", `+more, 1))
		if change := a.Core.Neighbors[0].Compare(&b.Core.Neighbors[0]); change != 0 {
			t.Errorf("%s added: the neighbor changed (%b), local address %s", more, change, b.Core.Neighbors[0].LocalAddress)
		}
	}
}

func TestLinkLocalTwins(t *testing.T) {
	cfg := mustLoad(t, `
[gateway]
name = "gw-a"
asn = 65010
router-id = "192.0.2.1"
[wireguard.wg0]
private-key = "file:/etc/wgbgp/wg0.key"
address = ["fe80::1/64"]
mode = "open"
[wireguard.wg1]
private-key = "file:/etc/wgbgp/wg1.key"
address = ["fe80::1/64"]
mode = "open"
listen-port = 51821
[[site]]
name = "a"
interface = "wg0"
public-key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
address = ["fe80::2"]
neighbor = { asn = 65101 }
[[site]]
name = "b"
interface = "wg1"
public-key = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="
address = ["fe80::2"]
neighbor = { asn = 65102 }
`)
	for i, dev := range []string{"wg0", "wg1"} {
		n := cfg.Core.Neighbors[i]
		if n.Address.String() != "fe80::2%"+dev || n.LocalAddress.String() != "fe80::1%"+dev {
			t.Errorf("%s: %s from %s, want fe80::2%%%s from fe80::1%%%s", n.Name, n.Address, n.LocalAddress, dev, dev)
		}
		if !n.IPv6 || n.IPv4 {
			t.Errorf("%s: families 4=%t 6=%t", n.Name, n.IPv4, n.IPv6)
		}
	}
}

func TestNothingAllowedLearnsNothing(t *testing.T) {
	cfg, warnings, err := loadText(t, baseText+parisText+"[site.neighbor]\nasn = 65101\n")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Core.Neighbors[0].Import != nil {
		t.Errorf("import policy: %+v, want none", cfg.Core.Neighbors[0].Import)
	}
	if len(warnings) != 1 || warnings[0].Code != "W-8212" {
		t.Errorf("warnings: %v, want W-8212", warnings)
	}
}

func TestChecksOfASite(t *testing.T) {
	probe := "[[site.probe]]\nname = \"lan\"\n"
	for name, c := range map[string]struct {
		text string
		want string // names in order
	}{
		"plain":                      {"", "heartbeat"},
		"no heartbeat":               {"heartbeat = false\n", "handshake"},
		"no heartbeat but probe":     {"heartbeat = false\n" + probe, "lan"},
		"everything":                 {probe + "[site.neighbor]\nasn = 65101\n", "bgp heartbeat lan"},
		"probe is bound to prefixes": {"heartbeat = false\n" + probe + "prefixes = [\"10.1.0.0/16\"]\n", "handshake lan"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, baseText+parisText+c.text)
			var got []string
			for _, k := range cfg.Core.Sites[0].Checks {
				got = append(got, k.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if r := cfg.Core.Sites[0].Rules; r.Any || r.Of != nil {
				t.Errorf("rule %+v, want all of them", r)
			}
		})
	}
}

func TestHeartbeatAsksTheSiteOrAnythingBehindIt(t *testing.T) {
	cfg := mustLoad(t, baseText+parisText)
	want := wg.Probe{
		ID: "paris/heartbeat", Site: "paris", Kind: wg.ProbeHeartbeat, Device: "wg0",
		Target: netip.MustParseAddr("10.255.0.2"), Source: netip.MustParseAddr("10.255.0.1"), Port: 9,
		Interval: 5 * time.Second, Timeout: 5 * time.Second,
	}
	if diff := cmp.Diff(want, cfg.Core.Sites[0].Checks[0].Probe, cmpOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cfg = mustLoad(t, baseText+strings.Replace(parisText, `address = ["10.255.0.2", "fd77::2"]`, "", 1))
	if got := cfg.Core.Sites[0].Checks[0].Probe.Target.String(); got != "10.1.0.1" {
		t.Errorf("without an address: target %s, want the first host of 10.1.0.0/16", got)
	}
}

func TestProbesInheritFromTheSite(t *testing.T) {
	cfg := mustLoad(t, baseText+parisText+"rise = 2\nfall = 5\n[[site.probe]]\nname = \"lan\"\ntype = \"tcp\"\nport = 22\nfall = 4\n")
	c := cfg.Core.Sites[0].Checks[1]
	if c.Rise != 2 || c.Fall != 4 || c.Probe.Target != netip.MustParseAddr("10.255.0.2") || c.Probe.Port != 22 || c.Kind != ha.CheckProbe {
		t.Errorf("got %+v", c)
	}
}

func TestFleetNeighborIsInternal(t *testing.T) {
	cfg := mustLoad(t, baseText+"[[neighbor]]\nname = \"gw-b\"\nkind = \"fleet\"\naddress = \"10.0.0.11\"\nasn = 65010\n")
	n := cfg.Core.Neighbors[0]
	if n.Kind != bgp.KindFleet || n.Group != "fleet" || !n.Export || n.Import == nil || n.Import.EnforceFirstAS || !n.IPv4 || n.IPv6 {
		t.Errorf("got %+v, import %+v", n, n.Import)
	}
}

func TestMarkReachesDevices(t *testing.T) {
	cfg := mustLoad(t, baseText+"[fib]\nmark = 77\nvrf = \"blue\"\n")
	if d := cfg.Core.Devices[0]; d.FirewallMark != 77 || d.VRF != "blue" {
		t.Errorf("mark %d, VRF %q; want 77, blue", d.FirewallMark, d.VRF)
	}
}

func TestSessionsToATGWAreBoundToTheTunnelInAVRF(t *testing.T) {
	const connect = "[[tgw-connect]]\nname = \"tgw\"\nlocal = \"10.0.0.5\"\nremote = \"10.0.0.6\"\ninside = [\"169.254.6.0/29\"]\ntgw-asn = 64512\n"
	for vrf, want := range map[string]bool{"": false, "blue": true} {
		for _, n := range mustLoad(t, baseText+connect+"[fib]\nvrf = \""+vrf+"\"\n").Core.Neighbors {
			if n.BindDevice != want || n.Device == "" {
				t.Errorf("VRF %q: neighbor %s: device %q, bound %v; want bound %v", vrf, n.Name, n.Device, n.BindDevice, want)
			}
		}
	}
}

func TestOrderInTheFileMeansNothing(t *testing.T) {
	lyon := strings.NewReplacer("paris", "lyon", "10.255.0.2", "10.255.0.3", "fd77::2", "fd77::3", "10.1.0.0", "10.2.0.0",
		"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=").Replace(parisText)
	a, b := mustLoad(t, baseText+parisText+lyon), mustLoad(t, lyon+parisText+baseText)
	if diff := cmp.Diff(a.Core, b.Core, cmpOptions); diff != "" {
		t.Errorf("core differs:\n%s", diff)
	}
	if changes := Diff(a, b); len(changes) != 0 {
		t.Errorf("Diff: %v", changes)
	}
	if Show(a) != Show(b) {
		t.Error("Show differs")
	}
}

func TestCheckOnlyReadsNoSecret(t *testing.T) {
	p := filepath.Join(t.TempDir(), "wgbgpd.toml")
	if err := os.WriteFile(p, []byte(baseText+parisText), 0o600); err != nil {
		t.Fatal(err)
	}
	opt := testOptions()
	opt.CheckOnly = true
	cfg, _, err := Load(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Core.Devices[0].PrivateKey.IsZero() {
		t.Error("a private key was read")
	}
	text := strings.Replace(baseText, "wg0.key", "missing.key", 1)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = Load(p, opt); err == nil || !strings.Contains(err.Error(), "missing.key") {
		t.Errorf("a missing key file went unnoticed: %v", err)
	}
}

// A check from a shell can not see what only the unit has, and says so.
func TestCheckOnlyWarnsOfWhatOnlyTheServiceHas(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	p := filepath.Join(t.TempDir(), "wgbgpd.toml")
	if err := os.WriteFile(p, []byte(strings.Replace(baseText, "file:/etc/wgbgp/wg0.key", "credential:wg0.key", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Load(p, Options{CheckOnly: true})
	if err != nil || len(warnings) != 1 || warnings[0].Code != "W-NOTHERE" {
		t.Errorf("check: got %v, %v, want W-NOTHERE", warnings, err)
	}
	if _, _, err = Load(p, Options{}); err == nil {
		t.Error("the daemon started without its key")
	}
}

func TestRouteServersHaveTheDefaultsOfTheOwnAccount(t *testing.T) {
	cfg := mustLoad(t, `
[gateway]
name = "gw"
asn = 65010
router-id = "10.0.0.10"

[[neighbor]]
name = "rs"
route-server = "all"
bfd-interval = "500ms"

[[neighbor]]
name = "mine"
route-server = "rs-0123456789abcdef0"
local-asn = 65011
announce-limit = 50
export = false

[[aggregate]]
prefix = "10.96.0.0/11"
`).Core
	if len(cfg.Servers) != 2 || len(cfg.Neighbors) != 0 {
		t.Fatalf("%d Route Servers and %d neighbors, want 2 and none before AWS has answered", len(cfg.Servers), len(cfg.Neighbors))
	}
	mine, rs := cfg.Servers[0], cfg.Servers[1]
	if n := rs.Neighbor; n.Group != "rs" || n.AnnounceLimit != 100 || !n.Export || n.Import == nil || !n.IPv4 || n.IPv6 || rs.Entry.ServerID != tgwconnect.EveryServer || rs.Entry.ASN != 65010 {
		t.Errorf("%+v", rs)
	}
	if rs.BFD.Interval != 500*time.Millisecond || rs.BFD.Multiplier != 3 {
		t.Errorf("BFD %+v", rs.BFD)
	}
	if n := mine.Neighbor; n.AnnounceLimit != 50 || n.Export || mine.Entry.ServerID != "rs-0123456789abcdef0" || mine.Entry.ASN != 65011 {
		t.Errorf("%+v", mine)
	}
	if to := cfg.Aggregates[0].To; len(to) != 2 || to[0] != "mine" || to[1] != "rs" {
		t.Errorf("the aggregate is told to %v, want both", to)
	}
}
