package fib

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// LookupResult is the kernel's answer to "where would a packet go".
type LookupResult struct {
	Type     string       // "unicast", "local", "blackhole", "unreachable", "prohibit"
	Prefix   netip.Prefix // of the matching route, if any
	Table    uint32
	Protocol uint8
	Ours     bool // our table and protocol
	Device   string
	Gateway  netip.Addr
	Source   netip.Addr
	Metric   uint32
}

// Lookup asks the kernel which way a packet to addr goes, policy rules
// included. mark is the packet's firewall mark, 0 for ordinary traffic, which is
// in the VRF if there is one; the tunnels' packets are outside. A dropped packet
// is an answer, not an error.
func (f *FIB) Lookup(addr netip.Addr, mark uint32) (LookupResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	vrf := f.vrf
	if mark != 0 {
		vrf = 0
	}
	ask := func(flags uint32) (r kroute, err error) {
		err = f.conn.get(
			func(m *messages, seq uint32) { m.getRoute(seq, addr.Unmap(), mark, flags, vrf) },
			func(_ uint16, b []byte) (err error) {
				r, err = parseRoute(b)
				return err
			})
		return r, err
	}
	var withTable uint32 // IPv6 names the table unasked and refuses to be asked
	if addr.Unmap().Is4() {
		withTable = unix.RTM_F_LOOKUP_TABLE
	}
	way, err := ask(withTable)
	if typ, ok := dropType(err); ok {
		return LookupResult{Type: typ}, nil
	}
	if err != nil {
		return LookupResult{}, fmt.Errorf("look up %s: %w", addr, err)
	}
	res := LookupResult{Type: typeName(way.typ), Table: way.table, Protocol: way.protocol, Gateway: way.gateway, Source: way.source}
	if l, err := f.linkByIndex(way.oif); err == nil {
		res.Device = l.name
	}
	// The second question names the matching route instead of the way.
	if match, err := ask(unix.RTM_F_FIB_MATCH | withTable); err == nil {
		res.Prefix, res.Metric, res.Table, res.Protocol = match.prefix, match.metric, match.table, match.protocol
	}
	res.Ours = res.Table == f.frame.table && res.Protocol == f.frame.protocol
	return res, nil
}

// dropType translates the errors a lookup gives for routes that drop
// (fib_props in net/ipv4/fib_semantics.c, ip6_rt_type_to_error).
func dropType(err error) (string, bool) {
	var k *kernelError
	if !errors.As(err, &k) || k.text != "" { // words are about the request
		return "", false
	}
	switch k.errno {
	case unix.EINVAL:
		return "blackhole", true
	case unix.EHOSTUNREACH, unix.ENETUNREACH: // a route, a rule or nothing at all says so
		return "unreachable", true
	case unix.EACCES:
		return "prohibit", true
	}
	return "", false
}

func (f *FIB) linkByIndex(oif int32) (link, error) {
	var l link
	err := f.conn.get(
		func(m *messages, seq uint32) {
			m.begin(unix.RTM_GETLINK, 0, seq)
			m.b = append(m.b, make([]byte, sizeofIfInfo)...)
			native.PutUint32(m.b[m.start+sizeofNlMsghdr+4:], uint32(oif))
			m.end()
		},
		func(_ uint16, b []byte) (err error) {
			l, err = parseLink(b)
			return err
		})
	return l, err
}

// KernelRoute is a route of ours as the kernel holds it.
type KernelRoute struct {
	bgp.Route
	Table    uint32
	Protocol uint8
	InSync   bool // exactly as last wanted
}

// List reads our routes from the kernel, sorted by prefix and metric.
func (f *FIB) List(ctx context.Context) ([]KernelRoute, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frame == (frame{}) {
		return nil, errors.New("list routes: no routing table given yet")
	}
	t := newTables(f.idBase(), f.buckets)
	t.resolve = f.resolveUnderlay
	if err := f.readLinks(ctx, t); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	t.mark(f.lost)
	if err := f.readNextHops(ctx, t); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	rows, err := f.readTable(ctx, f.frame.table)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []KernelRoute
	i := 0
	for k := range rows {
		r := &rows[k]
		if r.protocol != f.frame.protocol {
			continue
		}
		kr := KernelRoute{Table: r.table, Protocol: r.protocol, Route: bgp.Route{Prefix: r.prefix, Metric: r.metric, Source: r.source}}
		if r.typ == unix.RTN_BLACKHOLE {
			kr.Type = bgp.BlackholeRoute
		}
		g, grouped := t.groupByID[r.nhid]
		if grouped && t.groups[g].content >= 0 {
			for _, p := range t.contents[t.groups[g].content].parts {
				x := &t.exits[p.exit]
				kr.NextHops = append(kr.NextHops, bgp.NextHop{Gateway: x.gateway, Device: t.names[x.oif], Weight: p.weight})
			}
		} else if r.oif != 0 && kr.Type == bgp.Unicast {
			kr.NextHops = []bgp.NextHop{{Gateway: r.gateway, Device: t.names[r.oif]}}
		}
		for i < len(f.want) && compareKey(&f.want[i], r.prefix, r.metric) < 0 {
			i++
		}
		if i < len(f.want) && compareKey(&f.want[i], r.prefix, r.metric) == 0 {
			w := &f.want[i]
			kr.InSync = routeType(w) == r.typ && w.Source == r.source
			if w.Type == bgp.Unicast {
				c := t.sets[t.setOf(family(w.Prefix.Addr()), w.NextHops)].content
				kr.InSync = kr.InSync && grouped && c >= 0 && holds(t.groups[g].objects, t.inUse(c))
			}
		}
		out = append(out, kr)
	}
	return out, nil
}

// Drain removes everything of ours from the kernel: rules, routes, next-hop
// objects and the nftables table. It is for an orderly leave only.
func (f *FIB) Drain(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	if f.frame != (frame{}) {
		for _, fr := range append(slices.Clone(f.past), f.frame) {
			errs = append(errs, f.remove(ctx, fr))
		}
		f.past, f.frame, f.vrf = nil, frame{}, 0
		f.want, f.cells, f.strays, f.known = nil, nil, nil, false
		f.last = bgp.RoutesApplied{}
		f.mon.setTable(frame{}, 0)
	}
	errs = append(errs, f.nft.drain())
	return errors.Join(errs...)
}

// sweepPast removes what was left in tables used before a reload.
func (f *FIB) sweepPast(ctx context.Context) error {
	for _, p := range f.past {
		if err := f.remove(ctx, p); err != nil {
			return err
		}
	}
	f.past = nil
	return nil
}

// remove deletes all that is ours in one frame, rules first so that no packet
// meets a half-empty table.
func (f *FIB) remove(ctx context.Context, fr frame) error {
	now := f.frame
	defer func() { f.frame = now }()
	f.frame = fr
	if fr.rules() {
		for _, fam := range families {
			have, err := f.readRules(ctx, fam)
			if err != nil && !isErrno(err, unix.EAFNOSUPPORT, unix.EOPNOTSUPP) {
				return err
			}
			slices.Reverse(have)
			for i := range have {
				if now != fr && now.owns(have[i]) {
					continue // the new table's rules at the same preferences
				}
				if err := f.writeRule(unix.RTM_DELRULE, 0, &have[i]); err != nil && !isErrno(err, unix.ENOENT) {
					return fmt.Errorf("delete rule %s: %w", have[i], err)
				}
			}
		}
	}
	rows, err := f.readTable(ctx, fr.table)
	if err != nil {
		return fmt.Errorf("read table %d: %w", fr.table, err)
	}
	var refused error
	b := &batch{c: f.conn, done: func(_ op, err error) {
		if err != nil && !isErrno(err, unix.ESRCH, unix.ENOENT) && refused == nil {
			refused = err
		}
	}}
	for i := range rows {
		if rows[i].protocol != fr.protocol {
			continue
		}
		m, seq := b.next(op{})
		m.delRoute(seq, rows[i].prefix, fr.table, fr.protocol, rows[i].metric)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	t := newTables(f.idBase(), f.buckets)
	if err := f.readNextHops(ctx, t); err != nil {
		return err
	}
	if now != fr && now != (frame{}) && f.opts.NextHopBase != 0 || now != fr && baseFor(now.table) == baseFor(fr.table) {
		t.groups, t.loose = nil, nil // the new table uses the same range; its own sweep clears it
	}
	for _, g := range t.groups {
		m, seq := b.next(op{})
		m.delNextHop(seq, g.id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	for _, id := range t.objectIDs() {
		m, seq := b.next(op{})
		m.delNextHop(seq, id)
		if err := b.full(ctx); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	f.count.Writes.Add(b.sent)
	f.count.Batches.Add(b.calls)
	return refused
}
