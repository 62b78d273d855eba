package configs

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// tgwApplyDoc is what "wgbgp tgw apply" makes on the AWS side. The daemon does not
// look at it.
type tgwApplyDoc struct {
	meta
	Name           string       `toml:"name" class:"live" req:"name = \"core\""`
	TransitGateway string       `toml:"transit-gateway" class:"live" req:"transit-gateway = \"tgw-0123456789abcdef0\""`
	Transport      string       `toml:"transport" class:"live" req:"transport = \"tgw-attach-0123456789abcdef0\", the VPC attachment"`
	Addresses      []netip.Addr `toml:"addresses" class:"live" req:"addresses = [\"10.0.0.10\"], of this host's interface"`
	IPv6           bool         `toml:"ipv6" class:"live"`
	CIDR           netip.Prefix `toml:"cidr" class:"live"`
	RouteTable     string       `toml:"route-table" class:"live"`
	VPCRouteTables []string     `toml:"vpc-route-tables" class:"live" opt:"set"`
	Interfaces     []string     `toml:"interfaces" class:"live" opt:"set"`
}

func (l *loader) checkTGWApply() {
	for _, t := range l.doc.TGWApply {
		l.checkName(&t.meta, t.Name)
		l.checkOneID(&t.meta, "transit-gateway", t.TransitGateway)
		l.checkOneID(&t.meta, "transport", t.Transport)
		l.checkOneID(&t.meta, "route-table", t.RouteTable)
		l.checkID(&t.meta, "vpc-route-tables", t.VPCRouteTables...)
		l.checkID(&t.meta, "interfaces", t.Interfaces...)
		// https://docs.aws.amazon.com/vpc/latest/tgw/create-tgw.html: /24 or larger, /64 or larger.
		if c := t.CIDR; c.IsValid() && t.ok("cidr") {
			most := 24
			if c.Addr().Is6() {
				most = 64
			}
			switch {
			case c != c.Masked() || c.Bits() > most:
				l.wrong(&t.meta, "cidr", fmt.Sprintf("%s is no block that a Transit Gateway takes", c), fmt.Sprintf("use a /%d or larger, such as 10.254.0.0/24", most))
			case netip.MustParsePrefix("169.254.0.0/16").Overlaps(c):
				l.wrong(&t.meta, "cidr", c.String()+" is in 169.254.0.0/16, which AWS refuses", "use another block")
			}
		}
	}
}

func (d *document) tgwWants() (wants []tgwconnect.Want) {
	for _, t := range d.TGWApply {
		wants = append(wants, tgwconnect.Want{
			Name: t.Name, Gateway: d.Gateway.Name, TransitGatewayID: t.TransitGateway, TransportID: t.Transport, PeerASN: d.Gateway.ASN,
			Addresses: slices.Clone(t.Addresses), CIDR: t.CIDR, RouteTable: t.RouteTable, VPCRouteTables: t.VPCRouteTables,
			Interfaces: t.Interfaces, IPv6: t.IPv6,
		})
	}
	return wants
}
