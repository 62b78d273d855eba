package hatest

import (
	"cmp"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// tgwPath is what one Connect peer announces for a prefix. Its two sessions are
// merged.
type tgwPath struct {
	host     *host
	sessions uint8 // bits
	attrs    *bgp.Attrs
}

// missingMED is what a path without MED counts as on Connect (facts: AWS).
const missingMED = 100

// better is the order of a Transit Gateway: AS_PATH length, then MED. Nothing
// else counts, neither local preference nor communities.
func better(a, b *bgp.Attrs) int {
	med := func(a *bgp.Attrs) uint32 {
		if a.HasMED {
			return a.MED
		}
		return missingMED
	}
	return cmp.Or(cmp.Compare(len(a.ASPath), len(b.ASPath)), cmp.Compare(med(a), med(b)))
}

// best lists who gets the traffic for a prefix: the best path, and those that are
// as good and have the same AS_PATH. All hosts have one ASN.
func (r *region) best(p int32, out []*host) []*host {
	paths := r.paths[p]
	var top *tgwPath
	for i := range paths {
		k := &paths[i]
		d := -1
		if top != nil {
			d = better(k.attrs, top.attrs)
		}
		switch {
		case d < 0:
			top = k
			out = append(out[:0], k.host)
		case d == 0 && slices.Equal(k.attrs.ASPath, top.attrs.ASPath):
			out = append(out, k.host)
		}
	}
	return out
}

// greet sends what the Transit Gateway tells a Connect peer: the network of its
// VPC. What it has from other Connect peers holds our own ASN, and every host
// drops that as a loop.
func (r *region) greet(s *session, from int) {
	vpc := s.w.index[r.vpc]
	s.send(from, []change{{vpc, &bgp.Attrs{ASPath: []bgp.ASN{bgp.ASN(64512 + r.id)}, LocalPref: 100}}}, true)
}

// receive takes what one session of a Connect peer says.
func (r *region) receive(s *session, i int, changes []change) {
	h, bit := s.ends[1-i].host, uint8(1)<<s.ends[i].n
	for _, c := range changes {
		at, ok := r.find(c.prefix, h)
		paths := r.paths[c.prefix]
		switch {
		case c.attrs != nil && ok:
			paths[at].sessions |= bit
			paths[at].attrs = c.attrs
		case c.attrs != nil:
			paths = slices.Insert(paths, at, tgwPath{h, bit, c.attrs})
		case ok:
			if paths[at].sessions &^= bit; paths[at].sessions == 0 {
				paths = slices.Delete(paths, at, at+1)
			}
		default:
			continue
		}
		r.paths[c.prefix] = paths
		s.w.note(traceTGW, uint64(r.id), uint64(h.id), uint64(c.prefix), b2u(c.attrs != nil))
		s.w.check.touch(c.prefix)
	}
}

func (r *region) find(p int32, h *host) (int, bool) {
	return slices.BinarySearchFunc(r.paths[p], h.id, func(t tgwPath, id int) int { return cmp.Compare(t.host.id, id) })
}

// lose forgets what a session brought.
func (r *region) lose(s *session, i int) {
	h, bit := s.ends[1-i].host, uint8(1)<<s.ends[i].n
	for p := range r.paths {
		at, ok := r.find(int32(p), h)
		if !ok || r.paths[p][at].sessions&bit == 0 {
			continue
		}
		if r.paths[p][at].sessions &^= bit; r.paths[p][at].sessions == 0 {
			r.paths[p] = slices.Delete(r.paths[p], at, at+1)
			s.w.check.touch(int32(p))
		}
	}
	s.w.note(traceTGW, uint64(r.id), uint64(h.id))
}
