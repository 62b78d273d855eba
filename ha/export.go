package ha

import (
	"cmp"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// exportTable holds, for every kind of source and every rank, what each
// neighbor group is told. Announcements share its slices.
type exportTable struct {
	all           map[exportKey][]bgp.Export
	less          map[lessKey][]bgp.Export // see without
	more          map[moreKey][]bgp.Export // see prepended
	tgw, external []string                 // groups of Transit Gateways; groups that are not iBGP; sorted
	lastLess      lessKey                  // what without was asked last, often many times in a row
	lastOut       []bgp.Export
	last          exportKey // the walk asks for the same one many times in a row
	to            []bgp.Export
	second        []bgp.Export // for a path of another region that a site of this host could carry too, see standsBy
}

func (t *exportTable) get(k exportKey) []bgp.Export {
	if t.last != k {
		t.last, t.to = k, t.all[k]
	}
	return t.to
}

type lessKey struct {
	of    *bgp.Export // the first of the audience
	n     int
	group string
}

// without is the audience less one group. The same question gives the same slice,
// so that announcements go on sharing it.
func (t *exportTable) without(to []bgp.Export, group string) []bgp.Export {
	k := lessKey{&to[0], len(to), group}
	if k == t.lastLess {
		return t.lastOut
	}
	out, ok := t.less[k]
	if !ok {
		for i := range to {
			if to[i].Group != group {
				out = append(out, to[i])
			}
		}
		t.less[k] = out
	}
	t.lastLess, t.lastOut = k, out
	return out
}

type moreKey struct {
	of      *bgp.Export
	n       int
	prepend uint8
}

// prepended is the audience with more of our ASNs toward Transit Gateways. Like
// without it gives the same slice for the same question.
func (t *exportTable) prepended(to []bgp.Export, by uint8) []bgp.Export {
	k := moreKey{&to[0], len(to), by}
	out, ok := t.more[k]
	if !ok {
		out = slices.Clone(to)
		for i := range out {
			if slices.Contains(t.tgw, out[i].Group) {
				out[i].Prepend = uint8(min(int(out[i].Prepend)+int(by), maxPrepend))
			}
		}
		t.more[k] = out
	}
	return out
}

// maxPrepend keeps a path short enough to be accepted anywhere.
const maxPrepend = 20

type exportKey struct {
	from bgp.Kind // KindSite also for configured prefixes
	tgw  bool     // from the fleet: a host has it from its Transit Gateway
	rank Rank
}

// groupFacts is what counts of a neighbor group when its audience is derived.
type groupFacts struct {
	kind bgp.Kind
	ibgp bool // a router with our ASN is in it
	weak bool // of sites that all name this host their backup
}

// BackupGroup is the group of those sites of a group that name this host their
// backup: they are told the same as the others, more weakly. No operator's name has
// a slash.
func BackupGroup(group string) string { return group + "/backup" }

// newExportTable derives the audiences from the neighbors that may be told
// anything (RFC 8212). What comes from a Transit Gateway goes to none, be it by way
// of another host, and what comes from the fleet goes to no iBGP neighbor
// (RFC 4271 section 9.2.1; there is no reflection as of RFC 4456), but for what a
// site of this host could carry too, see standsBy.
func newExportTable(cfg *Config) exportTable {
	groups := exportGroups(cfg)
	t := exportTable{all: map[exportKey][]bgp.Export{}, less: map[lessKey][]bgp.Export{}, more: map[moreKey][]bgp.Export{}}
	for g, f := range groups {
		if f.kind == bgp.KindTGW {
			t.tgw = append(t.tgw, g)
		}
		if f.kind != bgp.KindFleet {
			t.external = append(t.external, g)
		}
	}
	slices.Sort(t.tgw)
	slices.Sort(t.external)
	for _, k := range []exportKey{{from: bgp.KindTGW}, {from: bgp.KindSite}, {from: bgp.KindFleet}, {from: bgp.KindFleet, tgw: true}, {from: bgp.KindRouter}} {
		for _, k.rank = range ranks {
			var to []bgp.Export
			for g, f := range groups {
				fromTGW := k.from == bgp.KindTGW || k.tgw
				if f.kind == bgp.KindTGW && fromTGW || k.from == bgp.KindFleet && (f.kind == bgp.KindFleet || f.ibgp) {
					continue
				}
				to = append(to, f.export(cfg, g, k))
			}
			slices.SortFunc(to, compareGroups)
			t.all[k] = to
		}
	}
	remote := exportKey{bgp.KindFleet, false, RankRemote}
	t.second = slices.Clone(t.all[remote])
	for g, f := range groups {
		if f.ibgp || f.kind == bgp.KindFleet && cfg.rankAttrs(g, RankRemote).MED > cfg.rankAttrs(g, RankIndirect).MED { // see holder
			t.second = append(t.second, f.export(cfg, g, remote))
		}
	}
	slices.SortFunc(t.second, compareGroups)
	return t
}

func compareGroups(a, b bgp.Export) int { return cmp.Compare(a.Group, b.Group) }

func exportGroups(cfg *Config) map[string]groupFacts {
	backup := map[string]bool{}
	for i := range cfg.Sites {
		if s := &cfg.Sites[i]; s.Role == RoleBackup {
			backup[s.Neighbor] = true
		}
	}
	groups := map[string]groupFacts{}
	for i := range cfg.Neighbors {
		n := &cfg.Neighbors[i]
		if !n.Export {
			continue
		}
		f, again := groups[n.Group]
		f.kind = n.Kind
		f.ibgp = f.ibgp || n.Kind == bgp.KindRouter && n.RemoteASN == cfg.Gateway.ASN && n.LocalASN == 0
		f.weak = n.Kind == bgp.KindSite && backup[n.Name] && (f.weak || !again)
		groups[n.Group] = f
	}
	return groups
}

// export is what the group sees of what has the rank. A site that has a primary
// host elsewhere is told everything with rank backup at best, so that it sends
// there too.
func (f groupFacts) export(cfg *Config, group string, k exportKey) bgp.Export {
	rank := k.rank
	if f.weak && stronger(rank, RankBackup) {
		rank = RankBackup
	}
	a := cfg.rankAttrs(group, rank)
	out := bgp.Export{Group: group, MED: a.MED, Prepend: a.Prepend, LocalPref: a.LocalPref, Communities: a.Communities}
	if k.from == bgp.KindTGW && f.kind == bgp.KindFleet {
		out.Large = []bgp.LargeCommunity{cfg.Gateway.markTGW()}
	}
	return out
}

// rank is how strongly this host speaks for what the candidate offers.
func (c *Core) rank(k *candidate) Rank {
	switch {
	case c.drain == DrainPrefer || c.drain == DrainHandOver || k.path != nil && k.path.wish != nil && k.path.wish.drain:
		return RankDrain
	case k.site != nil && k.site.steer == SteerTakeover:
		return RankTakeover
	case k.site != nil && k.site.cfg.Role == RoleBackup:
		return RankBackup
	case k.site == nil && k.path.from.far > 0:
		return RankRemote
	case k.site == nil && k.path.from.cfg.Kind == bgp.KindFleet:
		return RankIndirect
	default:
		return RankDirect
	}
}

func (k *candidate) kind() bgp.Kind {
	if k.site != nil {
		return bgp.KindSite
	}
	return k.path.from.cfg.Kind
}

// except is who must not hear it: the neighbor it came from.
func (k *candidate) except() []string {
	if k.site != nil {
		return k.site.except
	}
	return k.path.from.split
}

// noAttrs are the attributes of a prefix that we originate ourselves.
var noAttrs = &bgp.Attrs{Origin: bgp.OriginIGP}

func (k *candidate) attrs() *bgp.Attrs {
	if k.path != nil {
		return k.path.Attrs
	}
	return noAttrs
}
