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

// way is one way out of this host: where a next-hop object leads.
type way struct {
	family  uint8
	gateway netip.Addr
	oif     int32 // -1: nothing that we would make
}

// exit is a way with what is known about it.
type exit struct {
	way
	needed bool  // by a wanted route; valid during write
	lost   bool  // it leads nowhere now, see FIB.Lose
	bad    error // the kernel refused it since the last readback
}

// part is a member of a content.
type part struct {
	exit   int32
	weight uint8
}

// content is what routes want: a list of next hops, and another one for when all
// of the first are lost, both sorted. Several groups may have the same content:
// that is the price of moving a group's routes by changing the group.
type content struct {
	parts  []part
	backup []part
	needed bool
}

// object is a next-hop object. It belongs to one group, so that replacing it
// moves that group's routes and no others. The kernel then touches no IPv4 route,
// and of each IPv6 route it only looks at the source (fib6_check_nh_list in
// net/ipv4/nexthop.c, 0.1 us a route), whereas a group that is replaced itself
// renews every one (nh_rt_cache_flush, five times that).
type object struct {
	id     uint32
	exit   int32
	weight uint8 // in the group
	shared bool  // by groups that an earlier version made: let alone
}

// group is a next-hop group object, what routes name.
type group struct {
	id      uint32
	buckets uint16 // of a resilient group, 0: hash-threshold; fixed for the life of the object
	content int32  // what its routes want; -1: something that is not ours to understand
	objects []object
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

// loose is an object that no group is known to hold any more.
type loose struct {
	id   uint32
	mine bool // so it may be deleted before Complete
}

type sliceKey struct {
	data   *bgp.NextHop
	n      int
	family uint8 // never 0 in use
}

// tables holds everything known about devices and next-hop objects. It is
// rebuilt by every readback, which also bounds its size.
type tables struct {
	base    uint32 // first id of the table's range
	buckets uint16 // of the groups we make
	links   map[string]link
	names   map[int32]string

	exits     []exit
	exitBy    map[way]int32
	contents  []content
	contentBy map[string]int32
	groups    []group
	groupByID map[uint32]int32
	sets      []set
	setBy     map[string]int32
	taken     map[uint32]struct{} // ids in use in our range, by anybody
	loose     []loose
	lost      map[way]struct{}

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

func newTables(base uint32, buckets uint16) *tables {
	return &tables{
		base: base, buckets: buckets, links: map[string]link{}, names: map[int32]string{},
		exitBy: map[way]int32{}, contentBy: map[string]int32{},
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
		k = append(k, 0, max(n.Weight, 1), b2b(n.Backup))
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
	var parts, backup []part
	for _, n := range s.nhs {
		i, status, detail := t.exitFor(s.family, n)
		if i < 0 {
			if len(parts) == 0 && !n.Backup {
				s.status, s.detail = status, detail
			}
			continue
		}
		to := &parts
		if n.Backup {
			to = &backup
		}
		if !slices.ContainsFunc(*to, func(p part) bool { return p.exit == i }) {
			*to = append(*to, part{i, max(n.Weight, 1)})
		}
	}
	if len(parts) == 0 { // better the backup than nothing
		parts, backup = backup, nil
	}
	if len(parts) > 0 {
		s.content = t.contentOf(parts, backup)
	}
}

func (t *tables) exitFor(fam uint8, n bgp.NextHop) (int32, bgp.RouteStatus, string) {
	w, status, detail := t.wayOf(fam, n)
	if detail != "" {
		return -1, status, detail
	}
	i, ok := t.exitBy[w]
	if !ok {
		i = t.addExit(w)
	}
	if bad := t.exits[i].bad; bad != nil {
		return -1, statusOf(bad), fmt.Sprintf("next hop %s: %v", printNextHop(w.gateway, t.names[w.oif]), bad)
	}
	return i, 0, ""
}

func (t *tables) addExit(w way) int32 {
	i := int32(len(t.exits))
	t.exits = append(t.exits, exit{way: w, lost: t.isLost(w)})
	t.exitBy[w] = i
	return i
}

// wayOf finds the device of a next hop; detail says why there is none.
func (t *tables) wayOf(fam uint8, n bgp.NextHop) (w way, status bgp.RouteStatus, detail string) {
	device, gw := n.Device, n.Gateway
	if device == "" {
		device = gw.Zone()
	}
	gw = gw.WithZone("").Unmap()
	if device == "" {
		if !gw.IsValid() {
			return w, bgp.RouteFailed, "next hop without gateway and device"
		}
		oif, via, err := t.resolve(gw)
		if err != nil {
			return w, bgp.RouteFailed, fmt.Sprintf("next hop %s: %v", gw, err)
		}
		device, gw = t.names[oif], via
	}
	l, ok := t.links[device]
	switch {
	case !ok:
		return w, bgp.RouteNoDevice, device + ": no such device"
	case !l.up:
		return w, bgp.RouteNoDevice, device + ": device is down"
	case gw.IsValid() && gw.Is4() && fam == unix.AF_INET6:
		return w, bgp.RouteFailed, fmt.Sprintf("IPv4 next hop %s for an IPv6 prefix", gw)
	}
	if gw.IsValid() {
		fam = family(gw) // an IPv4 prefix may have an IPv6 next hop (RFC 8950)
	}
	return way{fam, gw, l.index}, 0, ""
}

// statusOf tells a missing or dead device from other refusals.
func statusOf(err error) bgp.RouteStatus {
	if isErrno(err, unix.ENODEV, unix.ENETDOWN) {
		return bgp.RouteNoDevice
	}
	return bgp.RouteFailed
}

// contentOf finds or makes the content with these parts.
func (t *tables) contentOf(parts, backup []part) int32 {
	k := t.key[:0]
	for _, list := range [][]part{parts, backup} {
		slices.SortFunc(list, func(a, b part) int { return int(a.exit - b.exit) })
		for _, p := range list {
			k = binary.LittleEndian.AppendUint32(k, uint32(p.exit))
			k = append(k, p.weight)
		}
		k = append(k, '|')
	}
	t.key = k
	i, ok := t.contentBy[string(k)]
	if !ok {
		i = int32(len(t.contents))
		t.contents = append(t.contents, content{parts: slices.Clone(parts), backup: slices.Clone(backup)})
		t.contentBy[string(k)] = i
	}
	return i
}

// newGroup makes a group for a content; the caller writes it to the kernel.
func (t *tables) newGroup(c int32) int32 {
	var h []byte
	for _, list := range [][]part{t.contents[c].parts, t.contents[c].backup} {
		for _, p := range list {
			h = append(t.print(h, p.exit), p.weight)
		}
		h = append(h, '|')
	}
	i := int32(len(t.groups))
	t.groups = append(t.groups, group{id: t.freeID(idsPerKind, h), buckets: t.buckets, content: c, mine: true})
	t.groupByID[t.groups[i].id] = i
	return i
}

// newObject makes an object for a group; the caller writes it to the kernel.
func (t *tables) newObject(g int32, p part) object {
	what := binary.LittleEndian.AppendUint32(nil, t.groups[g].id)
	return object{id: t.freeID(0, t.print(what, p.exit)), exit: p.exit, weight: p.weight}
}

// objectIDs lists the objects of all groups and the loose ones.
func (t *tables) objectIDs() (ids []uint32) {
	for i := range t.groups {
		for _, o := range t.groups[i].objects {
			ids = append(ids, o.id)
		}
	}
	for _, l := range t.loose {
		ids = append(ids, l.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (t *tables) print(b []byte, e int32) []byte {
	x := &t.exits[e]
	return fmt.Appendf(b, "%d %s %s", x.family, x.gateway, t.names[x.oif])
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

func b2b(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func printNextHop(gw netip.Addr, device string) string {
	if !gw.IsValid() {
		return "dev " + device
	}
	return "via " + gw.String() + " dev " + device
}
