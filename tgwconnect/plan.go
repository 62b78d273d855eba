package tgwconnect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Plan says what is missing, in the order in which it can be done: the first step
// is next, and when it only waits there is nothing else to do. No steps at all mean
// that all is there.
func (w *Want) Plan(inv *Inventory) (steps []Step, obstacles []Obstacle) {
	if obstacles = w.obstacles(inv); len(obstacles) > 0 {
		return nil, obstacles
	}
	var waits []Step
	add := func(s Step) {
		if s.Kind == StepWait {
			waits = append(waits, s)
		} else {
			steps = append(steps, s)
		}
	}
	defer func() { steps = append(steps, waits...) }()
	for i := range inv.Interfaces {
		if x := &inv.Interfaces[i]; x.SourceDestCheck {
			add(made(x.Tags, Step{
				Kind: StepForward, ID: x.ID, Text: "switch the source/destination check of " + x.ID + " off",
				Marked: w.mark(StepForward, netip.Prefix{}), On: x.ID,
			}))
		}
	}
	// Peers of ours that are not wanted so any more make room.
	kept := map[netip.Addr]bool{}
	for i := range inv.Peers {
		p := &inv.Peers[i]
		switch {
		case !w.own(p) || gone(p.State):
		case w.fits(p) && !kept[p.PeerAddress]:
			kept[p.PeerAddress] = true
		case p.State == "available":
			add(Step{Kind: StepDeletePeer, ID: p.ID, Text: fmt.Sprintf("delete Connect peer %s of %s, which is not wanted so any more", p.ID, p.PeerAddress)})
		default:
			add(Step{Kind: StepWait, ID: p.ID, Text: fmt.Sprintf("wait for %s, which is %s", p.ID, p.State)})
		}
	}
	all := inv.mine(w)
	if len(all) == 0 {
		add(Step{Kind: StepCreateConnect, ID: w.TransportID, Tags: Tags{TagOwner: w.Name}, Text: "create a Connect attachment on " + w.TransportID})
		w.around(inv, nil, add)
		for _, a := range w.Addresses {
			add(w.newPeer(inv, "", a))
		}
		return steps, nil
	}
	for _, c := range all[1:] {
		if inv.living(c.ID) == 0 && c.State == "available" {
			add(Step{Kind: StepDeleteConnect, ID: c.ID, Text: "delete " + c.ID + ", which was made twice"})
		}
	}
	c := all[0]
	if c.State != "available" {
		add(Step{Kind: StepWait, ID: c.ID, Text: fmt.Sprintf("wait for %s, which is %s", c.ID, c.State)})
		return steps, nil
	}
	w.around(inv, &c, add)
	for _, a := range w.Addresses {
		p := inv.peerOf(w, a)
		switch {
		case p == nil:
			n := inv.living(c.ID)
			if leaving := slices.IndexFunc(inv.Peers, func(p Peer) bool { return p.AttachmentID == c.ID && p.State == "deleting" }); n >= mostPeers && leaving >= 0 {
				add(Step{Kind: StepWait, ID: inv.Peers[leaving].ID, Text: "wait for " + inv.Peers[leaving].ID + ", which is being deleted"})
				continue
			}
			if n >= mostPeers {
				return nil, []Obstacle{{
					fmt.Sprintf("Connect attachment %s has %d peers, which is all it takes", c.ID, n),
					"use another name for more gateways: each has a Connect attachment of its own",
				}}
			}
			add(w.newPeer(inv, c.ID, a))
		case p.State != "available":
			add(Step{Kind: StepWait, ID: p.ID, Text: fmt.Sprintf("wait for %s, which is %s", p.ID, p.State)})
		}
	}
	return steps, nil
}

// obstacles are what no step of ours can change.
func (w *Want) obstacles(inv *Inventory) (out []Obstacle) {
	tgw, t := &inv.TransitGateway, &inv.Transport
	bad := func(cure, format string, args ...any) {
		out = append(out, Obstacle{fmt.Sprintf(format, args...), cure})
	}
	if tgw.State != "available" && tgw.State != "modifying" {
		bad("name one that is available", "Transit Gateway %s is %s", w.TransitGatewayID, tgw.State)
	}
	if tgw.EncryptionState != "" && tgw.EncryptionState != "disabled" {
		bad("use a Transit Gateway without Encryption Support", "Encryption Support of %s is %s, and Connect is impossible with it", w.TransitGatewayID, tgw.EncryptionState)
	}
	if w.PeerASN == tgw.ASN {
		bad("change asn of [gateway]", "ASN %d is the Transit Gateway's own: that would be iBGP, whose routes are not installed", w.PeerASN)
	}
	if t.TransitGatewayID != w.TransitGatewayID || gone(t.State) {
		bad("name a VPC attachment of "+w.TransitGatewayID, "%s is no usable attachment of %s", w.TransportID, w.TransitGatewayID)
	}
	for _, a := range w.Addresses {
		if !slices.ContainsFunc(tgw.CIDRBlocks, func(p netip.Prefix) bool { return p.Addr().Is4() == a.Is4() }) && (!w.CIDR.IsValid() || w.CIDR.Addr().Is4() != a.Is4()) {
			bad("name one to add: cidr = \"10.254.0.0/24\"", "%s has no CIDR block of the family of %s", w.TransitGatewayID, a)
		}
	}
	for _, p := range inv.Peers {
		if slices.Contains(w.Addresses, p.PeerAddress) && !gone(p.State) && !w.own(&p) {
			bad("delete it, or let the daemon use it: discover = true", "%s is a Connect peer of %s already, and not ours", p.ID, p.PeerAddress)
		}
	}
	for _, t := range inv.VPCTables {
		for _, b := range w.blocks(inv) {
			for _, r := range t.Routes {
				if r.Prefix == b && r.Target.TransitGatewayID != w.TransitGatewayID {
					bad("delete that route", "%s leads %s elsewhere", t.ID, b)
				}
			}
		}
	}
	return out
}

// blocks are the CIDR blocks of the TGW, with the one that is to be added.
func (w *Want) blocks(inv *Inventory) []netip.Prefix {
	out := slices.Clone(inv.TransitGateway.CIDRBlocks)
	if w.lacksCIDR(inv) {
		out = append(out, w.CIDR)
	}
	return out
}

func (w *Want) lacksCIDR(inv *Inventory) bool {
	return w.CIDR.IsValid() && !slices.ContainsFunc(inv.TransitGateway.CIDRBlocks, func(p netip.Prefix) bool { return p.Addr().Is4() == w.CIDR.Addr().Is4() })
}

func (w *Want) missingRoutes(inv *Inventory, t *VPCRouteTable) (out []netip.Prefix) {
	for _, b := range w.blocks(inv) {
		if !slices.ContainsFunc(t.Routes, func(r VPCRoute) bool { return r.Prefix == b }) {
			out = append(out, b)
		}
	}
	return out
}

// around is everything but the attachment and its peers.
func (w *Want) around(inv *Inventory, c *Connect, add func(Step)) {
	if w.lacksCIDR(inv) {
		add(made(inv.TransitGateway.Tags, Step{
			Kind: StepAddCIDR, Prefix: w.CIDR, Text: fmt.Sprintf("give %s the CIDR block %s", w.TransitGatewayID, w.CIDR),
			Marked: w.mark(StepAddCIDR, w.CIDR), On: w.TransitGatewayID,
		}))
	}
	for i := range inv.VPCTables {
		t := &inv.VPCTables[i]
		for _, b := range w.missingRoutes(inv, t) {
			add(made(t.Tags, Step{
				Kind: StepCreateRoute, Table: t.ID, Prefix: b, Text: fmt.Sprintf("lead %s to the Transit Gateway in %s", b, t.ID),
				Marked: w.mark(StepCreateRoute, b), On: t.ID,
			}))
		}
	}
	if w.RouteTable == "" {
		return
	}
	id, table, state := "", "", ""
	if c != nil {
		id = c.ID
		for _, a := range inv.Attachments {
			if a.ID == id {
				table, state = a.RouteTableID, a.AssociationState
			}
		}
	}
	switch {
	case table == w.RouteTable && state == "associated":
	case table != "" && (state == "associating" || state == "disassociating"):
		add(Step{Kind: StepWait, ID: id, Text: fmt.Sprintf("wait for the association of %s with %s, which is %s", id, table, state)})
		return
	case table != "":
		add(Step{Kind: StepDisassociate, ID: id, Table: table, Text: fmt.Sprintf("take %s from route table %s", id, table)})
		return
	default:
		add(Step{Kind: StepAssociate, ID: id, Table: w.RouteTable, Text: "associate the attachment with route table " + w.RouteTable})
	}
	i := slices.IndexFunc(inv.Propagations, func(p Propagation) bool { return p.AttachmentID == id && p.RouteTableID == w.RouteTable })
	switch {
	case id != "" && i >= 0 && inv.Propagations[i].State == "enabled":
	case id != "" && i >= 0 && inv.Propagations[i].State != "disabled":
		add(Step{Kind: StepWait, ID: id, Text: fmt.Sprintf("wait for the propagation to %s, which is %s", w.RouteTable, inv.Propagations[i].State)})
	default:
		add(Step{Kind: StepPropagate, ID: id, Table: w.RouteTable, Text: "propagate its routes to " + w.RouteTable})
	}
}

// peerOf is this gateway's own Connect peer for an address, nil: none.
func (inv *Inventory) peerOf(w *Want, a netip.Addr) *Peer {
	for i := range inv.Peers {
		if p := &inv.Peers[i]; p.PeerAddress == a && w.own(p) && w.fits(p) && !gone(p.State) {
			return p
		}
	}
	return nil
}

func (w *Want) newPeer(inv *Inventory, attachmentID string, a netip.Addr) Step {
	four, six, _ := inv.allocate(w, a.String())
	text := fmt.Sprintf("create a Connect peer for %s with ASN %d and inside block %s", a, w.PeerASN, four)
	if six.IsValid() {
		text += " and " + six.String()
	}
	return Step{Kind: StepCreatePeer, ID: attachmentID, Text: text, Peer: NewPeer{
		AttachmentID: attachmentID, PeerAddress: a, Inside4: four, Inside6: six, PeerASN: w.PeerASN,
		Tags: Tags{TagOwner: w.Name, TagGateway: w.Gateway},
	}}
}

// Unplan says what of ours is left, in the order in which it can go. What other
// gateways of the same name still use stays.
func (w *Want) Unplan(inv *Inventory) (steps []Step, obstacles []Obstacle) {
	add := func(s Step) { steps = append(steps, s) }
	for i := range inv.Peers {
		p := &inv.Peers[i]
		switch {
		case !w.own(p) || p.State == "deleted":
		case p.State == "deleting" || p.State == "pending":
			add(Step{Kind: StepWait, ID: p.ID, Text: fmt.Sprintf("wait for %s, which is %s", p.ID, p.State)})
		default:
			add(Step{Kind: StepDeletePeer, ID: p.ID, Text: fmt.Sprintf("delete Connect peer %s of %s", p.ID, p.PeerAddress)})
		}
	}
	for _, c := range inv.Connects {
		others := slices.ContainsFunc(inv.Peers, func(p Peer) bool { return p.AttachmentID == c.ID && !w.own(&p) && p.State != "deleted" })
		switch {
		case c.Tags[TagOwner] != w.Name || c.TransportID != w.TransportID || c.State == "deleted":
		case others: // another gateway, or somebody, uses it
		case c.State != "available":
			add(Step{Kind: StepWait, ID: c.ID, Text: fmt.Sprintf("wait for %s, which is %s", c.ID, c.State)})
		default:
			add(Step{Kind: StepDeleteConnect, ID: c.ID, Text: "delete Connect attachment " + c.ID})
		}
	}
	w.unaround(inv, add)
	return steps, nil
}

// unaround takes back what the marks say that we made, and then the marks.
func (w *Want) unaround(inv *Inventory, add func(Step)) {
	for i := range inv.Interfaces {
		x := &inv.Interfaces[i]
		mark := w.mark(StepForward, netip.Prefix{})
		switch {
		case !marked(x.Tags, mark):
		case !x.SourceDestCheck:
			add(Step{Kind: StepCheckAgain, ID: x.ID, Text: "switch the source/destination check of " + x.ID + " on again"})
		default:
			add(Step{Kind: StepUnmark, ID: x.ID, Tags: mark, Text: "take our mark from " + x.ID})
		}
	}
	// Another Connect peer by way of the same VPC needs the same routes.
	onTransport := map[string]bool{}
	for _, x := range inv.Connects {
		onTransport[x.ID] = x.TransportID == w.TransportID
	}
	if slices.ContainsFunc(inv.Peers, func(p Peer) bool { return onTransport[p.AttachmentID] && !w.own(&p) && p.State != "deleted" }) {
		return
	}
	for i := range inv.VPCTables {
		t := &inv.VPCTables[i]
		for _, b := range marksOf(t.Tags, markKinds[StepCreateRoute], w.Name) {
			if slices.ContainsFunc(t.Routes, func(r VPCRoute) bool { return r.Prefix == b && r.Target.TransitGatewayID == w.TransitGatewayID }) {
				add(Step{Kind: StepDeleteRoute, Table: t.ID, Prefix: b, Text: fmt.Sprintf("delete the route to %s in %s", b, t.ID)})
			} else {
				add(Step{Kind: StepUnmark, ID: t.ID, Tags: w.mark(StepCreateRoute, b), Text: "take our mark from " + t.ID})
			}
		}
	}
	for _, b := range marksOf(inv.TransitGateway.Tags, markKinds[StepAddCIDR], w.Name) {
		used := slices.ContainsFunc(inv.Peers, func(p Peer) bool {
			return p.State != "deleted" && !w.own(&p) && b.Contains(p.TransitGatewayAddress)
		})
		switch {
		case used: // by a peer of somebody else
		case slices.Contains(inv.TransitGateway.CIDRBlocks, b):
			add(Step{Kind: StepRemoveCIDR, Prefix: b, Text: fmt.Sprintf("take the CIDR block %s from %s", b, w.TransitGatewayID)})
		default:
			add(Step{Kind: StepUnmark, ID: w.TransitGatewayID, Tags: w.mark(StepAddCIDR, b), Text: "take our mark from " + w.TransitGatewayID})
		}
	}
}

// marksOf lists the prefixes of an owner's marks of one kind, in order.
func marksOf(tags Tags, kind, owner string) (out []netip.Prefix) {
	for k, v := range tags {
		if text, ok := strings.CutPrefix(k, kind); ok && v == owner {
			if p, err := netip.ParsePrefix(text); err == nil {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, comparePrefix)
	return out
}
