package tgwsim

import (
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func tgwRouteOperations() []Operation {
	return []Operation{
		Op("SearchTransitGatewayRoutes", searchRoutes),
		Op("CreateTransitGatewayRoute", createStatic),
		Op("ReplaceTransitGatewayRoute", replaceStatic),
		Op("DeleteTransitGatewayRoute", deleteStatic),
	}
}

// searchRoutes shows the winners of a table. They are what the network behind the
// API says, which does not lag.
func searchRoutes(c *Call, in *ec2.SearchTransitGatewayRoutesInput) (*ec2.SearchTransitGatewayRoutesOutput, error) {
	table := text(in.TransitGatewayRouteTableId)
	if t := c.State.Tables[table]; t == nil {
		return nil, &wire.Error{Code: "InvalidRouteTableID.NotFound", Message: "Transit Gateway Route Table " + table + " was not found"}
	}
	if len(in.Filters) == 0 {
		c.Violation("SearchTransitGatewayRoutes: no filter")
		return nil, &wire.Error{Code: "MissingParameter", Message: "The request must contain the parameter Filter"} // [API]
	}
	routes := c.World.Network().Routes(table)
	filters := slices.Clone(in.Filters)
	for i := 0; i < len(filters); {
		keep, ok, err := matchPrefix(filters[i], routes)
		if err != nil {
			return nil, err
		}
		if !ok {
			i++
			continue
		}
		filters = slices.Delete(filters, i, i+1)
		routes = slices.DeleteFunc(slices.Clone(routes), func(r world.Route) bool { return !keep(r.Prefix) })
	}
	keep, err := tgwRoutes.match(c, filters)
	if err != nil {
		return nil, err
	}
	routes = slices.DeleteFunc(slices.Clone(routes), func(r world.Route) bool { return !keep(r) })
	// Pages go by number, not by ID: the order of routes is that of prefixes.
	place := map[netip.Prefix]string{}
	for i, r := range routes {
		place[r.Prefix] = number(i)
	}
	found, token, err := page(c, routes, func(r world.Route) string { return place[r.Prefix] }, 1000, query{nil, nil, in.MaxResults, in.NextToken})
	return &ec2.SearchTransitGatewayRoutesOutput{
		Routes: convert(found, tgwRoute), NextToken: token, AdditionalRoutesAvailable: ptr(token != nil),
	}, err
}

var tgwRoutes = listing[world.Route]{
	filters: map[string]func(world.Route) []string{ // [API]
		"attachment.transit-gateway-attachment-id": func(r world.Route) []string {
			return convert(r.Via, func(v world.Via) string { return v.AttachmentID })
		},
		"attachment.resource-id": func(r world.Route) []string { return convert(r.Via, func(v world.Via) string { return v.ResourceID }) },
		"attachment.resource-type": func(r world.Route) []string {
			return convert(r.Via, func(v world.Via) string { return v.ResourceType })
		},
		"prefix-list-id": func(r world.Route) []string { return value(r.PrefixListID) },
		"state":          func(r world.Route) []string { return value(string(tgwRoute(r).State)) },
		"type":           func(r world.Route) []string { return value(string(tgwRoute(r).Type)) },
	},
}

// matchPrefix is one of the route-search filters; ok is false for any other.
func matchPrefix(f types.Filter, routes []world.Route) (keep func(netip.Prefix) bool, ok bool, err error) {
	name := text(f.Name)
	var test func(route, wanted netip.Prefix) bool
	switch name {
	case "route-search.exact-match":
		test = func(r, w netip.Prefix) bool { return r == w }
	case "route-search.subnet-of-match":
		test = func(r, w netip.Prefix) bool { return w.Bits() <= r.Bits() && w.Overlaps(r) }
	case "route-search.supernet-of-match":
		test = func(r, w netip.Prefix) bool { return r.Bits() <= w.Bits() && w.Overlaps(r) }
	case "route-search.longest-prefix-match":
		longest := map[netip.Prefix]netip.Prefix{}
		test = func(r, w netip.Prefix) bool {
			best, seen := longest[w]
			if !seen {
				for _, o := range routes {
					if o.Prefix.Bits() <= w.Bits() && o.Prefix.Overlaps(w) && (!best.IsValid() || o.Prefix.Bits() > best.Bits()) {
						best = o.Prefix
					}
				}
				longest[w] = best
			}
			return best.IsValid() && r == best
		}
	default:
		return nil, false, nil
	}
	var wanted []netip.Prefix
	for _, v := range f.Values {
		if a, err := netip.ParseAddr(v); err == nil { // longest-prefix-match takes an address too [API]
			wanted = append(wanted, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := parsePrefix(name, v)
		if err != nil {
			return nil, true, err
		}
		wanted = append(wanted, p)
	}
	return func(r netip.Prefix) bool {
		return slices.ContainsFunc(wanted, func(w netip.Prefix) bool { return test(r, w) })
	}, true, nil
}

// number sorts as text as it does as a number.
func number(i int) string {
	const digits = 6
	text := make([]byte, digits)
	for at := digits - 1; at >= 0; at-- {
		text[at] = byte('0' + i%10)
		i /= 10
	}
	return string(text)
}

func tgwRoute(r world.Route) types.TransitGatewayRoute {
	out := types.TransitGatewayRoute{
		DestinationCidrBlock: ptr(r.Prefix.String()), PrefixListId: some(r.PrefixListID),
		Type: types.TransitGatewayRouteTypePropagated, State: types.TransitGatewayRouteStateActive,
	}
	if r.Static {
		out.Type = types.TransitGatewayRouteTypeStatic
	}
	if r.Blackhole {
		out.State = types.TransitGatewayRouteStateBlackhole
	}
	out.TransitGatewayAttachments = convert(r.Via, func(v world.Via) types.TransitGatewayRouteAttachment {
		return types.TransitGatewayRouteAttachment{
			TransitGatewayAttachmentId: ptr(v.AttachmentID), ResourceId: some(v.ResourceID), ResourceType: types.TransitGatewayAttachmentResourceType(v.ResourceType),
		}
	})
	return out
}

// static reads the parameters that Create and Replace share.
func static(destination, attachment *string, blackhole *bool) (world.Static, error) {
	p, err := parsePrefix("DestinationCidrBlock", text(destination))
	return world.Static{Prefix: p, AttachmentID: text(attachment), Blackhole: blackhole != nil && *blackhole}, err
}

func createStatic(c *Call, in *ec2.CreateTransitGatewayRouteInput) (*ec2.CreateTransitGatewayRouteOutput, error) {
	r, err := static(in.DestinationCidrBlock, in.TransitGatewayAttachmentId, in.Blackhole)
	if err == nil {
		err = c.World.CreateStatic(text(in.TransitGatewayRouteTableId), r)
	}
	if err != nil {
		return nil, err
	}
	return &ec2.CreateTransitGatewayRouteOutput{Route: c.staticRoute(r)}, nil
}

func replaceStatic(c *Call, in *ec2.ReplaceTransitGatewayRouteInput) (*ec2.ReplaceTransitGatewayRouteOutput, error) {
	r, err := static(in.DestinationCidrBlock, in.TransitGatewayAttachmentId, in.Blackhole)
	if err == nil {
		err = c.World.ReplaceStatic(text(in.TransitGatewayRouteTableId), r)
	}
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceTransitGatewayRouteOutput{Route: c.staticRoute(r)}, nil
}

func deleteStatic(c *Call, in *ec2.DeleteTransitGatewayRouteInput) (*ec2.DeleteTransitGatewayRouteOutput, error) {
	p, err := parsePrefix("DestinationCidrBlock", text(in.DestinationCidrBlock))
	if err != nil {
		return nil, err
	}
	r, err := c.World.DeleteStatic(text(in.TransitGatewayRouteTableId), p)
	if err != nil {
		return nil, err
	}
	out := c.staticRoute(r)
	out.State = types.TransitGatewayRouteStateDeleted
	return &ec2.DeleteTransitGatewayRouteOutput{Route: out}, nil
}

func (c *Call) staticRoute(r world.Static) *types.TransitGatewayRoute {
	w := world.Route{Prefix: r.Prefix, Static: true, Blackhole: r.Blackhole}
	if a := c.State.Attachments[r.AttachmentID]; a != nil {
		w.Via = []world.Via{{AttachmentID: a.ID, ResourceID: a.ResourceID, ResourceType: a.Type}}
	}
	return ptr(tgwRoute(w))
}
