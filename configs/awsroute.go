package configs

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// awsRouteDoc is a set of route-table entries that follow the host which carries
// their prefixes, for networks on AWS without Connect.
type awsRouteDoc struct {
	meta
	Name           string         `toml:"name" class:"live" req:"name = \"sites\""`
	VPCRouteTables []string       `toml:"vpc-route-tables" class:"live" opt:"set"`
	TGWRouteTables []string       `toml:"tgw-route-tables" class:"live" opt:"set"`
	Interface      string         `toml:"interface" class:"live"`
	Attachment     string         `toml:"attachment" class:"live"`
	Targets        []string       `toml:"targets" class:"live"`
	Prefixes       []netip.Prefix `toml:"prefixes" class:"live" opt:"set" req:"prefixes = [\"10.101.0.0/16\"]"`
	WhenDown       string         `toml:"when-down" class:"live" enum:"delete|leave|blackhole"`
}

func (a *awsRouteDoc) setDefaults() { a.WhenDown = string(tgwconnect.UnheldDelete) }

// ids are the forms of identifiers, by key.
var ids = map[string]struct {
	form *regexp.Regexp
	like string
}{
	"vpc-route-tables": {regexp.MustCompile(`^rtb-[0-9a-f]{8,17}$`), "rtb-0123456789abcdef0"},
	"tgw-route-tables": {regexp.MustCompile(`^tgw-rtb-[0-9a-f]{8,17}$`), "tgw-rtb-0123456789abcdef0"},
	"interface":        {regexp.MustCompile(`^eni-[0-9a-f]{8,17}$`), "eni-0123456789abcdef0"},
	"attachment":       {regexp.MustCompile(`^tgw-attach-[0-9a-f]{8,17}$`), "tgw-attach-0123456789abcdef0"},
	"transit-gateway":  {regexp.MustCompile(`^tgw-[0-9a-f]{8,17}$`), "tgw-0123456789abcdef0"},
	"transport":        {regexp.MustCompile(`^tgw-attach-[0-9a-f]{8,17}$`), "tgw-attach-0123456789abcdef0"},
	"route-table":      {regexp.MustCompile(`^tgw-rtb-[0-9a-f]{8,17}$`), "tgw-rtb-0123456789abcdef0"},
	"interfaces":       {regexp.MustCompile(`^eni-[0-9a-f]{8,17}$`), "eni-0123456789abcdef0"},
	"targets":          {regexp.MustCompile(`^(eni|tgw-attach)-[0-9a-f]{8,17}$`), "eni-0123456789abcdef0"},
}

func (l *loader) checkID(m *meta, key string, all ...string) {
	form := ids[key]
	for i, id := range all {
		if id != "" && m.ok(key) && !form.form.MatchString(id) {
			l.wrong(m, key, quote(id)+" is no such identifier", "write it as "+form.like, i)
		}
	}
}

// checkOneID is for a key with one value.
func (l *loader) checkOneID(m *meta, key, id string) {
	if id != "" && m.ok(key) && !ids[key].form.MatchString(id) {
		l.wrong(m, key, quote(id)+" is no such identifier", "write it as "+ids[key].like)
	}
}

func (l *loader) checkAWSRoutes() {
	type place struct {
		table  string
		prefix netip.Prefix
	}
	seen := map[place]*awsRouteDoc{}
	for _, a := range l.doc.AWSRoute {
		l.checkName(&a.meta, a.Name)
		l.checkID(&a.meta, "vpc-route-tables", a.VPCRouteTables...)
		l.checkID(&a.meta, "tgw-route-tables", a.TGWRouteTables...)
		l.checkID(&a.meta, "targets", a.Targets...)
		l.checkOneID(&a.meta, "interface", a.Interface)
		l.checkOneID(&a.meta, "attachment", a.Attachment)
		if a.ok("vpc-route-tables", "tgw-route-tables") && len(a.VPCRouteTables)+len(a.TGWRouteTables) == 0 {
			l.wrong(&a.meta, "vpc-route-tables", "no table is named", "name the tables that may be written: vpc-route-tables = [\"rtb-...\"]")
		}
		if len(a.TGWRouteTables) > 0 && a.Attachment == "" && a.ok("attachment") {
			l.wrong(&a.meta, "attachment", "a route of a Transit Gateway leads to an attachment", "name the VPC attachment of this host: attachment = \"tgw-attach-...\"")
		}
		l.checkWhenDown(a)
		for i, p := range a.Prefixes {
			if p.Bits() == 0 && a.ok("prefixes") {
				l.wrong(&a.meta, "prefixes", p.String()+" is the default route of a whole network", "name the sites' prefixes", i)
			}
			for _, t := range slices.Concat(a.VPCRouteTables, a.TGWRouteTables) {
				k := place{t, p}
				if first := seen[k]; first != nil && a.ok("prefixes") {
					l.wrong(&a.meta, "prefixes", fmt.Sprintf("%s of table %s is in %s already", p, t, first.Name), "remove it from one of them", i)
				}
				seen[k] = a
			}
		}
	}
}

// checkWhenDown: a VPC route table has no blackholes that can be made.
func (l *loader) checkWhenDown(a *awsRouteDoc) {
	if tgwconnect.Unheld(a.WhenDown) == tgwconnect.UnheldBlackhole && len(a.VPCRouteTables) > 0 && a.ok("when-down", "vpc-route-tables") {
		l.wrong(&a.meta, "when-down", fmt.Sprintf("no call of AWS makes a blackhole in a VPC route table such as %s", a.VPCRouteTables[0]), "use delete or leave, or a table of its own for the Transit Gateway's routes")
	}
}

// awsRules are what the writer of route tables works by.
func (d *document) awsRules() (rules []tgwconnect.RouteRule) {
	for _, a := range d.AWSRoute {
		rules = append(rules, tgwconnect.RouteRule{
			Name: a.Name, VPCTables: a.VPCRouteTables, TGWTables: a.TGWRouteTables, OwnInterface: a.Interface, OwnAttachment: a.Attachment,
			Targets: a.Targets, Prefixes: sortedPrefixes(a.Prefixes), Unheld: tgwconnect.Unheld(a.WhenDown),
		})
	}
	return rules
}

// watched are the prefixes whose carrier the core must say.
func (d *document) watched() (out []netip.Prefix) {
	for _, a := range d.AWSRoute {
		out = append(out, a.Prefixes...)
	}
	slices.SortFunc(out, bgp.ComparePrefix)
	return slices.Compact(out)
}
