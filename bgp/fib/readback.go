package fib

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

var families = [...]uint8{unix.AF_INET, unix.AF_INET6}

// isErrno reports whether err is one of the kernel's errors given.
func isErrno(err error, errnos ...unix.Errno) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// readback replaces everything believed by what the kernel says now, and lays
// the last wanted set over it.
func (f *FIB) readback(ctx context.Context) error {
	t := newTables(f.idBase(), f.buckets)
	t.resolve = f.resolveUnderlay
	if err := f.readLinks(ctx, t); err != nil {
		return fmt.Errorf("read devices: %w", err)
	}
	if err := f.findVRF(t); err != nil {
		return err
	}
	t.mark(f.lost)
	if err := f.readNextHops(ctx, t); err != nil {
		return fmt.Errorf("read next-hop objects: %w", err)
	}
	rows, err := f.readTable(ctx, f.frame.table)
	if err != nil {
		return fmt.Errorf("read table %d: %w", f.frame.table, err)
	}
	if err := f.readMain(ctx); err != nil {
		return err
	}
	f.t = t
	f.layOver(rows)
	f.rulesDirty = true
	f.unfinished = true
	f.count.Resyncs.Add(1)
	return nil
}

// findVRF insists that the VRF leads to our table: routes in a table that
// nothing leads to would count as installed and forward nothing.
func (f *FIB) findVRF(t *tables) error {
	f.vrf = 0
	if f.frame.vrf == "" {
		return nil
	}
	l, ok := t.links[f.frame.vrf]
	switch {
	case !ok:
		return fmt.Errorf("VRF %s does not exist", f.frame.vrf)
	case l.vrf == 0:
		return fmt.Errorf("%s is not a VRF", f.frame.vrf)
	case l.vrf != f.frame.table:
		return fmt.Errorf("VRF %s has table %d, want %d", f.frame.vrf, l.vrf, f.frame.table)
	case !l.up:
		return fmt.Errorf("VRF %s is down", f.frame.vrf)
	}
	f.vrf = l.index
	return nil
}

func (f *FIB) readLinks(ctx context.Context, t *tables) error {
	return f.conn.dump(ctx,
		func(m *messages, seq uint32) { m.dumpHeader(seq, unix.RTM_GETLINK, unix.AF_UNSPEC, sizeofIfInfo) },
		func() { clear(t.links); clear(t.names) },
		func(_ uint16, b []byte) error {
			l, err := parseLink(b)
			if err == nil {
				t.links[l.name], t.names[l.index] = l, l.name
			}
			return err
		})
}

func (f *FIB) readNextHops(ctx context.Context, t *tables) error {
	var all []knexthop
	err := f.conn.dump(ctx,
		func(m *messages, seq uint32) { m.dumpHeader(seq, unix.RTM_GETNEXTHOP, unix.AF_UNSPEC, sizeofNhMsg) },
		func() { all = all[:0] },
		func(_ uint16, b []byte) error {
			n, err := parseNextHop(b)
			if err == nil && t.inRange(n.id) {
				all = append(all, n)
			}
			return err
		})
	if err != nil {
		return err
	}
	ours := func(n *knexthop) bool { return n.protocol == f.frame.protocol }
	exits := map[uint32]int32{} // of objects, by id
	for i := range all {
		n := &all[i]
		t.taken[n.id] = struct{}{}
		if !ours(n) || n.group != nil {
			continue
		}
		w := way{n.family, n.gateway, n.oif}
		if n.special {
			w = way{oif: -1}
		}
		e, ok := t.exitBy[w]
		if !ok {
			e = t.addExit(w)
		}
		exits[n.id] = e
	}
	holders := map[uint32]int{}
	for i := range all {
		n := &all[i]
		if !ours(n) || n.group == nil {
			continue
		}
		g := group{id: n.id, buckets: n.buckets, content: -1, live: true}
		var parts []part
		for _, m := range n.group {
			holders[m.id]++
			if e, ok := exits[m.id]; ok && m.weight > 0 {
				g.objects = append(g.objects, object{id: m.id, exit: e, weight: m.weight})
				if t.exits[e].oif > 0 {
					parts = append(parts, part{e, m.weight})
				}
			}
		}
		if !n.special && len(parts) == len(n.group) {
			g.content = t.contentOf(parts, nil)
		}
		t.groupByID[n.id] = int32(len(t.groups))
		t.groups = append(t.groups, g)
	}
	for i := range t.groups {
		for j := range t.groups[i].objects {
			o := &t.groups[i].objects[j]
			o.shared = holders[o.id] > 1
		}
	}
	for i := range all {
		if n := &all[i]; ours(n) && n.group == nil && holders[n.id] == 0 {
			t.loose = append(t.loose, loose{id: n.id})
		}
	}
	return nil
}

// readTable returns all routes of a table, sorted by prefix and metric.
func (f *FIB) readTable(ctx context.Context, table uint32) ([]kroute, error) {
	var rows []kroute
	for _, fam := range families {
		start := len(rows)
		err := f.conn.dump(ctx,
			func(m *messages, seq uint32) { m.dumpRoutes(seq, fam, table) },
			func() { rows = rows[:start] },
			func(_ uint16, b []byte) error {
				r, err := parseRoute(b)
				if err == nil && r.table == table && r.tos == 0 {
					rows = append(rows, r)
				}
				return err
			})
		// No such table yet, or no such family in this kernel: no routes.
		if err != nil && !isErrno(err, unix.ENOENT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP) {
			return nil, err
		}
	}
	byKey := func(a, b kroute) int {
		if c := bgp.ComparePrefix(a.prefix, b.prefix); c != 0 {
			return c
		}
		return cmp.Compare(a.metric, b.metric)
	}
	if !slices.IsSortedFunc(rows, byKey) {
		slices.SortStableFunc(rows, byKey)
	}
	return rows, nil
}

// readMain reads the routes that policy rules consult before ours.
func (f *FIB) readMain(ctx context.Context) error {
	f.mainDirty = false
	f.foreignMain = nil
	if !f.frame.rules() {
		return nil
	}
	rows, err := f.readTable(ctx, unix.RT_TABLE_MAIN)
	if err != nil {
		return fmt.Errorf("read table main: %w", err)
	}
	f.foreignMain = slices.DeleteFunc(rows, func(r kroute) bool { return r.prefix.Bits() == 0 })
	return nil
}

// layOver fills the mirror: cells for kernel routes we want, strays for ours
// that we do not, foreignOwn for those of others in our table.
func (f *FIB) layOver(rows []kroute) {
	f.cells = make([]cell, len(f.want))
	for i := range f.cells {
		f.cells[i].set = f.setOf(&f.want[i])
		f.cells[i].obj = objAbsent
	}
	f.t.forgetSlices()
	f.strays, f.foreignOwn = nil, nil
	i := 0
	for k := range rows {
		r := &rows[k]
		obj := f.objectOf(r)
		if r.protocol != f.frame.protocol {
			if obj >= 0 {
				f.t.groups[obj].pinned = true
			}
			f.foreignOwn = append(f.foreignOwn, *r)
			continue
		}
		s := stray{prefix: r.prefix, metric: r.metric, obj: obj, source: r.source, typ: r.typ}
		for i < len(f.want) && compareKey(&f.want[i], s.prefix, s.metric) < 0 {
			i++
		}
		if i == len(f.want) || compareKey(&f.want[i], s.prefix, s.metric) != 0 {
			if n := len(f.strays); n > 0 && f.strays[n-1].prefix == s.prefix && f.strays[n-1].metric == s.metric {
				s.double, f.strays[n-1].obj = true, objOther
			}
			f.strays = append(f.strays, s)
			continue
		}
		if f.cells[i].obj != objAbsent { // appended by somebody: one copy goes, the other is written anew
			s.double = true
			f.strays = append(f.strays, s)
			f.cells[i].obj = objOther
			continue
		}
		f.cells[i].obj = obj
		f.cells[i].stale = s.differs(&f.want[i])
	}
}

// objectOf says what an installed route points to.
func (f *FIB) objectOf(r *kroute) int32 {
	if r.nhid != 0 {
		if g, ok := f.t.groupByID[r.nhid]; ok {
			return g
		}
		return objOther
	}
	if r.typ == unix.RTN_BLACKHOLE {
		return objBlackhole
	}
	return objOther
}

// resolveUnderlay looks a next hop up the way a tunnel packet would go, or in
// the VRF: a route there can not use the devices outside.
func (f *FIB) resolveUnderlay(gw netip.Addr) (int32, netip.Addr, error) {
	var r kroute
	mark := f.frame.mark
	if f.vrf != 0 {
		mark = 0
	}
	err := f.conn.get(
		func(m *messages, seq uint32) { m.getRoute(seq, gw, mark, 0, f.vrf) },
		func(_ uint16, b []byte) (err error) {
			r, err = parseRoute(b)
			return err
		})
	switch {
	case err != nil:
		return 0, netip.Addr{}, fmt.Errorf("not reachable: %w", err)
	case r.typ == unix.RTN_LOCAL:
		return 0, netip.Addr{}, errors.New("is an address of this host")
	case r.gateway.IsValid():
		return r.oif, r.gateway, nil
	}
	return r.oif, gw, nil
}
