package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/bgp/fib"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
)

// Kernel tables. The first is that of the only route table of most labs.
const (
	firstTable = 1512
	protocol   = 186 // RTPROT_BGP
	// lookupPref is the preference of the rules that choose a table by the device
	// that a packet came in by; it is before those that bgp/fib makes.
	lookupPref = 1000
)

// nowhere is the lookup of an attachment that has no route table: TGW drops what
// comes in by it (with a policy table: what no rule matches [PBR]; no rules are
// played).
const nowhere = "nowhere"

// kernelTable is one lookup in the kernel.
type kernelTable struct {
	number uint32
	fib    *fib.FIB
}

// forward makes the kernel lead packets as AWS would.
func (n *Network) forward(ctx context.Context, spec *Spec, decisions []*routing.Decision, served map[string][]VPCRoute) error {
	if spec.Bare {
		return nil
	}
	if spec.Plain {
		var routes []bgp.Route
		if len(decisions) > 0 && len(decisions[0].Tables) > 0 {
			for _, r := range decisions[0].Tables[0].Routes {
				if hops := spec.hops(r); len(hops) > 0 {
					routes = append(routes, bgp.Route{Prefix: r.Prefix, Metric: 100, NextHops: hops})
				}
			}
		}
		return n.install(ctx, "", routes)
	}
	lookups := spec.lookups(decisions, served)
	byDevice := spec.entries()
	var errs []error
	used := map[string]bool{"": true}
	for _, start := range slices.Sorted(maps.Values(byDevice)) {
		if used[start] {
			continue
		}
		used[start] = true
		errs = append(errs, n.install(ctx, start, withDefault(lookups.Flatten(start))))
	}
	for start, t := range n.tables {
		if !used[start] {
			t.fib.Apply(ctx, n.gen, frame(t.number, nil))
		}
	}
	numbers := map[string]uint32{}
	for device, start := range byDevice {
		numbers[device] = n.tables[start].number
	}
	return errors.Join(append(errs, syncRules(numbers), n.syncCuts(ctx, spec))...)
}

func frame(table uint32, routes []bgp.Route) bgp.FIB {
	return bgp.FIB{Table: table, Protocol: protocol, RulePref: table, Mark: firstTable, Routes: routes, Complete: true}
}

// install writes one lookup into a kernel table of its own.
func (n *Network) install(ctx context.Context, start string, routes []bgp.Route) error {
	t := n.tables[start]
	if t == nil {
		f, err := fib.New(fib.Options{Logger: n.log})
		if err != nil {
			return err
		}
		// Preferences are rulesPerTable apart in bgp/fib, and so are tables here.
		t = &kernelTable{number: firstTable + 10*uint32(len(n.tables)), fib: f}
		n.tables[start] = t
	}
	select {
	case <-t.fib.Events():
		t.fib.Repair(ctx)
	default:
	}
	a := t.fib.Apply(ctx, n.gen, frame(t.number, routes))
	if a.Err != "" {
		return fmt.Errorf("table %d: %s", t.number, a.Err)
	}
	for _, r := range a.Reports {
		// The host's own route to a subnet wins only where no device chooses the table.
		if r.Status != bgp.RouteShadowed {
			return fmt.Errorf("table %d: %s: %s", t.number, r.Prefix, r.Detail)
		}
	}
	return nil
}

// withDefault ends a lookup: what has no route is dropped, as TGW counts in
// PacketDropCountNoRoute [CW].
func withDefault(routes []bgp.Route) []bgp.Route {
	for _, all := range []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0), netip.PrefixFrom(netip.IPv4Unspecified(), 0)} {
		i, found := slices.BinarySearchFunc(routes, all, func(r bgp.Route, p netip.Prefix) int { return bgp.ComparePrefix(r.Prefix, p) })
		if !found {
			routes = slices.Insert(routes, i, bgp.Route{Prefix: all, Metric: 100, Type: bgp.BlackholeRoute})
		}
	}
	return routes
}

// hops are the ways of a TGW route that leave by a device: to Connect peers, and
// to attachments with a Way that has one.
func (spec *Spec) hops(r routing.Route) (hops []bgp.NextHop) {
	for _, v := range r.Via {
		if c, ok := spec.Connect[v.Peer]; ok && v.Peer != "" {
			hops = append(hops, bgp.NextHop{Gateway: v.NextHop, Device: c.Device})
			continue
		}
		for _, w := range spec.Ways {
			if w.Attachment == v.Attachment && w.Device != "" {
				hops = append(hops, bgp.NextHop{Gateway: w.Gateway, Device: w.Device})
			}
		}
	}
	slices.SortFunc(hops, func(a, b bgp.NextHop) int {
		if c := a.Gateway.Compare(b.Gateway); c != 0 {
			return c
		}
		return strings.Compare(a.Device, b.Device)
	})
	return slices.Compact(hops)
}

// lookups are the TGW's tables and the VPCs'. What Route Servers wrote loses to
// an entry that somebody made for the same prefix [VPC guide: static before
// propagated].
func (spec *Spec) lookups(decisions []*routing.Decision, served map[string][]VPCRoute) routing.Lookups {
	l := routing.Lookups{nowhere: {}}
	for _, d := range decisions {
		for _, t := range d.Tables {
			steps := map[netip.Prefix]routing.Step{}
			for _, r := range t.Routes {
				steps[r.Prefix] = routing.Step{Hops: spec.hops(r), Next: spec.intoVPC(r)}
			}
			l["tgw:"+t.ID] = steps
		}
	}
	for _, t := range spec.VPCTables {
		steps := map[netip.Prefix]routing.Step{}
		for _, r := range append(slices.Clone(served[t.ID]), t.Routes...) {
			s := routing.Step{}
			switch {
			case r.Attachment != "":
				s.Next = spec.lookupOf(r.Attachment)
			case r.Interface.IsValid():
				if device := spec.deviceOf(r.Interface); device != "" && !spec.Checked[r.Interface] {
					s.Hops = []bgp.NextHop{{Gateway: r.Interface, Device: device}}
				}
			case r.Local:
				for _, sub := range spec.Subnets {
					for _, c := range sub.CIDRs {
						if r.Prefix.Contains(c.Addr()) && r.Prefix.Bits() <= c.Bits() {
							steps[c] = routing.Step{Hops: []bgp.NextHop{{Device: sub.Device}}}
						}
					}
				}
			}
			if _, ok := steps[r.Prefix.Masked()]; ok && r.Local {
				continue // a VPC of one subnet
			}
			steps[r.Prefix.Masked()] = s
		}
		l["vpc:"+t.ID] = steps
	}
	return l
}

// intoVPC is the lookup behind a VPC attachment: the route table of the subnet
// that the TGW's interface is in.
func (spec *Spec) intoVPC(r routing.Route) string {
	for _, v := range r.Via {
		for _, w := range spec.Ways {
			if w.Attachment == v.Attachment && w.VPCTable != "" {
				return "vpc:" + w.VPCTable
			}
		}
	}
	return ""
}

// lookupOf is where a packet that comes in by an attachment is looked up.
func (spec *Spec) lookupOf(attachment string) string {
	for i := range spec.TGWs {
		for _, a := range spec.TGWs[i].Attachments {
			if a.ID == attachment && a.Table != "" && !a.PolicyTable {
				return "tgw:" + a.Table
			}
		}
	}
	return nowhere
}

func (spec *Spec) deviceOf(a netip.Addr) string {
	for _, s := range spec.Subnets {
		if slices.ContainsFunc(s.CIDRs, func(c netip.Prefix) bool { return c.Contains(a) }) {
			return s.Device
		}
	}
	return ""
}

// entries says for every device in which lookup its packets begin.
func (spec *Spec) entries() map[string]string {
	in := map[string]string{}
	for i := range spec.TGWs {
		for _, p := range spec.TGWs[i].Peers {
			if c, ok := spec.Connect[p.ID]; ok {
				in[c.Device] = spec.lookupOf(p.Attachment)
			}
		}
	}
	for _, w := range spec.Ways {
		if w.Device != "" {
			in[w.Device] = spec.lookupOf(w.Attachment)
		}
	}
	for _, s := range spec.Subnets {
		if s.Device != "" {
			in[s.Device] = "vpc:" + s.Table
		}
	}
	return in
}
