package ec2api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// balancers is a client of the region that a target group's ARN names. It is made
// for each call: what Client held would be linked whole, see api.
func (c *Client) balancers(group string) *elb.Client {
	return elb.NewFromConfig(c.cfg, func(o *elb.Options) { o.Region = regionOf(group, o.Region) })
}

// DescribeTargetHealth lists all targets of a target group, which is named by its ARN.
func (c *Client) DescribeTargetHealth(ctx context.Context, group string) ([]tgwconnect.TargetHealth, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	out, err := c.balancers(group).DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
	if err != nil {
		return nil, c.fail("DescribeTargetHealth", err, false)
	}
	list := make([]tgwconnect.TargetHealth, 0, len(out.TargetHealthDescriptions))
	for _, d := range out.TargetHealthDescriptions {
		t := tgwconnect.TargetHealth{Group: group}
		if x := d.Target; x != nil {
			t.ID, t.AZ, t.Port = str(x.Id), str(x.AvailabilityZone), int(aws.ToInt32(x.Port))
		}
		if x := d.TargetHealth; x != nil {
			t.State, t.Reason, t.Detail = string(x.State), string(x.Reason), str(x.Description)
		}
		list = append(list, t)
	}
	return list, nil
}

// RegisterTargets makes an instance or an address a target of a target group. Made
// twice it changes nothing, so it is tried again like a read.
func (c *Client) RegisterTargets(ctx context.Context, group, id string, port int) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.balancers(group).RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: target(id, port)})
	return repeated(c.fail("RegisterTargets", err, true))
}

// DeregisterTargets takes that back, for this port only.
func (c *Client) DeregisterTargets(ctx context.Context, group, id string, port int) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	_, err := c.balancers(group).DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &group, Targets: target(id, port)})
	return repeated(c.fail("DeregisterTargets", err, true))
}

// target names one target. Without the port every registration of it would be meant.
func target(id string, port int) []types.TargetDescription {
	return []types.TargetDescription{{Id: &id, Port: aws.Int32(int32(port))}} // at most 65535
}
