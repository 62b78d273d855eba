package fib

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Resilient next-hop groups (Linux 5.13, net/ipv4/nexthop.c) hash a flow to a
// bucket and the bucket to a member. A member that goes gives its buckets to the
// others, and no other bucket changes hands; a hash-threshold group instead cuts
// the range of hashes anew, so that flows move between members that stay.
//
// Groups of one next hop are resilient too, although they have nothing to
// choose: the kernel does not change a group's kind, and a second next hop must
// remain one message whatever the number of routes.
const (
	// groupBuckets is four for each of 64 next hops, the most a route may have,
	// and one for a weight of 1 beside 255. The kernel takes 32 bytes for each.
	groupBuckets = 256
	// groupIdle is for how long a bucket must have seen no packet before it may go
	// to a member that is new or back. It only has to be longer than the difference
	// in delay between the ways, so that no packet overtakes an earlier one.
	// In the kernel's clock ticks for users, of which a second has 100.
	groupIdle = 100
	// groupUnbalanced is for how long a member that is new or back may be left
	// short: then it gets its share of buckets even if they are never idle, as with
	// thousands of flows. Two minutes, in the same ticks.
	groupUnbalanced = 12_000
)

// From include/uapi/linux/nexthop.h; x/sys lacks them.
const (
	groupResilient    = 1 // NEXTHOP_GRP_TYPE_RES; the other, MPATH, is 0
	nhaResGroup       = 12
	resBuckets        = 1
	resIdleTimer      = 2
	resUnbalanceTimer = 3
)

// current says whether group g is of the kind we make now. One of an earlier
// process, or a kernel before an upgrade, may not be.
func (t *tables) current(g int32) bool { return t.groups[g].buckets == t.buckets }

// resilient appends what makes the group under construction a resilient one. A
// bucket in use is taken away only to even things out, after groupUnbalanced.
func (m *messages) resilient(buckets uint16) {
	m.u16(unix.NHA_GROUP_TYPE, groupResilient)
	m.b = native.AppendUint16(m.b, 4+8+8+8)
	m.b = native.AppendUint16(m.b, nhaResGroup|unix.NLA_F_NESTED)
	m.u16(resBuckets, buckets)
	m.u32(resIdleTimer, groupIdle)
	m.u32(resUnbalanceTimer, groupUnbalanced)
}

// u16 appends an attribute of two bytes, with its padding.
func (m *messages) u16(typ, v uint16) {
	m.b = native.AppendUint16(m.b, 6)
	m.b = native.AppendUint16(m.b, typ)
	m.b = native.AppendUint16(m.b, v)
	m.b = append(m.b, 0, 0)
}

// bucketsOf reads the number of buckets out of NHA_RES_GROUP.
func bucketsOf(v []byte) (n uint16) {
	_ = eachAttr(v, func(typ uint16, v []byte) {
		if typ == resBuckets {
			n = asU16(v)
		}
	})
	return n
}

// probeBuckets returns how many buckets groups shall have: 0 when the kernel
// does not know of buckets.
func (c *conn) probeBuckets() (uint16, error) {
	known, err := c.knows(unix.RTM_GETNEXTHOPBUCKET)
	if err != nil {
		return 0, fmt.Errorf("ask for resilient next-hop groups: %w", err)
	}
	if !known {
		return 0, nil
	}
	return groupBuckets, nil
}

// knows says whether the kernel has a request, by sending one about no object:
// if it has, it refuses that as incomplete (EINVAL), else it says EOPNOTSUPP
// (rtnetlink_rcv_msg). Nothing has to be made to find out.
func (c *conn) knows(typ uint16) (bool, error) {
	err := c.get(
		func(m *messages, seq uint32) {
			m.begin(typ, 0, seq)
			m.nhmsg(unix.AF_UNSPEC, 0, 0)
			m.end()
		},
		func(uint16, []byte) error { return nil })
	switch {
	case isErrno(err, unix.EOPNOTSUPP):
		return false, nil
	case err == nil, isErrno(err, unix.EINVAL):
		return true, nil
	}
	return false, err
}
