package speaker

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	api "github.com/osrg/gobgp/v4/api"

	"github.com/wgbgp/wgbgp/bgp"
)

// How a neighbor is told exactly its share.
//
// GoBGP has one export policy for all neighbors, whose cheap conditions are
// equality of LOCAL_PREF and of MED. Every path we originate carries as
// LOCAL_PREF the number of its profile, the list of groups with what each
// sees. The export policy then runs through three stages:
//
//  1. excluded: a path that carries the neighbor's own mark (a community in
//     the range 0:x, which RFC 1997 reserves and we never pass on) is refused.
//  2. audience: neighbors with the same group and next hops are one set; it
//     gets the next hop, loses all marks, and MED becomes the number of its
//     group.
//  3. profile and group number together select the statement that writes
//     MED, prepend, communities and local preference, and accepts.
//
// Whatever matches nothing is refused (RFC 8212). The number of statements is
// (audiences + excluded neighbors + groups x profiles), and a judgement costs
// one walk over the addresses and then comparisons of integers. A path whose
// audience changes gets another profile, and GoBGP, judging old and new path by
// the same policy, sends the withdrawal to those who lost it.

const (
	importPolicy = "wgbgp-import"
	exportPolicy = "wgbgp-export"

	// silentProfile is announced to nobody. A path that is withdrawn is first
	// given this profile: GoBGP then withdraws it from those who had it, whereas
	// deleting it tells every neighbor.
	silentProfile = 0xFFFFFFFF

	markMask = 0xFFFF0000 // marks are the communities 0:1 to 0:65535
	maxMarks = 65535
)

// audience is what neighbors must have in common to share a statement.
type audience struct {
	group          string
	internal       bool // iBGP: no prepend, LOCAL_PREF is sent
	ipv4, ipv6     bool // families it can be told
	nextHop4       netip.Addr
	nextHop6       netip.Addr
	nextHop6IsSelf bool
}

// model is what the installed policies say.
type model struct {
	audience map[string]audience     // by neighbor name; absent: told nothing
	address  map[string]netip.Prefix // by neighbor name, only those with an audience; several addresses: a range

	groupIDs map[groupKey]uint32 // number of a group, from 1; kept for good
	profiles map[string]*profile // by content
	nextID   uint32
	marks    map[string]uint16 // neighbor name to its mark; kept for good
	// twins are neighbors whose link-local address is also another one's, on
	// another interface. Policies can not tell them apart, see encode.
	twins    map[string]bgp.ASN // by name, the ASN of its session
	retwined []string           // became a twin, or ceased to be one, since Apply last looked
	changed  bool               // differs from what GoBGP has
}

type groupKey struct {
	group    string
	internal bool
}

type profile struct {
	id   uint32
	to   []bgp.Export
	refs int // announcements that carry it
}

func newModel() model {
	return model{
		audience: map[string]audience{}, address: map[string]netip.Prefix{}, groupIDs: map[groupKey]uint32{},
		profiles: map[string]*profile{}, marks: map[string]uint16{},
	}
}

// setAudiences replaces the neighbors and returns the names of those, present
// before and after, that must be told anew.
func (m *model) setAudiences(gateway bgp.ASN, neighbors []bgp.Neighbor) (moved []string) {
	next, addr := map[string]audience{}, map[string]netip.Prefix{}
	for i := range neighbors {
		n := &neighbors[i]
		if a, ok := audienceOf(gateway, n); ok {
			next[n.Name], addr[n.Name] = a, addresses(n)
			k := groupKey{a.group, a.internal}
			if m.groupIDs[k] == 0 {
				m.groupIDs[k] = uint32(len(m.groupIDs) + 1)
			}
		}
		// Who came from a range was told as one of it.
		if old, was := m.audience[n.Name]; (was || n.Dynamic == "") && (was != hasKey(next, n.Name) || was && old != next[n.Name]) {
			moved = append(moved, n.Name)
		}
	}
	m.setTwins(neighbors)
	if !maps.Equal(m.audience, next) || !maps.Equal(m.address, addr) {
		m.audience, m.address, m.changed = next, addr, true
	}
	return moved
}

// setTwins finds the neighbors that share a link-local address.
func (m *model) setTwins(neighbors []bgp.Neighbor) {
	count := map[netip.Addr]int{}
	for i := range neighbors {
		if a := neighbors[i].Address; a.Zone() != "" {
			count[a.WithZone("")]++
		}
	}
	twins := map[string]bgp.ASN{}
	for i := range neighbors {
		if n := &neighbors[i]; n.Address.Zone() != "" && count[n.Address.WithZone("")] > 1 {
			twins[n.Name] = n.RemoteASN
		}
	}
	for name, as := range twins {
		if m.twins[name] != as {
			m.retwined = append(m.retwined, name)
		}
	}
	for name := range m.twins {
		if twins[name] == 0 {
			m.retwined = append(m.retwined, name)
		}
	}
	m.twins = twins
}

// marked reports whether the named neighbor is kept from a path by its mark. The
// mark of a twin would keep the path from the other one as well. It is not needed
// where the path holds the neighbor's ASN: GoBGP sends nothing back to where it
// has been.
func (m *model) marked(name string, path []bgp.ASN) bool {
	as, twin := m.twins[name]
	return !twin || !slices.Contains(path, as)
}

func hasKey[K comparable, V any](m map[K]V, k K) bool { _, ok := m[k]; return ok }

// audienceOf returns false for a neighbor that is told nothing.
func audienceOf(gateway bgp.ASN, n *bgp.Neighbor) (audience, bool) {
	if !n.Export || n.Group == "" {
		return audience{}, false
	}
	local := n.LocalASN
	if local == 0 {
		local = gateway
	}
	a := audience{
		group: n.Group, internal: local == n.RemoteASN, ipv4: n.IPv4,
		nextHop4: n.NextHop4, nextHop6: n.NextHop6.WithZone(""),
	}
	// The local address of an IPv4 session is no IPv6 next hop: GoBGP would
	// send it mapped (::ffff:a.b.c.d), and no router forwards to that.
	a.nextHop6IsSelf = !n.NextHop6.IsValid() && n.Is6()
	a.ipv6 = n.IPv6 && (n.NextHop6.IsValid() || a.nextHop6IsSelf)
	return a, a.ipv4 || a.ipv6
}

// hold returns the profile for to and counts one more holder.
func (m *model) hold(to []bgp.Export) *profile {
	key := profileKey(to)
	p := m.profiles[key]
	if p == nil {
		m.nextID++
		p = &profile{id: m.nextID, to: to}
		m.profiles[key] = p
		m.changed = true
	}
	p.refs++
	return p
}

// release counts one holder less. The statements go with the next rebuild.
func (m *model) release(to []bgp.Export) {
	if p := m.profiles[profileKey(to)]; p != nil {
		p.refs--
	}
}

// mark returns the neighbor's mark, 0 if there are no more.
func (m *model) mark(name string) uint16 {
	c, ok := m.marks[name]
	if !ok && len(m.marks) < maxMarks {
		c = uint16(len(m.marks) + 1)
		m.marks[name] = c
		if _, told := m.audience[name]; told {
			m.changed = true
		}
	}
	return c
}

func profileKey(to []bgp.Export) string {
	var b []byte
	for _, e := range to {
		b = binary.AppendUvarint(b, uint64(len(e.Group)))
		b = append(b, e.Group...)
		b = binary.BigEndian.AppendUint32(b, e.MED)
		b = append(b, e.Prepend)
		b = binary.BigEndian.AppendUint32(b, e.LocalPref)
		b = binary.AppendUvarint(b, uint64(len(e.Communities)))
		for _, c := range e.Communities {
			b = binary.BigEndian.AppendUint32(b, uint32(c))
		}
		b = binary.AppendUvarint(b, uint64(len(e.Large)))
		for _, c := range e.Large {
			b = binary.BigEndian.AppendUint32(b, c.Global)
			b = binary.BigEndian.AppendUint32(b, c.Data1)
			b = binary.BigEndian.AppendUint32(b, c.Data2)
		}
	}
	return string(b)
}

// request compiles the model, in one fixed order. Profiles without holders are
// left out and forgotten.
func (m *model) request() *api.SetPoliciesRequest {
	var sets []*api.DefinedSet
	var stmts []*api.Statement
	names := slices.Sorted(maps.Keys(m.audience))

	for _, name := range names {
		c, ok := m.marks[name]
		if !ok {
			continue
		}
		id := strconv.Itoa(int(c))
		sets = append(sets, neighborSet("n"+id, m.address[name]), &api.DefinedSet{
			DefinedType: api.DefinedType_DEFINED_TYPE_COMMUNITY, Name: "c" + id, List: []string{"0:" + id},
		})
		stmts = append(stmts, &api.Statement{
			Name:       "excluded-" + id,
			Conditions: &api.Conditions{NeighborSet: anyOf("n" + id), CommunitySet: anyOf("c" + id)},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT},
		})
	}

	members := map[audience][]netip.Prefix{}
	var order []audience
	for _, name := range names {
		a := m.audience[name]
		if members[a] == nil {
			order = append(order, a)
		}
		members[a] = append(members[a], m.address[name])
	}
	for i, a := range order {
		set := fmt.Sprintf("a%d", i)
		sets = append(sets, neighborSet(set, members[a]...))
		number := int64(m.groupIDs[groupKey{a.group, a.internal}])
		if a.ipv4 {
			stmts = append(stmts, audienceStatement(set+"-4", set, 1, number, a.nextHop4))
		}
		if a.ipv6 {
			stmts = append(stmts, audienceStatement(set+"-6", set, 2, number, a.nextHop6))
		}
	}

	used := map[groupKey]bool{}
	for _, a := range order {
		used[groupKey{a.group, a.internal}] = true
	}
	held := slices.SortedFunc(maps.Values(m.profiles), func(x, y *profile) int { return int(x.id) - int(y.id) })
	for _, p := range held {
		if p.refs <= 0 {
			delete(m.profiles, profileKey(p.to))
			continue
		}
		for _, e := range p.to {
			for _, internal := range []bool{false, true} {
				if k := (groupKey{e.Group, internal}); used[k] {
					stmts = append(stmts, exportStatement(p.id, m.groupIDs[k], internal, e))
				}
			}
		}
	}
	return &api.SetPoliciesRequest{
		DefinedSets: sets,
		Policies: []*api.Policy{
			{Name: importPolicy, Statements: []*api.Statement{{
				Name:       "originated-here",
				Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
				Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
			}}},
			{Name: exportPolicy, Statements: stmts},
		},
	}
}

func anyOf(set string) *api.MatchSet {
	return &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: set}
}

func addresses(n *bgp.Neighbor) netip.Prefix {
	if n.Range.IsValid() {
		return n.Range
	}
	a := n.Address.WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

func neighborSet(name string, addrs ...netip.Prefix) *api.DefinedSet {
	d := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name}
	for _, a := range addrs {
		d.List = append(d.List, a.String())
	}
	return d
}

func audienceStatement(name, set string, afi api.Family_Afi, number int64, nextHop netip.Addr) *api.Statement {
	nh := &api.NexthopAction{Self: true}
	if nextHop.IsValid() {
		nh = &api.NexthopAction{Address: nextHop.String()}
	}
	return &api.Statement{
		Name: name,
		Conditions: &api.Conditions{
			NeighborSet: anyOf(set),
			AfiSafiIn:   []*api.Family{{Afi: afi, Safi: api.Family_SAFI_UNICAST}},
		},
		Actions: &api.Actions{
			Nexthop:   nh,
			Med:       &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: number},
			Community: &api.CommunityAction{Type: api.CommunityAction_TYPE_REMOVE, Communities: []string{"^0:.*$"}},
		},
	}
}

func exportStatement(profile, group uint32, internal bool, e bgp.Export) *api.Statement {
	act := &api.Actions{
		RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT,
		Med:         &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: int64(e.MED)},
	}
	if internal {
		lp := e.LocalPref
		if lp == 0 {
			lp = 100 // the customary default; RFC 4271 section 5.1.5 demands a value on iBGP
		}
		act.LocalPref = &api.LocalPrefAction{Value: lp}
	} else if e.Prepend > 0 {
		// GoBGP has put the ASN of the session in front already, and that is the
		// one to repeat: it may differ from the gateway's (Neighbor.LocalASN).
		act.AsPrepend = &api.AsPrependAction{UseLeftMost: true, Repeat: uint32(e.Prepend)}
	}
	if len(e.Communities) > 0 {
		act.Community = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range e.Communities {
			act.Community.Communities = append(act.Community.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xFFFF))
		}
	}
	if len(e.Large) > 0 {
		act.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range e.Large {
			act.LargeCommunity.Communities = append(act.LargeCommunity.Communities, fmt.Sprintf("%d:%d:%d", c.Global, c.Data1, c.Data2))
		}
	}
	return &api.Statement{
		Name:       fmt.Sprintf("p%d-g%d", profile, group),
		Conditions: &api.Conditions{LocalPrefEq: &api.LocalPrefEq{Value: profile}, MedEq: &api.MedEq{Value: group}},
		Actions:    act,
	}
}

// installFirstPolicies denies everything in both directions and assigns the
// two names for good: SetPolicies re-binds an assignment by name, and a name
// that is missing would mean accept everything.
func (s *Speaker) installFirstPolicies() error {
	if err := s.setPolicies(); err != nil {
		return err
	}
	for name, dir := range map[string]api.PolicyDirection{
		importPolicy: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		exportPolicy: api.PolicyDirection_POLICY_DIRECTION_EXPORT,
	} {
		err := s.call("SetPolicyAssignment", func() error {
			return s.server.SetPolicyAssignment(context.Background(), &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
				Name: "global", Direction: dir, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
				Policies: []*api.Policy{{Name: name}},
			}})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Speaker) setPolicies() error {
	req := s.model.request()
	err := s.call("SetPolicies", func() error { return s.server.SetPolicies(context.Background(), req) })
	if err == nil {
		s.model.changed = false
	}
	return err
}
