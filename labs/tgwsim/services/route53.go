package services

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// restOperation is an operation of Route 53: what its address says, by the names
// of the fields of its Input.
type restOperation struct {
	name, method string
	path         string            // below apiVersion; "{Field}" stands for one part
	query        map[string]string // parameter: field
	body         bool              // there is a document
	input        reflect.Type
	run          func(*tgwsim.Call, any) (any, error)
}

const apiVersion = "/2013-04-01/"

func rest[I, O any](name, method, path string, query map[string]string, f func(*tgwsim.Call, *I) (*O, error)) restOperation {
	return restOperation{name, method, path, query, method == http.MethodPost, reflect.TypeFor[I](), func(c *tgwsim.Call, in any) (any, error) {
		return f(c, in.(*I))
	}}
}

func route53Operations() []restOperation {
	return []restOperation{
		rest("ListHostedZonesByName", http.MethodGet, "hostedzonesbyname",
			map[string]string{"dnsname": "DNSName", "hostedzoneid": "HostedZoneId", "maxitems": "MaxItems"}, listHostedZonesByName),
		rest("GetHostedZone", http.MethodGet, "hostedzone/{Id}", nil, getHostedZone),
		rest("ListResourceRecordSets", http.MethodGet, "hostedzone/{HostedZoneId}/rrset",
			map[string]string{"name": "StartRecordName", "type": "StartRecordType", "identifier": "StartRecordIdentifier", "maxitems": "MaxItems"}, listRecords),
		rest("ChangeResourceRecordSets", http.MethodPost, "hostedzone/{HostedZoneId}/rrset", nil, changeRecords),
		rest("GetChange", http.MethodGet, "change/{Id}", nil, getChange),
	}
}

// match says whether a request is for an operation, and what its path says.
func (o restOperation) match(r *http.Request) (map[string]string, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, apiVersion)
	have, want := strings.Split(strings.TrimSuffix(rest, "/"), "/"), strings.Split(o.path, "/")
	if !ok || r.Method != o.method || len(have) != len(want) {
		return nil, false
	}
	values := map[string]string{}
	for i, part := range want {
		field, isField := strings.CutPrefix(part, "{")
		switch {
		case isField:
			values[strings.TrimSuffix(field, "}")] = have[i]
		case part != have[i]:
			return nil, false
		}
	}
	return values, true
}

// decode reads path, query and document into the operation's Input.
func (o restOperation) decode(r *http.Request, values map[string]string) (any, *wire.Error) {
	in := reflect.New(o.input)
	if o.body {
		if err := wire.Route53.DecodeXML(r.Body, o.name+"Request", in.Interface()); err != nil {
			return nil, err
		}
	}
	for name, v := range r.URL.Query() {
		field, ok := o.query[name]
		if !ok || len(v) != 1 {
			return nil, &wire.Error{Code: "UnknownParameter", Message: "The parameter " + name + " is not recognized"}
		}
		values[field] = v[0]
	}
	for field, text := range values {
		v := in.Elem().FieldByName(field)
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		if v.Kind() == reflect.String {
			v.SetString(text)
			continue
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, invalidInput("the value '" + text + "' is no number")
		}
		v.SetInt(n)
	}
	return in.Interface(), wire.Route53.Complete(in.Elem(), "")
}

// statuses are those that are not 400 [API].
var statuses = map[string]int{"NoSuchHostedZone": http.StatusNotFound, "NoSuchChange": http.StatusNotFound, "NoSuchHealthCheck": http.StatusNotFound}

// serveRoute53 answers one request.
func serveRoute53(s *tgwsim.Server, w http.ResponseWriter, r *http.Request, signed tgwsim.Scope, refused *wire.Error) {
	var o restOperation
	var values map[string]string
	for _, candidate := range route53Operations() {
		if found, ok := candidate.match(r); ok {
			o, values = candidate, found
		}
	}
	s.Answer(r.Context(), w, tgwsim.Exchange{
		Service: wire.Route53.Name, Operation: o.name, Signed: signed, Refused: refused, Words: queryWords, ContentType: "text/xml",
		Fail: wire.Route53.EncodeError,
		Act: func(c *tgwsim.Call) ([]byte, *wire.Error) {
			if o.name == "" {
				c.Violation("route53: %s %s is not emulated", r.Method, r.URL.Path)
				return nil, &wire.Error{Code: "InvalidAction", Message: "Could not find operation " + r.Method + " " + r.URL.Path, Status: http.StatusNotFound}
			}
			in, err := o.decode(r, values)
			if err != nil {
				c.Violation("%s: %s", o.name, err.Message)
				return nil, err
			}
			if err := c.Permit(wire.Route53.Name, o.name, false); err != nil {
				return nil, err
			}
			out, failed := o.run(c, in)
			if failed != nil {
				e := *tgwsim.WireError(failed)
				if status, ok := statuses[e.Code]; ok {
					e.Status = status
				}
				return nil, &e
			}
			return c.Encoded(wire.Route53, o.name, out)
		},
	})
}

func invalidInput(message string) *wire.Error {
	return &wire.Error{Code: "InvalidInput", Message: message}
}

func zoneID(id string) *string { return aws.String("/hostedzone/" + id) }

// hostedZone is a zone by its ID, with the prefix or without, as Route 53 takes it.
func hostedZone(s *world.State, id string) (*world.HostedZone, error) {
	if z := s.HostedZones[strings.TrimPrefix(id, "/hostedzone/")]; z != nil {
		return z, nil
	}
	return nil, &wire.Error{Code: "NoSuchHostedZone", Message: "No hosted zone found with ID: " + id}
}

func sdkZone(z *world.HostedZone) types.HostedZone {
	out := types.HostedZone{
		Id: zoneID(z.ID), Name: &z.Name, CallerReference: &z.CallerReference, ResourceRecordSetCount: aws.Int64(int64(len(z.Records))),
		Config: &types.HostedZoneConfig{PrivateZone: len(z.VPCIDs) > 0},
	}
	if z.Comment != "" {
		out.Config.Comment = &z.Comment
	}
	return out
}

func getHostedZone(c *tgwsim.Call, in *route53.GetHostedZoneInput) (*route53.GetHostedZoneOutput, error) {
	z, err := hostedZone(c.State, *in.Id)
	if err != nil {
		return nil, err
	}
	zone := sdkZone(z)
	out := &route53.GetHostedZoneOutput{HostedZone: &zone}
	for _, id := range z.VPCIDs {
		out.VPCs = append(out.VPCs, types.VPC{VPCId: &id, VPCRegion: types.VPCRegion(c.State.Region)})
	}
	if len(z.VPCIDs) == 0 {
		out.DelegationSet = &types.DelegationSet{NameServers: []string{"ns-1.awsdns-01.org", "ns-2.awsdns-02.net"}}
	}
	return out, nil
}

const mostZones, mostRecords = 100, 300 // of one page [API]

// pageOf is how many items one page has: as many as are asked for, the most that
// there is at most (assumed), with the fault of small pages fewer.
func pageOf(c *tgwsim.Call, asked *int32, most int32) (int, *wire.Error) {
	n := most
	if asked != nil {
		if n = min(n, *asked); n < 1 {
			return 0, invalidInput("maxitems is out of range")
		}
	}
	if forced := c.PageSize(); forced > 0 {
		return min(int(n), forced), nil
	}
	return int(n), nil
}

func listHostedZonesByName(c *tgwsim.Call, in *route53.ListHostedZonesByNameInput) (*route53.ListHostedZonesByNameOutput, error) {
	n, refusal := pageOf(c, in.MaxItems, mostZones)
	if refusal != nil {
		return nil, refusal
	}
	// By name with reversed labels, then ID [API].
	key := func(name, id string) string { return world.ReverseLabels(name) + " " + id }
	from := ""
	switch {
	case in.DNSName != nil:
		from = key(world.DNSName(*in.DNSName), aws.ToString(in.HostedZoneId))
	case in.HostedZoneId != nil: // [API]: both or none
		return nil, invalidInput("hostedzoneid needs dnsname")
	}
	zones := world.Values(c.State.HostedZones)
	slices.SortFunc(zones, func(a, b *world.HostedZone) int { return strings.Compare(key(a.Name, a.ID), key(b.Name, b.ID)) })
	zones = slices.DeleteFunc(zones, func(z *world.HostedZone) bool { return key(z.Name, z.ID) < from })
	out := &route53.ListHostedZonesByNameOutput{DNSName: in.DNSName, HostedZoneId: in.HostedZoneId, MaxItems: aws.Int32(int32(n))}
	if len(zones) > n {
		out.IsTruncated, out.NextDNSName, out.NextHostedZoneId = true, &zones[n].Name, &zones[n].ID
		zones = zones[:n]
	}
	out.HostedZones = convert(zones, sdkZone)
	return out, nil
}

func listRecords(c *tgwsim.Call, in *route53.ListResourceRecordSetsInput) (*route53.ListResourceRecordSetsOutput, error) {
	z, err := hostedZone(c.World.Snapshot(), *in.HostedZoneId) // the newest, PENDING ones too [API]
	if err != nil {
		return nil, err
	}
	n, refusal := pageOf(c, in.MaxItems, mostRecords)
	switch {
	case refusal != nil:
		return nil, refusal
	case in.StartRecordName == nil && in.StartRecordType != "", in.StartRecordType == "" && in.StartRecordIdentifier != nil: // [API]
		return nil, invalidInput("The input is not valid: a type needs a name, an identifier both")
	}
	records := z.Records
	if in.StartRecordName != nil {
		from := world.Record{Name: world.DNSName(*in.StartRecordName), Type: string(in.StartRecordType), SetID: aws.ToString(in.StartRecordIdentifier)}
		i := slices.IndexFunc(records, func(r world.Record) bool { return world.CompareRecords(r, from) >= 0 })
		if i < 0 {
			i = len(records)
		}
		records = records[i:]
	}
	out := &route53.ListResourceRecordSetsOutput{MaxItems: aws.Int32(int32(n))}
	if len(records) > n {
		next := records[n]
		out.IsTruncated, out.NextRecordName, out.NextRecordType = true, &next.Name, types.RRType(next.Type)
		if next.SetID != "" {
			out.NextRecordIdentifier = &next.SetID
		}
		records = records[:n]
	}
	out.ResourceRecordSets = convert(records, sdkRecord)
	return out, nil
}

func getChange(c *tgwsim.Call, in *route53.GetChangeInput) (*route53.GetChangeOutput, error) {
	d := c.World.Snapshot().DNSChanges[strings.TrimPrefix(*in.Id, "/change/")]
	if d == nil {
		return nil, &wire.Error{Code: "NoSuchChange", Message: "Could not find resource with ID: " + *in.Id}
	}
	return &route53.GetChangeOutput{ChangeInfo: changeInfo(*d)}, nil
}

func changeInfo(d world.DNSChange) *types.ChangeInfo {
	out := &types.ChangeInfo{Id: aws.String("/change/" + d.ID), Status: types.ChangeStatus(d.State), SubmittedAt: &d.Created}
	if d.Comment != "" {
		out.Comment = &d.Comment
	}
	return out
}
