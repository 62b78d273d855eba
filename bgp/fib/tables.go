package fib

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// Next-hop object ids. The kernel hands out small ones by itself; ours begin
// with 186 (RTPROT_BGP) in decimal, so that they stand out in ip nexthop. Each
// routing table gets its own hundred thousand, half for single next hops and
// half for groups, so that two gateways in one namespace do not meet.
const (
	nextHopIDs    = 1_860_000_000
	idsPerTable   = 100_000
	idsPerKind    = idsPerTable / 2
	tablesWithIDs = 100
)

// nhKey is what makes two next-hop objects the same.
type nhKey struct {
	family  uint8
	gateway netip.Addr
	oif     int32
}

// single is a next-hop object with one way out. Routes never name it; groups do.
type single struct {
	key    nhKey
	id     uint32
	live   bool  // in the kernel
	mine   bool  // used by this process, so it may be deleted before Complete
	needed bool  // by a wanted route; valid during write
	bad    error // the kernel refused it since the last readback
}

// part is a member of a content.
type part struct {
	single int32
	weight uint8
}

// content is a list of next hops, sorted by object id. Several groups may have
// the same content: that is the price of moving a group's routes by changing
// the group.
type content struct {
	parts  []part
	needed bool
}

// group is a next-hop group object, what routes name.
type group struct {
	id      uint32
	content int32 // what it holds in the kernel; -1: something that is not ours to understand
	live    bool
	mine    bool
	pinned  bool // named by somebody else's route
	held    bool // named by a stray that stays; valid during write
}

// set is a wanted list of next hops, and what it comes down to on the present
// devices.
type set struct {
	family  uint8
	nhs     []bgp.NextHop
	content int32 // -1: no usable next hop, see status and detail
	status  bgp.RouteStatus
	detail  string
	used    bool
}

type sliceKey struct {
	data   *bgp.NextHop
	n      int
	family uint8 // never 0 in use
}

// tables holds everything known about devices and next-hop objects. It is
// rebuilt by every readback, which also bounds its size.
type tables struct {
	base  uint32 // first id of the table's range
	links map[string]link
	names map[int32]string

	singles     []single
	singleByKey map[nhKey]int32
	singleByID  map[uint32]int32
	contents    []content
	contentBy   map[string]int32
	groups      []group
	groupByID   map[uint32]int32
	sets        []set
	setBy       map[string]int32
	taken       map[uint32]struct{} // ids in use in our range, by anybody

	// resolve finds device and gateway of a next hop without device.
	resolve func(netip.Addr) (oif int32, gateway netip.Addr, err error)

	slices    map[sliceKey]int32 // sets of slices seen in this adopt
	lastSlice sliceKey
	lastSet   int32
	key       []byte
}

// forgetSlices ends an adopt: from now on the memory may be reused by others.
func (t *tables) forgetSlices() {
	clear(t.slices)
	t.lastSlice, t.lastSet = sliceKey{}, 0
}

func newTables(base uint32) *tables {
	return &tables{
		base: base, links: map[string]link{}, names: map[int32]string{},
		singleByKey: map[nhKey]int32{}, singleByID: map[uint32]int32{}, contentBy: map[string]int32{},
		groupByID: map[uint32]int32{}, setBy: map[string]int32{}, taken: map[uint32]struct{}{},
		slices: map[sliceKey]int32{},
	}
}

func baseFor(table uint32) uint32 { return nextHopIDs + table%tablesWithIDs*idsPerTable }

func (t *tables) inRange(id uint32) bool { return id >= t.base && id-t.base < idsPerTable }

// setOf returns the set of a route's next hops. Plans share slices, so the
// slice's identity answers nearly always.
func (t *tables) setOf(fam uint8, nhs []bgp.NextHop) int32 {
	sk := sliceKey{unsafe.SliceData(nhs), len(nhs), fam}
	if sk == t.lastSlice {
		return t.lastSet
	}
	i := t.setOfSlice(sk, nhs)
	t.lastSlice, t.lastSet = sk, i
	return i
}

func (t *tables) setOfSlice(sk sliceKey, nhs []bgp.NextHop) int32 {
	fam := sk.family
	if i, ok := t.slices[sk]; ok {
		return i
	}
	k := append(t.key[:0], fam)
	for _, n := range nhs {
		k = append(k, n.Gateway.String()...)
		k = append(k, 0)
		k = append(k, n.Device...)
		k = append(k, 0, max(n.Weight, 1))
	}
	t.key = k
	i, ok := t.setBy[string(k)]
	if !ok {
		i = int32(len(t.sets))
		t.sets = append(t.sets, set{family: fam, nhs: slices.Clone(nhs)})
		t.setBy[string(k)] = i
		t.reduce(&t.sets[i])
	}
	t.slices[sk] = i
	return i
}

// reduce works out what a set comes down to on the devices there are.
func (t *tables) reduce(s *set) {
	s.content, s.status, s.detail = -1, bgp.RouteFailed, "no next hop given"
	var parts []part
	for _, n := range s.nhs {
		i, status, detail := t.singleFor(s.family, n)
		if i < 0 {
			if len(parts) == 0 {
				s.status, s.detail = status, detail
			}
			continue
		}
		if !slices.ContainsFunc(parts, func(p part) bool { return p.single == i }) {
			parts = append(parts, part{i, max(n.Weight, 1)})
		}
	}
	if len(parts) > 0 {
		s.content = t.contentOf(parts)
	}
}

func (t *tables) singleFor(fam uint8, n bgp.NextHop) (int32, bgp.RouteStatus, string) {
	device, gw := n.Device, n.Gateway
	if device == "" {
		device = gw.Zone()
	}
	gw = gw.WithZone("").Unmap()
	if device == "" {
		if !gw.IsValid() {
			return -1, bgp.RouteFailed, "next hop without gateway and device"
		}
		oif, via, err := t.resolve(gw)
		if err != nil {
			return -1, bgp.RouteFailed, fmt.Sprintf("next hop %s: %v", gw, err)
		}
		device, gw = t.names[oif], via
	}
	l, ok := t.links[device]
	switch {
	case !ok:
		return -1, bgp.RouteNoDevice, device + ": no such device"
	case !l.up:
		return -1, bgp.RouteNoDevice, device + ": device is down"
	case gw.IsValid() && gw.Is4() && fam == unix.AF_INET6:
		return -1, bgp.RouteFailed, fmt.Sprintf("IPv4 next hop %s for an IPv6 prefix", gw)
	}
	if gw.IsValid() {
		fam = family(gw) // an IPv4 prefix may have an IPv6 next hop (RFC 8950)
	}
	k := nhKey{fam, gw, l.index}
	i, ok := t.singleByKey[k]
	if !ok {
		i = int32(len(t.singles))
		t.singles = append(t.singles, single{key: k, id: t.freeID(0, fmt.Appendf(nil, "%d %s %s", fam, gw, device))})
		t.singleByKey[k] = i
		t.singleByID[t.singles[i].id] = i
	}
	if bad := t.singles[i].bad; bad != nil {
		return -1, statusOf(bad), fmt.Sprintf("next hop %s: %v", printNextHop(gw, device), bad)
	}
	return i, 0, ""
}

// statusOf tells a missing or dead device from other refusals.
func statusOf(err error) bgp.RouteStatus {
	if isErrno(err, unix.ENODEV, unix.ENETDOWN) {
		return bgp.RouteNoDevice
	}
	return bgp.RouteFailed
}

// contentOf finds or makes the content with these parts.
func (t *tables) contentOf(parts []part) int32 {
	slices.SortFunc(parts, func(a, b part) int { return int(int64(t.singles[a.single].id) - int64(t.singles[b.single].id)) })
	k := t.key[:0]
	for _, p := range parts {
		k = binary.LittleEndian.AppendUint32(k, uint32(p.single))
		k = append(k, p.weight)
	}
	t.key = k
	i, ok := t.contentBy[string(k)]
	if !ok {
		i = int32(len(t.contents))
		t.contents = append(t.contents, content{parts: slices.Clone(parts)})
		t.contentBy[string(k)] = i
	}
	return i
}

// newGroup makes a group for a content; the caller writes it to the kernel.
func (t *tables) newGroup(c int32) int32 {
	var h []byte
	for _, m := range t.members(c) {
		h = binary.LittleEndian.AppendUint32(h, m.id)
		h = append(h, m.weight)
	}
	i := int32(len(t.groups))
	t.groups = append(t.groups, group{id: t.freeID(idsPerKind, h), content: -1, mine: true})
	t.groupByID[t.groups[i].id] = i
	return i
}

func (t *tables) members(c int32) []member {
	out := make([]member, len(t.contents[c].parts))
	for i, p := range t.contents[c].parts {
		out[i] = member{t.singles[p.single].id, p.weight}
	}
	return out
}

// freeID derives an id from what the object is, so that two runs agree, and
// steps on when it is taken.
func (t *tables) freeID(offset uint32, what []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(what)
	n := h.Sum32() % idsPerKind
	for {
		id := t.base + offset + n
		if _, taken := t.taken[id]; !taken && id != 0 {
			t.taken[id] = struct{}{}
			return id
		}
		n = (n + 1) % idsPerKind
	}
}

// without returns the content minus the singles for which drop is set.
func (t *tables) without(c int32, drop []bool) int32 {
	var parts []part
	for _, p := range t.contents[c].parts {
		if !drop[p.single] {
			parts = append(parts, p)
		}
	}
	switch len(parts) {
	case 0:
		return -1
	case len(t.contents[c].parts):
		return c
	}
	return t.contentOf(parts)
}

func printNextHop(gw netip.Addr, device string) string {
	if !gw.IsValid() {
		return "dev " + device
	}
	return "via " + gw.String() + " dev " + device
}
