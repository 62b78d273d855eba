package ha

import (
	"cmp"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// exportTable holds, for every kind of source and every rank, what each
// neighbor group is told. Announcements share its slices.
type exportTable struct {
	all  map[exportKey][]bgp.Export
	last exportKey // the walk asks for the same one many times in a row
	to   []bgp.Export
}

func (t *exportTable) get(k exportKey) []bgp.Export {
	if t.last != k {
		t.last, t.to = k, t.all[k]
	}
	return t.to
}

type exportKey struct {
	from bgp.Kind // KindSite also for configured prefixes
	rank Rank
}

// newExportTable derives the audiences from the neighbors that may be told
// anything (RFC 8212). What comes from the TGW does not go to a TGW, and what
// comes from the fleet does not go to the fleet (RFC 4456 aside, iBGP does not
// pass on iBGP).
func newExportTable(cfg *Config) exportTable {
	groups := map[string]bgp.Kind{}
	for _, n := range cfg.Neighbors {
		if n.Export {
			groups[n.Group] = n.Kind
		}
	}
	t := exportTable{all: map[exportKey][]bgp.Export{}}
	for _, from := range []bgp.Kind{bgp.KindTGW, bgp.KindSite, bgp.KindFleet, bgp.KindRouter} {
		for rank, a := range cfg.Ranks {
			var to []bgp.Export
			for g, kind := range groups {
				if kind == from && (kind == bgp.KindTGW || kind == bgp.KindFleet) {
					continue
				}
				to = append(to, bgp.Export{
					Group: g, MED: a.MED, Prepend: a.Prepend, LocalPref: a.LocalPref, Communities: a.Communities,
				})
			}
			slices.SortFunc(to, func(x, y bgp.Export) int { return cmp.Compare(x.Group, y.Group) })
			t.all[exportKey{from, rank}] = to
		}
	}
	return t
}

// rank is how strongly this host speaks for what the candidate offers.
func (c *Core) rank(k *candidate) Rank {
	switch {
	case c.drain == DrainPrefer:
		return RankDrain
	case k.site != nil && k.site.cfg.Role == RoleBackup:
		return RankBackup
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
