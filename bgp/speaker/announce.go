package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
)

// batch bounds how long one call keeps GoBGP's only mutating goroutine busy:
// 1,000 paths take some 4 ms.
const batch = 1000

// withdraw silences every announcement that is no longer wanted and returns
// those that could not be.
func (s *Speaker) withdraw(gone []int, failed map[netip.Prefix]string) {
	for chunk := range slices.Chunk(gone, batch) {
		paths := make([]*apiutil.Path, len(chunk))
		for i, k := range chunk {
			paths[i] = encodeSilent(s.have[k].Prefix)
		}
		errs := s.addPaths(paths)
		for i, k := range chunk {
			a := &s.have[k]
			if errs != nil && errs[i] != nil {
				failed[a.Prefix] = "withdraw: " + errs[i].Error()
				continue
			}
			s.model.release(a.To)
			s.silent[a.Prefix] = struct{}{}
			s.log.Debug("withdrawn", "prefix", a.Prefix)
		}
	}
}

// announce hands new and changed announcements to GoBGP. Their profiles are
// held already and known to the installed policies.
func (s *Speaker) announce(want []bgp.Announcement, set []int, old map[netip.Prefix]*bgp.Announcement, failed map[netip.Prefix]string) {
	for chunk := range slices.Chunk(set, batch) {
		paths := make([]*apiutil.Path, len(chunk))
		for i, k := range chunk {
			paths[i] = s.encode(&want[k])
		}
		errs := s.addPaths(paths)
		for i, k := range chunk {
			a := &want[k]
			if errs != nil && errs[i] != nil {
				failed[a.Prefix] = "announce: " + errs[i].Error()
				s.model.release(a.To)
				continue
			}
			if o := old[a.Prefix]; o != nil {
				s.model.release(o.To)
			}
			delete(s.silent, a.Prefix)
			s.log.Debug("announced", "prefix", a.Prefix)
		}
	}
}

// addPaths adds a batch. On an error GoBGP does not say which path it is about,
// so they are tried again one by one: adding twice changes nothing. Nil means
// that all are in.
func (s *Speaker) addPaths(paths []*apiutil.Path) []error {
	add := func(p []*apiutil.Path) error {
		return s.call("AddPath", func() error {
			_, err := s.server.AddPath(apiutil.AddPathRequest{Paths: p})
			return err
		})
	}
	s.markWrite()
	defer s.markWrite()
	err := add(paths)
	if err == nil {
		return nil
	}
	errs := make([]error, len(paths))
	for i := range paths {
		errs[i] = add(paths[i : i+1])
	}
	return errs
}

// markWrite remembers when announcements were handed over, see resendIfMissed.
func (s *Speaker) markWrite() {
	s.mu.Lock()
	s.wrote = time.Now()
	s.mu.Unlock()
}

// forget deletes silenced paths once they are many. Deleting makes GoBGP send a
// withdrawal of something never announced to every neighbor, which is allowed
// and harmless (RFC 4271 section 4.3) but noise, hence not each time.
func (s *Speaker) forget() {
	if len(s.silent) <= 4096+len(s.have) || s.placed { // a neighbor that GoBGP is silent to would not hear of it
		return
	}
	gone := slices.SortedFunc(maps.Keys(s.silent), bgp.ComparePrefix)
	for chunk := range slices.Chunk(gone, batch) {
		paths := make([]*apiutil.Path, len(chunk))
		for i, p := range chunk {
			paths[i] = encodeSilent(p)
		}
		if s.call("DeletePath", func() error { return s.server.DeletePath(apiutil.DeletePathRequest{Paths: paths}) }) != nil {
			return
		}
		for _, p := range chunk {
			delete(s.silent, p)
		}
	}
}

// encode makes the path GoBGP holds for an announcement.
func (s *Speaker) encode(a *bgp.Announcement) *apiutil.Path {
	comms := make([]uint32, 0, len(a.Attrs.Communities)+len(a.Except))
	for _, c := range a.Attrs.Communities {
		if uint32(c)&markMask != 0 && !slices.Contains(comms, uint32(c)) {
			comms = append(comms, uint32(c))
		}
	}
	for _, name := range a.Except {
		if !s.model.marked(name, a.Attrs.ASPath) {
			continue
		}
		if m := s.model.mark(name); m != 0 {
			comms = append(comms, uint32(m))
		}
	}
	var as []uint32
	for _, n := range a.Attrs.ASPath {
		as = append(as, uint32(n))
	}
	large := make([]*packet.LargeCommunity, 0, len(a.Attrs.Large))
	for _, c := range a.Attrs.Large {
		large = append(large, packet.NewLargeCommunity(c.Global, c.Data1, c.Data2))
	}
	return encodePath(a.Prefix, uint8(a.Attrs.Origin), as, s.model.profiles[profileKey(a.To)].id, comms, large)
}

// encodeSilent makes a path that is announced to nobody.
func encodeSilent(p netip.Prefix) *apiutil.Path {
	return encodePath(p, 0, nil, silentProfile, nil, nil)
}

func encodePath(p netip.Prefix, origin uint8, as []uint32, profile uint32, comms []uint32, large []*packet.LargeCommunity) *apiutil.Path {
	nlri, _ := packet.NewIPAddrPrefix(p) // fails on an invalid prefix only, which Apply has refused
	out := &apiutil.Path{Family: packet.RF_IPv4_UC, Nlri: nlri, Age: time.Now().Unix()}
	out.Attrs = append(out.Attrs, packet.NewPathAttributeOrigin(origin))
	if len(as) > 0 {
		var segs []packet.AsPathParamInterface
		for c := range slices.Chunk(as, 255) { // a segment counts its ASNs in one octet
			segs = append(segs, packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, slices.Clone(c)))
		}
		out.Attrs = append(out.Attrs, packet.NewPathAttributeAsPath(segs))
	}
	if p.Addr().Is4() {
		nh, _ := packet.NewPathAttributeNextHop(netip.IPv4Unspecified())
		out.Attrs = append(out.Attrs, nh)
	} else {
		out.Family = packet.RF_IPv6_UC
		nh, _ := packet.NewPathAttributeMpReachNLRI(packet.RF_IPv6_UC, []packet.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
		out.Attrs = append(out.Attrs, nh)
	}
	out.Attrs = append(out.Attrs, packet.NewPathAttributeLocalPref(profile))
	if len(comms) > 0 {
		out.Attrs = append(out.Attrs, packet.NewPathAttributeCommunities(slices.Clip(comms)))
	}
	if len(large) > 0 {
		// Clipped, because GoBGP appends to this slice for several neighbors at once.
		out.Attrs = append(out.Attrs, packet.NewPathAttributeLargeCommunities(slices.Clip(large)))
	}
	return out
}
