package world

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func (s *State) vpcTable(id string) (*RouteTable, *Error) {
	t, ok := s.RouteTables[id]
	if !ok {
		return nil, refuse("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", id) // [TF-PEER]
	}
	return t, nil
}

func (t *RouteTable) find(prefix netip.Prefix, list string) int {
	return slices.IndexFunc(t.Routes, func(r VPCRoute) bool { return r.Prefix == prefix && r.PrefixListID == list })
}

// CreateRoute adds a route to a VPC route table.
func (w *World) CreateRoute(tableID string, r VPCRoute) error {
	return w.vpcRoute(tableID, r, func(t *RouteTable, at int) *Error {
		if at >= 0 && t.Routes[at].Origin != "Advertisement" { // [TF-PEER]; over a Route Server's route: assumed
			return refuse("RouteAlreadyExists", "The route identified by %s%s already exists.", prefixText(r.Prefix), r.PrefixListID)
		}
		r.Origin = "CreateRoute"
		t.Routes = append(t.Routes, r)
		return nil
	})
}

// ReplaceRoute gives a route of a VPC route table another target.
func (w *World) ReplaceRoute(tableID string, r VPCRoute) error {
	return w.vpcRoute(tableID, r, func(t *RouteTable, at int) *Error {
		if at < 0 { // [ERR]: this call has its own code
			return refuse("InvalidParameterValue", "There is no route defined for '%s%s' in the route table. Use CreateRoute instead.", prefixText(r.Prefix), r.PrefixListID)
		}
		r.Origin = t.Routes[at].Origin
		t.Routes[at] = r
		return nil
	})
}

// DeleteRoute removes a route of a VPC route table. That of the VPC itself stays.
func (w *World) DeleteRoute(tableID string, prefix netip.Prefix, list string) error {
	return w.change(func(s *State, _ time.Time) *Error {
		t, err := s.vpcTable(tableID)
		if err != nil {
			return err
		}
		at := t.find(prefix, list)
		if at < 0 {
			return routeNotFound(tableID, prefix)
		}
		if t.Routes[at].Target.GatewayID == "local" { // code assumed
			return refuse("InvalidParameterValue", "cannot remove local route %s in route table %s", prefix, tableID)
		}
		t.Routes = slices.Delete(t.Routes, at, at+1)
		return nil
	})
}

func (w *World) vpcRoute(tableID string, r VPCRoute, act func(*RouteTable, int) *Error) error {
	return w.change(func(s *State, _ time.Time) *Error {
		t, err := s.vpcTable(tableID)
		if err != nil {
			return err
		}
		if err := s.target(t, &r.Target); err != nil {
			return err
		}
		return act(t, t.find(r.Prefix, r.PrefixListID))
	})
}

// target checks that what a route leads to exists and can be reached. Codes of
// what is missing: [TF-PEER] and [ERR].
func (s *State) target(t *RouteTable, to *Target) *Error {
	if id := to.TransitGatewayID; id != "" {
		if _, err := s.availableGateway(id); err != nil {
			return err
		}
		for _, a := range s.Attachments {
			if a.TransitGatewayID == id && a.Type == TypeVPC && a.ResourceID == t.VPCID && a.State == "available" {
				return nil
			}
		}
		return refuse("InvalidTransitGatewayID.NotFound", "The transitGateway ID '%s' does not exist.", id) // the VPC is not attached (assumed)
	}
	if id := to.InterfaceID; id != "" {
		n, ok := s.Interfaces[id]
		if !ok {
			return interfaceNotFound(id)
		}
		if n.VPCID != t.VPCID { // code assumed
			return refuse("InvalidParameterValue", "route table %s and network interface %s belong to different networks", t.ID, id)
		}
	}
	return nil
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func interfaceNotFound(id string) *Error {
	return refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id) // [TF-PEER]
}

// InterfaceChange is what ModifyNetworkInterfaceAttribute changes.
type InterfaceChange struct {
	SourceDestCheck                                     *bool
	TCPEstablishedTimeout, UDPTimeout, UDPStreamTimeout *int32
	ENASRD, ENASRDUDP                                   *bool
	GroupIDs                                            []string
}

// ModifyInterface changes a network interface.
func (w *World) ModifyInterface(id string, c InterfaceChange) error {
	return w.change(func(s *State, _ time.Time) *Error {
		n, ok := s.Interfaces[id]
		if !ok {
			return interfaceNotFound(id)
		}
		for _, limit := range []struct {
			name     string
			value    *int32
			min, max int32
		}{ // [API]
			{"TcpEstablishedTimeout", c.TCPEstablishedTimeout, 60, 432000},
			{"UdpTimeout", c.UDPTimeout, 30, 60},
			{"UdpStreamTimeout", c.UDPStreamTimeout, 60, 180},
		} {
			if limit.value != nil && (*limit.value < limit.min || *limit.value > limit.max) {
				return refuse("InvalidParameterValue", "%s is %d to %d seconds", limit.name, limit.min, limit.max)
			}
		}
		for _, g := range c.GroupIDs {
			if s.SecurityGroups[g] == nil {
				return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", g) // [ERR]
			}
		}
		set(&n.SourceDestCheck, c.SourceDestCheck)
		set(&n.TCPEstablishedTimeout, c.TCPEstablishedTimeout)
		set(&n.UDPTimeout, c.UDPTimeout)
		set(&n.UDPStreamTimeout, c.UDPStreamTimeout)
		set(&n.ENASRD, c.ENASRD)
		set(&n.ENASRDUDP, c.ENASRDUDP)
		if c.GroupIDs != nil {
			n.GroupIDs = slices.Clone(c.GroupIDs)
		}
		return nil
	})
}

// ModifyInstanceSourceDestCheck changes the check of an instance's only network
// interface; with several the call is refused [ERR, InvalidInstanceID].
func (w *World) ModifyInstanceSourceDestCheck(id string, on bool) error {
	return w.change(func(s *State, _ time.Time) *Error {
		i, ok := s.Instances[id]
		if !ok {
			return refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
		if len(i.InterfaceIDs) != 1 {
			return refuse("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", id)
		}
		s.Interfaces[i.InterfaceIDs[0]].SourceDestCheck = on
		return nil
	})
}

// mostTags of one resource [ERR, TagLimitExceeded].
const mostTags = 50

// CreateTags adds tags to resources, or overwrites them.
func (w *World) CreateTags(ids []string, tags Tags) error {
	for k := range tags {
		if strings.HasPrefix(k, "aws:") { // [ERR]
			return refuse("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	return w.tags(ids, func(have *Tags) *Error {
		all := maps.Clone(*have)
		makeMap((*map[string]string)(&all))
		maps.Copy(all, tags)
		if len(all) > mostTags {
			return refuse("TagLimitExceeded", "a resource has %d tags at most", mostTags)
		}
		*have = all
		return nil
	})
}

// DeleteTags removes tags: those with the given value, all of a key if the value
// is nil, and all if there are no keys [API].
func (w *World) DeleteTags(ids []string, tags map[string]*string) error {
	return w.tags(ids, func(have *Tags) *Error {
		for k, v := range *have {
			want, ok := tags[k]
			if len(tags) == 0 || ok && (want == nil || *want == v) {
				delete(*have, k)
			}
		}
		return nil
	})
}

func (w *World) tags(ids []string, act func(*Tags) *Error) error {
	return w.change(func(s *State, _ time.Time) *Error {
		all := s.Tagged()
		for _, id := range ids {
			if all[id].Tags == nil { // code: [ERR] "InvalidID"
				return refuse("InvalidID", "The ID '%s' is not valid", id)
			}
		}
		for _, id := range ids {
			if err := act(all[id].Tags); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tagged are the tags of everything that can have some, by ID, with the
// resource's type in the API's words.
func (s *State) Tagged() map[string]Resource {
	all := map[string]Resource{}
	collect(all, "transit-gateway", s.TransitGateways, func(v *TransitGateway) *Tags { return &v.Tags })
	collect(all, "transit-gateway-attachment", s.Attachments, func(v *Attachment) *Tags { return &v.Tags })
	collect(all, "transit-gateway-connect-peer", s.ConnectPeers, func(v *ConnectPeer) *Tags { return &v.Tags })
	collect(all, "transit-gateway-route-table", s.Tables, func(v *Table) *Tags { return &v.Tags })
	collect(all, "vpc", s.VPCs, func(v *VPC) *Tags { return &v.Tags })
	collect(all, "subnet", s.Subnets, func(v *Subnet) *Tags { return &v.Tags })
	collect(all, "route-table", s.RouteTables, func(v *RouteTable) *Tags { return &v.Tags })
	collect(all, "network-interface", s.Interfaces, func(v *Interface) *Tags { return &v.Tags })
	collect(all, "instance", s.Instances, func(v *Instance) *Tags { return &v.Tags })
	collect(all, "security-group", s.SecurityGroups, func(v *SecurityGroup) *Tags { return &v.Tags })
	collect(all, "network-acl", s.NetworkACLs, func(v *NetworkACL) *Tags { return &v.Tags })
	collect(all, "route-server", s.RouteServers, func(v *RouteServer) *Tags { return &v.Tags })
	collect(all, "route-server-endpoint", s.RouteServerEndpoints, func(v *RouteServerEndpoint) *Tags { return &v.Tags })
	collect(all, "route-server-peer", s.RouteServerPeers, func(v *RouteServerPeer) *Tags { return &v.Tags })
	return all
}

// Resource is something with tags.
type Resource struct {
	Type string
	Tags *Tags
}

func collect[V any](all map[string]Resource, kind string, m map[string]V, tags func(V) *Tags) {
	for id, v := range m {
		all[id] = Resource{kind, tags(v)}
	}
}
