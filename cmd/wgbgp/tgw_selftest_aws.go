package main

import (
	"context"
	"fmt"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
	"github.com/wgbgp/wgbgp/tgwconnect/selftest"
)

// selftestAccount opens the operator's account.
func selftestAccount(ctx context.Context, region string) (selftest.API, string, error) {
	c, err := ec2api.New(ctx, ec2api.Options{Region: region})
	if err != nil {
		return nil, "", &api.Error{Code: api.CodeFailed, Text: err.Error(), Hint: "credentials and region are those of the AWS SDK, such as AWS_PROFILE and AWS_REGION"}
	}
	return account{c}, c.Region(), nil
}

// account is EC2 as the self-test asks it.
type account struct{ *ec2api.Client }

func (a account) Code(err error) string { return ec2api.Code(err) }

func single[T any](list []T, err error, what string) (T, error) {
	var none T
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%s: %d answers", what, len(list))
	}
	if err != nil {
		return none, err
	}
	return list[0], nil
}

func (a account) Attachment(ctx context.Context, id string) (tgwconnect.Attachment, error) {
	list, err := a.DescribeTransitGatewayAttachments(ctx, tgwconnect.Query{IDs: []string{id}})
	return single(list, err, id)
}

func (a account) TransitGateway(ctx context.Context, id string) (tgwconnect.TransitGateway, error) {
	list, err := a.DescribeTransitGateways(ctx, tgwconnect.Query{IDs: []string{id}})
	return single(list, err, id)
}

func (a account) Connects(ctx context.Context, transitGatewayID string) ([]tgwconnect.Connect, error) {
	return a.DescribeTransitGatewayConnects(ctx, tgwconnect.Where("transit-gateway-id", transitGatewayID))
}

func (a account) Peers(ctx context.Context, attachmentID string) ([]tgwconnect.Peer, error) {
	return a.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.Where("transit-gateway-attachment-id", attachmentID))
}

func (a account) PeersByTag(ctx context.Context, key, value string) ([]tgwconnect.Peer, error) {
	return a.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.Where("tag:"+key, value))
}

func (a account) CreateConnect(ctx context.Context, transportID string, tags tgwconnect.Tags) (tgwconnect.Connect, error) {
	return a.CreateTransitGatewayConnect(ctx, tgwconnect.NewConnect{TransportID: transportID, Tags: tags})
}

func (a account) CreatePeer(ctx context.Context, p tgwconnect.NewPeer) (tgwconnect.Peer, error) {
	return a.CreateTransitGatewayConnectPeer(ctx, p)
}

func (a account) DeletePeer(ctx context.Context, id string) error {
	return a.DeleteTransitGatewayConnectPeer(ctx, id, false)
}

func (a account) DeleteConnect(ctx context.Context, id string) error {
	return a.DeleteTransitGatewayConnect(ctx, id, false)
}

func (a account) Routes(ctx context.Context, tableID string) ([]tgwconnect.TGWRoute, error) {
	r, err := a.SearchTransitGatewayRoutes(ctx, tableID, tgwconnect.Query{})
	return r.Routes, err
}
