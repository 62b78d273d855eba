package ec2api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Applier is the Client as package apply needs it.
type Applier struct{ *Client }

// Inventory reads all that the steps are decided from.
func (a Applier) Inventory(ctx context.Context, w *tgwconnect.Want) (inv tgwconnect.Inventory, err error) {
	tgws, err := a.DescribeTransitGateways(ctx, tgwconnect.ByID(w.TransitGatewayID))
	if err != nil {
		return inv, err
	}
	if len(tgws) != 1 {
		return inv, fmt.Errorf("transit gateway %s: not in the answer", w.TransitGatewayID)
	}
	inv.TransitGateway = tgws[0]
	transport, err := a.DescribeTransitGatewayAttachments(ctx, tgwconnect.ByID(w.TransportID))
	if err != nil {
		return inv, err
	}
	if len(transport) != 1 {
		return inv, fmt.Errorf("attachment %s: not in the answer", w.TransportID)
	}
	inv.Transport = transport[0]
	if inv.Connects, err = a.DescribeTransitGatewayConnects(ctx, tgwconnect.Where("transit-gateway-id", w.TransitGatewayID)); err != nil {
		return inv, err
	}
	var ids []string
	for _, c := range inv.Connects {
		ids = append(ids, c.ID)
		if c.Tags[tgwconnect.TagOwner] == w.Name && w.RouteTable != "" && c.State == "available" {
			p, err := a.GetTransitGatewayAttachmentPropagations(ctx, c.ID)
			if err != nil && !IsNotFound(err) {
				return inv, err
			}
			inv.Propagations = append(inv.Propagations, p...)
		}
	}
	if len(ids) > 0 {
		if inv.Attachments, err = a.DescribeTransitGatewayAttachments(ctx, tgwconnect.Where("transit-gateway-attachment-id", ids...)); err != nil {
			return inv, err
		}
		// A filter takes 200 values at most.
		for part := range slices.Chunk(ids, 200) {
			peers, err := a.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.Where("transit-gateway-attachment-id", part...))
			if err != nil {
				return inv, err
			}
			inv.Peers = append(inv.Peers, peers...)
		}
	}
	if len(w.VPCRouteTables) > 0 {
		if inv.VPCTables, err = a.DescribeRouteTables(ctx, tgwconnect.ByID(w.VPCRouteTables...)); err != nil {
			return inv, err
		}
	}
	if len(w.Interfaces) > 0 {
		inv.Interfaces, err = a.DescribeNetworkInterfaces(ctx, tgwconnect.ByID(w.Interfaces...))
	}
	return inv, err
}

// Do carries out a step.
func (a Applier) Do(ctx context.Context, w *tgwconnect.Want, s tgwconnect.Step) (id string, err error) {
	switch s.Kind {
	case tgwconnect.StepCreateConnect:
		c, err := a.CreateTransitGatewayConnect(ctx, tgwconnect.NewConnect{TransportID: s.ID, Tags: s.Tags})
		return c.ID, err
	case tgwconnect.StepCreatePeer:
		p, err := a.CreateTransitGatewayConnectPeer(ctx, s.Peer)
		return p.ID, err
	case tgwconnect.StepDeleteConnect:
		err = a.DeleteTransitGatewayConnect(ctx, s.ID, false)
	case tgwconnect.StepDeletePeer:
		err = a.DeleteTransitGatewayConnectPeer(ctx, s.ID, false)
	case tgwconnect.StepAddCIDR:
		err = a.ModifyTransitGateway(ctx, w.TransitGatewayID, []netip.Prefix{s.Prefix}, nil, false)
	case tgwconnect.StepRemoveCIDR:
		err = a.ModifyTransitGateway(ctx, w.TransitGatewayID, nil, []netip.Prefix{s.Prefix}, false)
	case tgwconnect.StepAssociate:
		err = a.AssociateTransitGatewayRouteTable(ctx, s.Table, s.ID, false)
	case tgwconnect.StepDisassociate:
		err = a.DisassociateTransitGatewayRouteTable(ctx, s.Table, s.ID, false)
	case tgwconnect.StepPropagate:
		err = a.EnableTransitGatewayRouteTablePropagation(ctx, s.Table, s.ID, false)
	case tgwconnect.StepCreateRoute:
		err = a.CreateRoute(ctx, tgwconnect.NewVPCRoute{RouteTableID: s.Table, Prefix: s.Prefix, Target: tgwconnect.RouteTarget{TransitGatewayID: w.TransitGatewayID}})
	case tgwconnect.StepDeleteRoute:
		err = a.DeleteRoute(ctx, s.Table, s.Prefix, "", false)
	case tgwconnect.StepForward, tgwconnect.StepCheckAgain:
		err = a.ModifyNetworkInterfaceAttribute(ctx, s.ID, s.Kind == tgwconnect.StepCheckAgain, false)
	case tgwconnect.StepMark:
		err = a.CreateTags(ctx, s.ID, s.Tags, false)
	case tgwconnect.StepUnmark:
		err = a.DeleteTags(ctx, s.ID, s.Tags, false)
	default:
		err = fmt.Errorf("step %q can not be done", s.Kind)
	}
	return "", err
}

// Unknown reports whether a step that failed may have been done.
func (a Applier) Unknown(err error) bool { return IsUnknownOutcome(err) }

// Hopeless reports whether an error will not go away by trying again.
func (a Applier) Hopeless(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.Code {
	case "UnsupportedOperation", "OperationNotPermitted", "MissingParameter", "UnknownParameter", "InvalidAction":
		return true
	}
	return IsUnauthorized(err)
}
