package services

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Quotas of one batch; an UPSERT counts twice [R53-LIM].
const mostBatch, mostCharacters = 1000, 32000

func changeRecords(c *tgwsim.Call, in *route53.ChangeResourceRecordSetsInput) (*route53.ChangeResourceRecordSetsOutput, error) {
	id := strings.TrimPrefix(*in.HostedZoneId, "/hostedzone/")
	if _, err := hostedZone(c.World.Snapshot(), id); err != nil {
		return nil, err
	}
	if len(in.ChangeBatch.Changes) == 0 { // [API], words assumed
		return nil, invalidInput("Invalid request: Missing field 'Change' in ChangeBatch")
	}
	var changes []world.RecordChange
	values, characters := 0, 0
	for _, change := range in.ChangeBatch.Changes {
		r, err := worldRecord(c, change)
		if err != nil {
			return nil, err
		}
		times := 1
		if change.Action == types.ChangeActionUpsert {
			times = 2
		}
		values += times * max(1, len(r.Values))
		characters += times * len(strings.Join(r.Values, ""))
		changes = append(changes, world.RecordChange{Action: string(change.Action), Record: r})
	}
	switch { // [R53-LIM], words assumed
	case values > mostBatch:
		return nil, &wire.Error{Code: "InvalidChangeBatch", Message: fmt.Sprintf("[Number of records limit of %d exceeded.]", mostBatch)}
	case characters > mostCharacters:
		return nil, &wire.Error{Code: "InvalidChangeBatch", Message: fmt.Sprintf("[Number of characters limit of %d exceeded.]", mostCharacters)}
	}
	done, err := c.World.ChangeRecords(id, aws.ToString(in.ChangeBatch.Comment), changes)
	if err != nil {
		return nil, err
	}
	return &route53.ChangeResourceRecordSetsOutput{ChangeInfo: changeInfo(done)}, nil
}

// worldRecord reads a resource record set and refuses what is none.
func worldRecord(c *tgwsim.Call, change types.Change) (world.Record, error) {
	in := change.ResourceRecordSet
	r := world.Record{
		Name: world.DNSName(*in.Name), Type: string(in.Type), TTL: in.TTL, SetID: aws.ToString(in.SetIdentifier), Weight: in.Weight,
		Failover: string(in.Failover), Region: string(in.Region), MultiValue: aws.ToBool(in.MultiValueAnswer), HealthCheckID: aws.ToString(in.HealthCheckId),
	}
	for _, v := range in.ResourceRecords {
		r.Values = append(r.Values, *v.Value)
	}
	if a := in.AliasTarget; a != nil {
		r.Alias = &world.Alias{ZoneID: *a.HostedZoneId, Name: world.DNSName(*a.DNSName), EvaluateHealth: a.EvaluateTargetHealth}
	}
	at := fmt.Sprintf(" in Change with [Action=%s, Name=%s, Type=%s, SetIdentifier=%s]", change.Action, *in.Name, in.Type, or(r.SetID, "null"))
	policies := 0
	for _, set := range []bool{r.Weight != nil, r.Failover != "", r.Region != "", r.MultiValue} {
		if set {
			policies++
		}
	}
	switch { // rules [API], words as reports show them or assumed
	case in.GeoLocation != nil || in.GeoProximityLocation != nil || in.CidrRoutingConfig != nil || in.TrafficPolicyInstanceId != nil:
		c.Violation("ChangeResourceRecordSets: geolocation, CIDR and traffic policies are not emulated")
		return r, invalidInput("not emulated" + at)
	case change.Action != types.ChangeActionCreate && change.Action != types.ChangeActionDelete && change.Action != types.ChangeActionUpsert:
		return r, invalidInput("Invalid request: unknown action" + at)
	case !known(in.Type):
		return r, invalidInput("Invalid request: unknown type" + at)
	case (r.Alias != nil) == (r.TTL != nil && len(r.Values) > 0), r.Alias != nil && (r.TTL != nil || len(r.Values) > 0):
		return r, invalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId]" + at)
	case r.TTL != nil && (*r.TTL < 0 || *r.TTL > 1<<31-1):
		return r, invalidInput("Invalid request: TTL is out of range" + at)
	case policies > 1, policies == 0 && r.SetID != "":
		return r, invalidInput("Invalid request: Expected exactly one of [Weight, Region, Failover, GeoLocation, MultiValueAnswer]" + at)
	case policies == 1 && r.SetID == "", len(r.SetID) > 128:
		return r, invalidInput("Invalid request: Missing field 'SetIdentifier'" + at)
	case r.Weight != nil && (*r.Weight < 0 || *r.Weight > 255):
		return r, invalidInput("Invalid request: Weight must be from 0 to 255" + at)
	case r.Failover != "" && r.Failover != "PRIMARY" && r.Failover != "SECONDARY":
		return r, invalidInput("Invalid request: unknown failover" + at)
	case r.Failover == "PRIMARY" && r.Alias == nil && r.HealthCheckID == "":
		return r, invalidInput("Invalid request: Missing field 'HealthCheckId'" + at)
	}
	return r, nil
}

func known(t types.RRType) bool {
	for _, v := range t.Values() {
		if v == t {
			return true
		}
	}
	return false
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func sdkRecord(r world.Record) types.ResourceRecordSet {
	out := types.ResourceRecordSet{
		Name: &r.Name, Type: types.RRType(r.Type), TTL: r.TTL, Weight: r.Weight, Failover: types.ResourceRecordSetFailover(r.Failover),
		Region: types.ResourceRecordSetRegion(r.Region),
	}
	if r.SetID != "" {
		out.SetIdentifier = &r.SetID
	}
	if r.HealthCheckID != "" {
		out.HealthCheckId = &r.HealthCheckID
	}
	if r.MultiValue {
		out.MultiValueAnswer = &r.MultiValue
	}
	for _, v := range r.Values {
		out.ResourceRecords = append(out.ResourceRecords, types.ResourceRecord{Value: &v})
	}
	if a := r.Alias; a != nil {
		out.AliasTarget = &types.AliasTarget{HostedZoneId: &a.ZoneID, DNSName: &a.Name, EvaluateTargetHealth: a.EvaluateHealth}
	}
	return out
}
