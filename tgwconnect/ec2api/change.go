package ec2api

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// The changes of this file may be made twice without harm, so they are tried
// again like reads.

// ModifyNetworkInterfaceAttribute sets the source/destination check of an
// interface; a gateway forwards only without it.
func (c *Client) ModifyNetworkInterfaceAttribute(ctx context.Context, interfaceID string, sourceDestCheck, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &interfaceID, SourceDestCheck: &types.AttributeBooleanValue{Value: &sourceDestCheck}, DryRun: dry(dryRun),
	})
	return repeated(c.fail("ModifyNetworkInterfaceAttribute", err, true))
}

// CreateTags adds tags to a resource, or gives them other values.
func (c *Client) CreateTags(ctx context.Context, resourceID string, t tgwconnect.Tags, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{resourceID}, Tags: sdkTags(t), DryRun: dry(dryRun)})
	return repeated(c.fail("CreateTags", err, true))
}

// DeleteTags removes tags that have the given values.
func (c *Client) DeleteTags(ctx context.Context, resourceID string, t tgwconnect.Tags, dryRun bool) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.api().DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{resourceID}, Tags: sdkTags(t), DryRun: dry(dryRun)})
	return repeated(c.fail("DeleteTags", err, true))
}

// repeated is the error of a change that was tried more than once: whatever the last
// answer says, an earlier attempt whose answer was lost may have made it.
func repeated(err error) error {
	var e *Error
	if errors.As(err, &e) && !IsUnauthorized(e) {
		e.unknown = true
	}
	return err
}

func sdkTags(t tgwconnect.Tags) []types.Tag {
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(t)) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(t[k])})
	}
	return out
}
