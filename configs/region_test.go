package configs

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

func inRegion(name string) string {
	return `
[gateway]
name = "gw-a"
asn = 65010
router-id = "192.0.2.1"
region = "` + name + `"

[wireguard.wg0]
private-key = "file:/etc/wgbgp/wg0.key"
address = ["10.255.0.1/24", "fd77::1/64"]
`
}

const regionsText = parisText + `regions = ["eu", "us"]
interface = "wg0"
allow = ["10.1.0.0/16 le 24"]
[site.neighbor]
asn = 65101
`

// One file for the gateways of all regions: the region says the role.
func TestRegionsOfASiteSayItsRole(t *testing.T) {
	for region, want := range map[string]struct {
		role  ha.Role
		group string
	}{"eu": {ha.RolePrimary, "sites"}, "us": {ha.RoleBackup, "sites/backup"}, "ap": {ha.RoleBackup, "sites/backup"}} {
		cfg := mustLoad(t, inRegion(region)+regionsText).Core
		if got := cfg.Sites[0].Role; got != want.role {
			t.Errorf("in region %s the role is %q, want %q", region, got, want.role)
		}
		if got := cfg.Neighbors[0].Group; got != want.group {
			t.Errorf("in region %s the site is in group %q, want %q", region, got, want.group)
		}
	}
}

func TestWhatIsSaidOfAGroupHoldsForItsBackupPart(t *testing.T) {
	cfg := mustLoad(t, inRegion("us")+regionsText+`actions = true
[[group-rank]]
group = "sites"
rank = "remote"
prepend = 5
[[aggregate]]
prefix = "10.0.0.0/8"
to = ["sites"]
[[community-action]]
community = "65010:1"
no-announce = ["sites"]
[[conditional]]
name = "x"
prefixes = ["10.9.0.0/16"]
unless = ["sites"]
`).Core
	both := []string{"sites", "sites/backup"}
	if got := cfg.Aggregates[0].To; !slices.Equal(got, both) {
		t.Errorf("the aggregate is told to %v, want %v", got, both)
	}
	if got := cfg.Actions[0].NoAnnounce; !slices.Equal(got, both) {
		t.Errorf("the action denies %v, want %v", got, both)
	}
	if got := cfg.Conditions[0].To; !slices.Equal(got, both) {
		t.Errorf("the condition is for %v, want %v", got, both)
	}
	if len(cfg.GroupRanks) != 2 || cfg.GroupRanks[1].Group != "sites/backup" || cfg.GroupRanks[1].Prepend != 5 || cfg.GroupRanks[1].MED != 150 {
		t.Errorf("ranks of groups %+v, want both with 5 prepends and the MED of the rank", cfg.GroupRanks)
	}
}

const linkText = `
[wireguard.wg-us]
private-key = "file:/etc/wgbgp/wg1.key"
mode = "open"
listen-port = 51821
address = ["10.252.0.0/31", "fd77:1::/127"]

[[site]]
name = "link-us"
interface = "wg-us"
public-key = "VD4heexgXDZ6AAgVwP39/DdcG0KRc3VKs+jpg191zRA="
endpoint = "198.51.100.7:51820"
address = ["10.252.0.1", "fd77:1::1"]

[[neighbor]]
name = "us1"
kind = "fleet"
region = "us"
device = "wg-us"
address = "10.252.0.1"
asn = 65010
confirm = "link"
`

func TestFleetNeighborOverWireGuardMakesALink(t *testing.T) {
	cfg, warnings, err := loadText(t, inRegion("eu")+linkText)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("warning about a link: %s", w)
	}
	if !cfg.Core.Sites[0].Link {
		t.Error("the peer is no link")
	}
	n := cfg.Core.Neighbors[0]
	if n.Region != "us" || n.Site != "link-us" || n.LocalAddress != netip.MustParseAddr("10.252.0.0") || n.NextHop6 != netip.MustParseAddr("fd77:1::") || !n.IPv4 || !n.IPv6 {
		t.Errorf("neighbor %+v, want both families from the link's addresses", n)
	}
	if x := cfg.Core.Confirms; len(x) != 1 || x[0].Neighbor != "us1" || x[0].Wait != 2*time.Second || x[0].Probe.ID != "" {
		t.Errorf("confirms %+v, want that of the link", x)
	}
}

func TestConfirmingProbeGoesItsOwnWay(t *testing.T) {
	cfg := mustLoad(t, baseText+`
[[neighbor]]
name = "gw-b"
kind = "fleet"
address = "10.0.0.11"
device = "eth1"
bfd = true
asn = 65010
confirm = "probe"
confirm-target = "198.51.100.7"
confirm-device = "eth0"
confirm-wait = "1s"
`).Core
	want := wg.Probe{
		ID: "confirm/gw-b", Kind: wg.ProbeICMP, Device: "eth0", Target: netip.MustParseAddr("198.51.100.7"),
		Interval: 500 * time.Millisecond, Timeout: 400 * time.Millisecond,
	}
	if x := cfg.Confirms; len(x) != 1 || x[0].Probe != want || x[0].Wait != time.Second {
		t.Errorf("confirms %+v, want %+v", x, want)
	}
}

func TestConditionNamesPrefixesNeighborsAndGroups(t *testing.T) {
	cfg := mustLoad(t, baseText+parisText+`
[[neighbor]]
name = "core-1"
address = "192.0.2.254"
asn = 65020
allow = ["0.0.0.0/0"]
export = true
[[conditional]]
name = "line"
prefixes = ["10.1.0.0/16 le 24", "2001:db8::/32"]
unless = ["core-1", "2001:db8:1::/48"]
only-if = ["routers"]
to = ["routers"]
`).Core.Conditions[0]
	want := []ha.Subject{{Neighbor: "core-1"}, {Prefix: netip.MustParsePrefix("2001:db8:1::/48")}}
	if !slices.Equal(cfg.Unless, want) || !slices.Equal(cfg.OnlyIf, []ha.Subject{{Neighbor: "routers"}}) || !slices.Equal(cfg.To, []string{"routers"}) {
		t.Errorf("condition %+v", cfg)
	}
	if !slices.Equal(cfg.Prefixes, []bgp.PrefixRule{{Prefix: netip.MustParsePrefix("10.1.0.0/16"), LE: 24}, {Prefix: netip.MustParsePrefix("2001:db8::/32")}}) {
		t.Errorf("prefixes %v", cfg.Prefixes)
	}
}
