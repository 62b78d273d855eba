package ec2api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Self reads what the instance metadata service (version 2) says of this host.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
func (c *Client) Self(ctx context.Context) (tgwconnect.Self, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	doc, err := c.imds.GetInstanceIdentityDocument(ctx, &imds.GetInstanceIdentityDocumentInput{})
	if err != nil {
		return tgwconnect.Self{}, c.fail("instance metadata", err, false)
	}
	self := tgwconnect.Self{
		InstanceID: doc.InstanceID, InstanceType: doc.InstanceType, Region: doc.Region, AZ: doc.AvailabilityZone, AccountID: doc.AccountID,
	}
	if self.AZID, err = c.metadata(ctx, "placement/availability-zone-id"); err != nil {
		return tgwconnect.Self{}, err
	}
	macs, err := c.metadata(ctx, "network/interfaces/macs/")
	if err != nil {
		return tgwconnect.Self{}, err
	}
	for _, mac := range strings.Fields(macs) {
		mac = strings.TrimSuffix(mac, "/")
		n := tgwconnect.SelfInterface{MAC: mac}
		var four, six string
		for path, to := range map[string]*string{"interface-id": &n.ID, "subnet-id": &n.SubnetID, "vpc-id": &n.VPCID, "local-ipv4s": &four, "ipv6s": &six} {
			if *to, err = c.metadata(ctx, "network/interfaces/macs/"+mac+"/"+path); err != nil {
				return tgwconnect.Self{}, err
			}
		}
		for _, a := range strings.Fields(four + "\n" + six) {
			if a := addr(&a); a.IsValid() {
				n.Addresses = append(n.Addresses, a)
			}
		}
		self.Interfaces = append(self.Interfaces, n)
	}
	return self, nil
}

// mostMetadata bounds one answer of the metadata service.
const mostMetadata = 64 << 10

// metadata reads one item; one that is not there is empty.
func (c *Client) metadata(ctx context.Context, path string) (string, error) {
	out, err := c.imds.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", c.fail("instance metadata", err, false)
	}
	defer out.Content.Close() // read only
	text, err := io.ReadAll(io.LimitReader(out.Content, mostMetadata))
	if err != nil {
		return "", c.fail("instance metadata", err, false)
	}
	return string(text), nil
}
