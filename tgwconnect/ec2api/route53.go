package ec2api

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// zones is a client of Route 53, which is one for all regions; see balancers.
func (c *Client) zones() *route53.Client { return route53.NewFromConfig(c.cfg) }

// ListResourceRecordSets lists the records of a hosted zone that have exactly this
// name, of all types and set identifiers.
func (c *Client) ListResourceRecordSets(ctx context.Context, zone, name string) ([]tgwconnect.RecordSet, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	var list []tgwconnect.RecordSet
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: &zone, StartRecordName: &name}
	for range mostPages {
		out, err := c.zones().ListResourceRecordSets(ctx, in)
		if err != nil {
			return nil, c.fail("ListResourceRecordSets", err, false)
		}
		for i := range out.ResourceRecordSets {
			s := recordSet(&out.ResourceRecordSets[i])
			if s.Name != name { // they come in the order of names
				return list, nil
			}
			list = append(list, s)
		}
		if !out.IsTruncated {
			return list, nil
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
	}
	return nil, errors.New("ListResourceRecordSets: too many pages")
}

// ChangeResourceRecordSets makes all changes or none. Who lost its answer must look
// before it asks again.
func (c *Client) ChangeResourceRecordSets(ctx context.Context, zone string, changes []tgwconnect.RecordChange) error {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	batch := &types.ChangeBatch{Comment: aws.String("wgbgp")}
	for i := range changes {
		x := types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: sdkRecordSet(&changes[i].Set)}
		if changes[i].Delete {
			x.Action = types.ChangeActionDelete
		}
		batch.Changes = append(batch.Changes, x)
	}
	_, err := c.zones().ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: batch},
		func(o *route53.Options) { o.Retryer = c.retryer(true) })
	return c.fail("ChangeResourceRecordSets", err, true)
}

func recordSet(s *types.ResourceRecordSet) tgwconnect.RecordSet {
	out := tgwconnect.RecordSet{
		Name: strings.ToLower(strings.TrimSuffix(str(s.Name), ".")), Type: string(s.Type), SetID: str(s.SetIdentifier),
		TTL: aws.ToInt64(s.TTL), HealthCheck: str(s.HealthCheckId),
	}
	switch {
	case s.Weight != nil:
		out.Policy, out.Weight = tgwconnect.PolicyWeighted, *s.Weight
	case s.Failover != "":
		out.Policy, out.Secondary = tgwconnect.PolicyFailover, s.Failover == types.ResourceRecordSetFailoverSecondary
	case aws.ToBool(s.MultiValueAnswer):
		out.Policy = tgwconnect.PolicyMultivalue
	case out.SetID != "":
		out.Policy = tgwconnect.PolicyOther
	}
	for _, v := range s.ResourceRecords {
		out.Values = append(out.Values, str(v.Value))
	}
	switch {
	case s.AliasTarget != nil:
		out.Other = "an alias target"
	case s.GeoLocation != nil || s.GeoProximityLocation != nil || s.Region != "" || s.CidrRoutingConfig != nil:
		out.Other = "a routing policy by location"
	case s.TrafficPolicyInstanceId != nil:
		out.Other = "a traffic policy"
	}
	return out
}

func sdkRecordSet(s *tgwconnect.RecordSet) *types.ResourceRecordSet {
	out := &types.ResourceRecordSet{
		Name: aws.String(s.Name + "."), Type: types.RRType(s.Type), SetIdentifier: optional(s.SetID), TTL: aws.Int64(s.TTL), HealthCheckId: optional(s.HealthCheck),
	}
	switch s.Policy {
	case tgwconnect.PolicyWeighted:
		out.Weight = aws.Int64(s.Weight)
	case tgwconnect.PolicyFailover:
		out.Failover = types.ResourceRecordSetFailoverPrimary
		if s.Secondary {
			out.Failover = types.ResourceRecordSetFailoverSecondary
		}
	case tgwconnect.PolicyMultivalue:
		out.MultiValueAnswer = aws.Bool(true)
	}
	for _, v := range s.Values {
		out.ResourceRecords = append(out.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
	}
	return out
}
