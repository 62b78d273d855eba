package accept

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/node"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/site"
)

// matrixTOML is what the reload matrix has besides its sites: routers on the
// underlay, and one block of everything else that a file can have.
const matrixTOML = `
[wireguard.wg1]
private-key = "file:DIR/other.key"
listen-port = 51900
address = ["172.20.77.1/24", "fd20:77::1/64"]

[[rule]]
name = "spare"
of = ["heartbeat"]

[[tgw-apply]]
name = "core"
transit-gateway = "tgw-0123456789abcdef0"
transport = "tgw-attach-0123456789abcdef0"
addresses = ["10.0.0.10"]

[[aws-route]]
name = "sites"
vpc-route-tables = ["rtb-0123456789abcdef0"]
prefixes = ["10.101.0.0/16"]

[[aws-target-group]]
name = "wg"
arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/wg/0123456789abcdef"
target = "i-0123456789abcdef0"
port = 51820

[[aws-record]]
name = "endpoint"
zone = "Z0123456789ABCDEFGHIJ"
record = "wg.example.net"
addresses = ["203.0.113.10"]

[[aggregate]]
name = "all"
prefix = "10.96.0.0/11"

[[conditional]]
name = "spare-line"
prefixes = ["10.250.0.0/16"]
unless = ["198.51.100.0/24"]

[[group-rank]]
group = "routers"
rank = "remote"
prepend = 3

[[community-action]]
name = "fifty"
community = "65010:50"
local-pref = 50
`

// matrixRouters are the routers, by the last octet of their address.
var matrixRouters = map[string]int{"core1": 11, "core2": 12, "core3": 13, "core4": 14, "core5": 15, "core6": 16, "any": 66, "mate": 20}

// matrix is the lab of TestR04 and the configuration that it runs now.
type matrix struct {
	t      *testing.T
	l      *gwlab.Lab
	g      *gwlab.GatewayHost
	file   *confFile
	client *api.Client
	tgw    map[netip.Prefix][]string // when everything is well
	all    []string                  // sessions, when everything is well
}

func startMatrix(t *testing.T) *matrix {
	t.Helper()
	toml := matrixTOML
	for _, name := range slices.Sorted(maps.Keys(matrixRouters)) {
		block, asn := fmt.Sprintf("address = \"198.18.1.%d\"\n", matrixRouters[name]), 65201
		switch name {
		case "any":
			block = "range = \"198.18.1.64/28\"\n"
		case "core4":
			block += "device = \"eth1\"\nbind-device = true\n"
		case "core5":
			block += "families = [\"ipv4\", \"ipv6\"]\nnext-hop6 = \"fd20:1::1\"\ngraceful-restart = true\n"
		case "mate":
			asn = 65010
		}
		toml += fmt.Sprintf("\n[[neighbor]]\nname = %q\n%sasn = %d\ngroup = \"routers\"\nallow = [\"10.150.0.0/16\"]\nexport = true\nconnect-retry = \"1s\"\n", name, block, asn)
	}
	fast := "hold-down = \"0s\"\n"
	bgpSite := func(name string) gwlab.Site {
		return gwlab.Site{Name: name, BGP: gwlab.BGPRouter, Keepalive: 1, TOML: fast, Neighbor: "connect-retry = \"1s\"\n"}
	}
	berlin := bgpSite("berlin")
	berlin.Neighbor += "graceful-restart = true\n"
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1", NotStarted: true, TOML: toml}},
		Sites: []gwlab.Site{
			{Name: "paris", Keepalive: 1, TOML: fast, Tables: "[[site.probe]]\nname = \"lan\"\nfall = 1\nrise = 1\n"},
			{Name: "oslo", Keepalive: 1, TOML: fast, Open: true},
			berlin, bgpSite("bonn"), bgpSite("bern"), bgpSite("ulm"),
		},
	})
	g := l.Gateways[0]
	m := &matrix{t: t, l: l, g: g}
	for name, text := range map[string]string{"other.key": "SJ/CI6u2I4rZ8fWi+6TzmXDKFTTCGGNAx7dUvN0XZ1M=\n", "password": "secret\n"} {
		if _, err := g.Host.File(name, text); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	m.file = parseConf(strings.ReplaceAll(string(b), "DIR", g.Host.Dir()))
	m.file.block("gateway", "").set("region", `"here"`)
	m.file.block("wireguard.wg0", "").set("address", `["172.20.1.1/24", "fd20:1::1/64", "172.20.1.2/24"]`)
	m.write()
	m.startRouters()
	if err := l.StartGateway(g); err != nil {
		t.Fatal(err)
	}
	m.client, err = api.NewClient(fmt.Sprintf("/proc/%d/root/run/wgbgpd/wgbgpd.sock", g.Process.PID()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.Close)
	m.settle()
	return m
}

// startRouters plays all routers on the far end of the underlay: one process for
// each ASN.
func (m *matrix) startRouters() {
	exe, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	core := router.Config{ASN: 65201, RouterID: netip.MustParseAddr("198.18.1.1"), Table: 1512, Networks: []netip.Prefix{shared}}
	mate := router.Config{ASN: 65010, RouterID: netip.MustParseAddr("198.18.1.20"), Table: 1513}
	for _, name := range slices.Sorted(maps.Keys(matrixRouters)) {
		a := netip.AddrFrom4([4]byte{198, 18, 1, byte(matrixRouters[name])})
		if err := m.l.Internet.RunAll(fmt.Sprintf("ip addr add %s/24 dev gw1", a)); err != nil {
			m.t.Fatal(err)
		}
		cfg := &core
		if name == "mate" {
			cfg = &mate
		}
		n := router.Neighbor{Name: name, Via: name, Device: "gw1", Address: m.g.Underlay(), Local: a, ASN: bgp.ASN(65010)}
		if name == "core5" {
			n.NextHop6 = netip.MustParseAddr("fd20:1::15")
		}
		cfg.Speakers = append(cfg.Speakers, router.Speaker{Listen: []netip.Addr{a}, Neighbors: []router.Neighbor{n}})
	}
	for name, cfg := range map[string]router.Config{"cores": core, "mate": mate} {
		b, err := json.Marshal(site.Config{BGP: cfg})
		if err != nil {
			m.t.Fatal(err)
		}
		file, err := m.l.Internet.File(name+".json", string(b))
		if err != nil {
			m.t.Fatal(err)
		}
		if _, err := m.l.Internet.Start(name, exe, node.Site, file); err != nil {
			m.t.Fatal(err)
		}
	}
}

// settle waits for the first time that everything is well and remembers it.
func (m *matrix) settle() {
	want := []string{"any/198.18.1.66", "berlin", "bern", "bonn", "core1", "core2", "core3", "core4", "core5", "core6", "mate", "tgw/1", "tgw/2", "ulm"}
	m.all = want
	nstest.Eventually(m.t, 30*time.Second, func() error {
		if err := m.whole(m.sessions()); err != nil {
			return err
		}
		routes, err := m.l.TGWRoutes()
		m.tgw = routes
		for _, s := range m.l.Sites {
			if len(routes[s.Net4]) == 0 || len(routes[s.Net6]) == 0 {
				return fmt.Errorf("site %s is not announced yet: %v", s.Name, routes)
			}
		}
		if len(routes[netip.MustParsePrefix("10.96.0.0/11")]) == 0 {
			return fmt.Errorf("the aggregate is not announced yet: %v", routes)
		}
		return err
	})
}

// well waits until every session is up and the TGW has what it had at first.
func (m *matrix) well(within time.Duration) {
	m.t.Helper()
	nstest.Eventually(m.t, within, func() error {
		if err := m.whole(m.sessions()); err != nil {
			return err
		}
		now, err := m.l.TGWRoutes()
		for p := range m.tgw {
			if len(now[p]) == 0 {
				return fmt.Errorf("%s is not at the TGW: %v", p, now)
			}
		}
		return err
	})
}

func (m *matrix) whole(now map[string]time.Time) error {
	for _, name := range m.all {
		if now[name].IsZero() {
			return fmt.Errorf("session %s is not Established", name)
		}
	}
	return nil
}

// sessions are the Established sessions, since when.
func (m *matrix) sessions() map[string]time.Time {
	m.t.Helper()
	list, err := m.client.Neighbors(context.Background(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	up := map[string]time.Time{}
	for _, n := range list.Neighbors {
		if n.State == string(bgp.StateEstablished) || n.State == api.StatePolicy {
			up[n.Name] = n.Since.Time
		}
	}
	return up
}

// wgPeer is what wg(8) tells of a peer that a new one would begin anew.
type wgPeer struct{ handshake, rx, tx uint64 }

// peers are the WireGuard peers of the gateway, by site.
func (m *matrix) peers() map[string]wgPeer {
	m.t.Helper()
	out, err := m.g.Host.Run("wg", "show", "all", "dump")
	if err != nil {
		m.t.Fatal(err)
	}
	peers := map[string]wgPeer{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 9 { // interface, key, preshared key, endpoint, allowed IPs, handshake, rx, tx, keepalive
			continue
		}
		var n [3]uint64
		for i := range n {
			if n[i], err = strconv.ParseUint(f[5+i], 10, 64); err != nil {
				m.t.Fatal(err)
			}
		}
		for _, s := range m.l.Sites {
			if strings.Contains(fmt.Sprint(m.file.block("site", s.Name).lines), f[1]) {
				peers[s.Name] = wgPeer{handshake: n[0], rx: n[1], tx: n[2]}
			}
		}
	}
	return peers
}

// tunnelHas wants a word in what the daemon tells of its GRE tunnel.
func (m *matrix) tunnelHas(word string) error {
	s, err := m.client.Status(context.Background())
	if text := fmt.Sprintf("%+v", s.Tunnels); err == nil && !strings.Contains(text, word) {
		err = fmt.Errorf("tunnels: got %s, want %s", text, word)
	}
	return err
}

func (m *matrix) write() {
	m.t.Helper()
	if err := os.WriteFile(m.g.Config, []byte(m.file.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// reload takes over the file and waits until every edge has carried it out.
func (m *matrix) reload() {
	m.t.Helper()
	m.write()
	report, err := m.client.Reload(context.Background())
	if err != nil || !report.Applied {
		m.t.Fatalf("reload: %v, %+v", err, report)
	}
	nstest.Eventually(m.t, 10*time.Second, func() error {
		s, err := m.client.Status(context.Background())
		if err != nil {
			return err
		}
		for _, e := range s.Edges {
			if e.Gen < s.Gen {
				return fmt.Errorf("edge %s is at plan %d of %d", e.Name, e.Gen, s.Gen)
			}
		}
		return nil
	})
}
