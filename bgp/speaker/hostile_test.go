package speaker

import (
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/hostile"
)

// FuzzImport feeds bytes through the parser, our decoding and import policy.
func FuzzImport(f *testing.F) {
	corpus, err := hostile.Corpus()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range corpus {
		f.Add(c.Message)
	}
	ip := &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.0.0.0/8"), LE: 32}, {Prefix: pfx("fd00::/8"), LE: 128}}, EnforceFirstAS: true, LocalPref: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := packet.ParseBGPMessage(b)
		if err != nil || m == nil {
			return
		}
		u, ok := m.Body.(*packet.BGPUpdate)
		if !ok {
			return
		}
		s := &Speaker{pool: pool{}, out: newOutbox()}
		n := &session{
			spec: bgp.Neighbor{Name: "n", RemoteASN: 65101, Import: ip}, frame: bgp.ImportFrame{LocalASNs: []bgp.ASN{65000}, RemoteASN: 65101},
			adjIn: map[nlri]entry{}, refused: map[nlri]denial{},
		}
		var paths []*apiutil.Path
		add := func(list []packet.PathNLRI, gone bool) {
			for _, x := range list {
				paths = append(paths, &apiutil.Path{Nlri: x.NLRI, Attrs: u.PathAttributes, Withdrawal: gone})
			}
		}
		add(u.NLRI, false)
		for _, a := range u.PathAttributes {
			if r, ok := a.(*packet.PathAttributeMpReachNLRI); ok {
				add(r.Value, false)
			}
		}
		add(u.WithdrawnRoutes, true)
		var buf []byte
		for _, p := range paths {
			if r, ok := decode(p); ok {
				buf = s.learn(n, r, time.Unix(1, 0), buf)
			}
		}
		refs := 0
		for p, e := range n.adjIn {
			if p.prefix != p.prefix.Masked() || ip.Evaluate(n.frame, p.prefix, e.shared.nextHop, e.shared.attrs.ASPath) != "" || e.shared.attrs.LocalPref != 200 {
				t.Errorf("accepted %v with %+v", p, e.shared.attrs)
			}
			if _, both := n.refused[p]; both {
				t.Errorf("%v is accepted and refused", p)
			}
		}
		for _, sh := range s.pool {
			refs += sh.refs
		}
		if refs != len(n.adjIn) {
			t.Errorf("attribute references: got %d, want %d", refs, len(n.adjIn))
		}
		var want [2]tally
		for p := range n.adjIn {
			want[familyOf(p.prefix)].own++
		}
		for p, r := range n.refused {
			if r.echo {
				want[familyOf(p.prefix)].echo++
			} else {
				want[familyOf(p.prefix)].own++
			}
		}
		if n.count != want {
			t.Errorf("counts by family: got %+v, want %+v", n.count, want)
		}
		s.flush(n)
		if len(s.pool) != 0 {
			t.Errorf("attributes left after flush: %d", len(s.pool))
		}
	})
}
