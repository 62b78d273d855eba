package ec2api

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// DescribeNetworkInterfaces lists elastic network interfaces.
func (c *Client) DescribeNetworkInterfaces(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Interface, error) {
	return list(ctx, c, "DescribeNetworkInterfaces", networkInterface, func(ctx context.Context, token *string) ([]types.NetworkInterface, *string, error) {
		out, err := c.api().DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		return out.NetworkInterfaces, out.NextToken, nil
	})
}

func networkInterface(n *types.NetworkInterface) tgwconnect.Interface {
	t := tgwconnect.Interface{
		ID: str(n.NetworkInterfaceId), VPCID: str(n.VpcId), SubnetID: str(n.SubnetId), AZ: str(n.AvailabilityZone), MAC: str(n.MacAddress),
		SourceDestCheck: aws.ToBool(n.SourceDestCheck), Status: string(n.Status), Tags: tags(n.TagSet),
	}
	if a := n.Attachment; a != nil {
		t.InstanceID, t.DeviceIndex = str(a.InstanceId), int(aws.ToInt32(a.DeviceIndex))
	}
	if n.Association != nil {
		t.PublicIP = addr(n.Association.PublicIp)
	}
	if a := addr(n.PrivateIpAddress); a.IsValid() {
		t.Addresses = append(t.Addresses, a)
	}
	for _, p := range n.PrivateIpAddresses {
		if a := addr(p.PrivateIpAddress); a.IsValid() && !slices.Contains(t.Addresses, a) {
			t.Addresses = append(t.Addresses, a)
		}
	}
	for _, p := range n.Ipv6Addresses {
		if a := addr(p.Ipv6Address); a.IsValid() {
			t.Addresses = append(t.Addresses, a)
		}
	}
	for _, g := range n.Groups {
		t.GroupIDs = append(t.GroupIDs, str(g.GroupId))
	}
	if k := n.ConnectionTrackingConfiguration; k != nil {
		t.UDPTimeout, t.UDPStreamTimeout, t.TCPEstablishedTimeout = seconds(k.UdpTimeout), seconds(k.UdpStreamTimeout), seconds(k.TcpEstablishedTimeout)
	}
	return t
}

func seconds(n *int32) time.Duration { return time.Duration(aws.ToInt32(n)) * time.Second }

// DescribeInstances lists instances.
func (c *Client) DescribeInstances(ctx context.Context, q tgwconnect.Query) ([]tgwconnect.Instance, error) {
	return list(ctx, c, "DescribeInstances", instance, func(ctx context.Context, token *string) ([]types.Instance, *string, error) {
		out, err := c.api().DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: q.IDs, Filters: filters(q), MaxResults: c.pageSize(q), NextToken: token})
		if err != nil {
			return nil, nil, err
		}
		var all []types.Instance
		for _, r := range out.Reservations {
			all = append(all, r.Instances...)
		}
		return all, out.NextToken, nil
	})
}

func instance(i *types.Instance) tgwconnect.Instance {
	t := tgwconnect.Instance{ID: str(i.InstanceId), Type: string(i.InstanceType), VPCID: str(i.VpcId), SubnetID: str(i.SubnetId), Tags: tags(i.Tags)}
	if i.State != nil {
		t.State = string(i.State.Name)
	}
	if i.Placement != nil {
		t.AZ = str(i.Placement.AvailabilityZone)
	}
	for _, n := range i.NetworkInterfaces {
		t.InterfaceIDs = append(t.InterfaceIDs, str(n.NetworkInterfaceId))
	}
	if m := i.MetadataOptions; m != nil {
		t.MetadataTokens, t.MetadataHopLimit = string(m.HttpTokens), int(aws.ToInt32(m.HttpPutResponseHopLimit))
	}
	return t
}

// DescribeInstanceTypes tells of the network of the types that are named.
func (c *Client) DescribeInstanceTypes(ctx context.Context, names ...string) ([]tgwconnect.InstanceType, error) {
	return list(ctx, c, "DescribeInstanceTypes", instanceType, func(ctx context.Context, token *string) ([]types.InstanceTypeInfo, *string, error) {
		in := &ec2.DescribeInstanceTypesInput{NextToken: token}
		for _, n := range names {
			in.InstanceTypes = append(in.InstanceTypes, types.InstanceType(n))
		}
		if len(names) == 0 {
			in.MaxResults = aws.Int32(min(c.o.PageSize, 100)) // [API]: 5 to 100
		}
		out, err := c.api().DescribeInstanceTypes(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		return out.InstanceTypes, out.NextToken, nil
	})
}

func instanceType(i *types.InstanceTypeInfo) tgwconnect.InstanceType {
	t := tgwconnect.InstanceType{Name: string(i.InstanceType)}
	if n := i.NetworkInfo; n != nil {
		t.MaxInterfaces = int(aws.ToInt32(n.MaximumNetworkInterfaces))
		for _, card := range n.NetworkCards {
			t.BaselineGbps += aws.ToFloat64(card.BaselineBandwidthInGbps)
			t.PeakGbps += aws.ToFloat64(card.PeakBandwidthInGbps)
		}
	}
	return t
}
