package tgwsim

import (
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func interfaceOperations() []Operation {
	return []Operation{
		Op("DescribeNetworkInterfaces", describeInterfaces),
		Op("ModifyNetworkInterfaceAttribute", modifyInterface),
		Op("DescribeInstances", describeInstances),
		Op("ModifyInstanceAttribute", modifyInstance),
		Op("DescribeInstanceTypes", describeInstanceTypes),
	}
}

func describeInterfaces(c *Call, in *ec2.DescribeNetworkInterfacesInput) (*ec2.DescribeNetworkInterfacesOutput, error) {
	if len(in.NetworkInterfaceIds) == 0 && len(in.Filters) == 0 && in.MaxResults == nil {
		if err := c.takeUnfiltered(); err != nil {
			return nil, err
		}
	}
	l := listing[*world.Interface]{
		notFound: "InvalidNetworkInterfaceID.NotFound", // [TF-PEER]
		id:       func(n *world.Interface) string { return n.ID },
		tags:     func(n *world.Interface) world.Tags { return n.Tags },
		filters: map[string]func(*world.Interface) []string{ // [API]
			"addresses.private-ip-address": func(n *world.Interface) []string { return addresses(n, netip.Addr.Is4) },
			"private-ip-address":           func(n *world.Interface) []string { return addresses(n, netip.Addr.Is4) },
			"ipv6-addresses.ipv6-address":  func(n *world.Interface) []string { return addresses(n, netip.Addr.Is6) },
			"attachment.instance-id":       func(n *world.Interface) []string { return value(n.InstanceID) },
			"group-id":                     func(n *world.Interface) []string { return n.GroupIDs },
			"mac-address":                  func(n *world.Interface) []string { return value(n.MAC) },
			"network-interface-id":         func(n *world.Interface) []string { return value(n.ID) },
			"subnet-id":                    func(n *world.Interface) []string { return value(n.SubnetID) },
			"vpc-id":                       func(n *world.Interface) []string { return value(n.VPCID) },
		},
	}
	found, token, err := find(c, l, c.State.Interfaces, query{in.NetworkInterfaceIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeNetworkInterfacesOutput{NetworkInterfaces: convert(found, c.networkInterface), NextToken: token}, err
}

func addresses(n *world.Interface, keep func(netip.Addr) bool) (texts []string) {
	for _, a := range n.Addresses {
		if keep(a) {
			texts = append(texts, a.String())
		}
	}
	return texts
}

func (c *Call) networkInterface(n *world.Interface) types.NetworkInterface {
	out := types.NetworkInterface{
		NetworkInterfaceId: ptr(n.ID), VpcId: ptr(n.VPCID), SubnetId: ptr(n.SubnetID), OwnerId: ptr(c.State.AccountID), MacAddress: some(n.MAC),
		SourceDestCheck: ptr(n.SourceDestCheck), InterfaceType: types.NetworkInterfaceTypeInterface, Status: types.NetworkInterfaceStatusAvailable, TagSet: sdkTags(n.Tags),
		Groups: c.groups(n.GroupIDs),
	}
	if s := c.State.Subnets[n.SubnetID]; s != nil {
		out.AvailabilityZone, out.AvailabilityZoneId = ptr(s.AZ), ptr(s.AZID)
	}
	for i, a := range n.Addresses {
		switch {
		case a.Is6():
			if out.Ipv6Address == nil {
				out.Ipv6Address = address(a)
			}
			out.Ipv6Addresses = append(out.Ipv6Addresses, types.NetworkInterfaceIpv6Address{Ipv6Address: address(a)})
		case i == 0:
			out.PrivateIpAddress = address(a)
			if n.PublicIP.IsValid() {
				out.Association = &types.NetworkInterfaceAssociation{PublicIp: address(n.PublicIP), IpOwnerId: ptr(c.State.AccountID)}
			}
			fallthrough
		default:
			p := types.NetworkInterfacePrivateIpAddress{PrivateIpAddress: address(a), Primary: ptr(i == 0)}
			if i == 0 {
				p.Association = out.Association
			}
			out.PrivateIpAddresses = append(out.PrivateIpAddresses, p)
		}
	}
	if n.TCPEstablishedTimeout != 0 || n.UDPTimeout != 0 || n.UDPStreamTimeout != 0 {
		out.ConnectionTrackingConfiguration = &types.ConnectionTrackingConfiguration{
			TcpEstablishedTimeout: seconds(n.TCPEstablishedTimeout), UdpTimeout: seconds(n.UDPTimeout), UdpStreamTimeout: seconds(n.UDPStreamTimeout),
		}
	}
	if n.InstanceID != "" {
		out.Status = types.NetworkInterfaceStatusInUse
		out.Attachment = &types.NetworkInterfaceAttachment{
			InstanceId: ptr(n.InstanceID), InstanceOwnerId: ptr(c.State.AccountID), DeviceIndex: ptr(n.DeviceIndex),
			AttachmentId: ptr("eni-attach-" + n.ID), Status: types.AttachmentStatusAttached,
			EnaSrdSpecification: &types.AttachmentEnaSrdSpecification{
				EnaSrdEnabled: ptr(n.ENASRD), EnaSrdUdpSpecification: &types.AttachmentEnaSrdUdpSpecification{EnaSrdUdpEnabled: ptr(n.ENASRDUDP)},
			},
		}
	}
	return out
}

func seconds(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

func (c *Call) groups(ids []string) []types.GroupIdentifier {
	return convert(ids, func(id string) types.GroupIdentifier {
		g := types.GroupIdentifier{GroupId: ptr(id)}
		if sg := c.State.SecurityGroups[id]; sg != nil {
			g.GroupName = ptr(sg.Name)
		}
		return g
	})
}

// modifyInterface changes one attribute; several in one call are an error [API].
func modifyInterface(c *Call, in *ec2.ModifyNetworkInterfaceAttributeInput) (*ec2.ModifyNetworkInterfaceAttributeOutput, error) {
	change := world.InterfaceChange{GroupIDs: in.Groups}
	attributes := 0
	if in.SourceDestCheck != nil {
		attributes++
		change.SourceDestCheck = in.SourceDestCheck.Value
	}
	if t := in.ConnectionTrackingSpecification; t != nil {
		attributes++
		change.TCPEstablishedTimeout, change.UDPTimeout, change.UDPStreamTimeout = t.TcpEstablishedTimeout, t.UdpTimeout, t.UdpStreamTimeout
	}
	if e := in.EnaSrdSpecification; e != nil {
		attributes++
		change.ENASRD = e.EnaSrdEnabled
		if e.EnaSrdUdpSpecification != nil {
			change.ENASRDUDP = e.EnaSrdUdpSpecification.EnaSrdUdpEnabled
		}
	}
	if in.Groups != nil {
		attributes++
	}
	if in.AssociatePublicIpAddress != nil || in.AssociatedSubnetIds != nil || in.Attachment != nil || in.Description != nil || in.EnablePrimaryIpv6 != nil {
		c.Violation("ModifyNetworkInterfaceAttribute: an attribute that is not emulated")
		return nil, &wire.Error{Code: "UnsupportedOperation", Message: "tgwsim does not emulate this attribute"}
	}
	if attributes != 1 {
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "Exactly one attribute must be given"}
	}
	if err := c.World.ModifyInterface(text(in.NetworkInterfaceId), change); err != nil {
		return nil, err
	}
	return &ec2.ModifyNetworkInterfaceAttributeOutput{}, nil
}

func describeInstances(c *Call, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	if len(in.InstanceIds) == 0 && len(in.Filters) == 0 && in.MaxResults == nil {
		if err := c.takeUnfiltered(); err != nil {
			return nil, err
		}
	}
	if len(in.InstanceIds) > 0 && in.MaxResults != nil { // [API]
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "The parameter instancesSet cannot be used with the parameter maxResults"}
	}
	l := listing[*world.Instance]{
		notFound: "InvalidInstanceID.NotFound", // [ERR]
		id:       func(i *world.Instance) string { return i.ID },
		tags:     func(i *world.Instance) world.Tags { return i.Tags },
		filters: map[string]func(*world.Instance) []string{
			"instance-id":         func(i *world.Instance) []string { return value(i.ID) },
			"instance-state-name": func(i *world.Instance) []string { return value(i.State) },
			"instance-type":       func(i *world.Instance) []string { return value(i.Type) },
			"subnet-id":           func(i *world.Instance) []string { return value(i.SubnetID) },
			"vpc-id":              func(i *world.Instance) []string { return value(i.VPCID) },
		},
	}
	found, token, err := find(c, l, c.State.Instances, query{in.InstanceIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeInstancesOutput{NextToken: token, Reservations: convert(found, func(i *world.Instance) types.Reservation {
		return types.Reservation{ReservationId: ptr("r-" + i.ID), OwnerId: ptr(c.State.AccountID), Instances: []types.Instance{c.instance(i)}}
	})}, err
}

// stateCodes are the low bytes of instance states [API, InstanceState].
var stateCodes = map[string]int32{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

func (c *Call) instance(i *world.Instance) types.Instance {
	out := types.Instance{
		InstanceId: ptr(i.ID), InstanceType: types.InstanceType(i.Type), VpcId: ptr(i.VPCID), SubnetId: ptr(i.SubnetID), Tags: sdkTags(i.Tags),
		State: &types.InstanceState{Name: types.InstanceStateName(i.State), Code: ptr(stateCodes[i.State])},
		MetadataOptions: &types.InstanceMetadataOptionsResponse{
			State: types.InstanceMetadataOptionsStateApplied, HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
			HttpTokens: types.HttpTokensState(i.MetadataTokens), HttpPutResponseHopLimit: ptr(i.HopLimit),
		},
	}
	if s := c.State.Subnets[i.SubnetID]; s != nil {
		out.Placement = &types.Placement{AvailabilityZone: ptr(s.AZ), AvailabilityZoneId: ptr(s.AZID), Tenancy: types.TenancyDefault}
	}
	for at, id := range i.InterfaceIDs {
		n := c.State.Interfaces[id]
		if n == nil {
			continue
		}
		full := c.networkInterface(n)
		if at == 0 {
			out.PrivateIpAddress, out.PublicIpAddress, out.Ipv6Address = full.PrivateIpAddress, address(n.PublicIP), full.Ipv6Address
			out.SourceDestCheck, out.SecurityGroups = full.SourceDestCheck, full.Groups
		}
		out.NetworkInterfaces = append(out.NetworkInterfaces, types.InstanceNetworkInterface{
			NetworkInterfaceId: full.NetworkInterfaceId, VpcId: full.VpcId, SubnetId: full.SubnetId, MacAddress: full.MacAddress, OwnerId: full.OwnerId,
			PrivateIpAddress: full.PrivateIpAddress, SourceDestCheck: full.SourceDestCheck, Groups: full.Groups, Status: full.Status,
			PrivateIpAddresses: convert(full.PrivateIpAddresses, func(p types.NetworkInterfacePrivateIpAddress) types.InstancePrivateIpAddress {
				return types.InstancePrivateIpAddress{PrivateIpAddress: p.PrivateIpAddress, Primary: p.Primary}
			}),
			Ipv6Addresses: convert(full.Ipv6Addresses, func(p types.NetworkInterfaceIpv6Address) types.InstanceIpv6Address {
				return types.InstanceIpv6Address{Ipv6Address: p.Ipv6Address}
			}),
			Attachment: &types.InstanceNetworkInterfaceAttachment{DeviceIndex: ptr(n.DeviceIndex), Status: types.AttachmentStatusAttached},
		})
	}
	return out
}

func modifyInstance(c *Call, in *ec2.ModifyInstanceAttributeInput) (*ec2.ModifyInstanceAttributeOutput, error) {
	if in.SourceDestCheck == nil || in.SourceDestCheck.Value == nil {
		c.Violation("ModifyInstanceAttribute: an attribute that is not emulated")
		return nil, &wire.Error{Code: "UnsupportedOperation", Message: "tgwsim emulates SourceDestCheck only"}
	}
	if err := c.World.ModifyInstanceSourceDestCheck(text(in.InstanceId), *in.SourceDestCheck.Value); err != nil {
		return nil, err
	}
	return &ec2.ModifyInstanceAttributeOutput{}, nil
}

func describeInstanceTypes(c *Call, in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
	l := listing[*world.InstanceType]{
		notFound: "InvalidInstanceType", // [ERR]
		most:     100,                   // [API]
		id:       func(t *world.InstanceType) string { return t.Name },
		filters: map[string]func(*world.InstanceType) []string{
			"instance-type": func(t *world.InstanceType) []string { return value(t.Name) },
		},
	}
	ids := convert(in.InstanceTypes, func(t types.InstanceType) string { return string(t) })
	found, token, err := find(c, l, c.State.InstanceTypes, query{ids, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeInstanceTypesOutput{NextToken: token, InstanceTypes: convert(found, func(t *world.InstanceType) types.InstanceTypeInfo {
		card := types.NetworkCardInfo{NetworkCardIndex: ptr(int32(0)), MaximumNetworkInterfaces: ptr(t.MaxInterfaces)}
		if t.BaselineGbps != 0 {
			card.BaselineBandwidthInGbps, card.PeakBandwidthInGbps = ptr(t.BaselineGbps), ptr(t.PeakGbps)
		}
		return types.InstanceTypeInfo{
			InstanceType: types.InstanceType(t.Name), VCpuInfo: &types.VCpuInfo{DefaultVCpus: ptr(t.VCPUs)},
			NetworkInfo: &types.NetworkInfo{
				MaximumNetworkInterfaces: ptr(t.MaxInterfaces), MaximumNetworkCards: ptr(int32(1)), NetworkCards: []types.NetworkCardInfo{card},
				EnaSupport: types.EnaSupportRequired, Ipv6Supported: ptr(true),
			},
		}
	})}, err
}
