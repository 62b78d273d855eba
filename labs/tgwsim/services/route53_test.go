package services_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// naming is a lab with a client of Route 53.
type naming struct {
	*lab
	api *route53.Client
}

func newNaming(t *testing.T) *naming {
	l := newLab(t)
	return &naming{l, route53.NewFromConfig(l.cfg)}
}

// record is "NAME TYPE VALUE..." with a TTL of 60 s; "@SET/WEIGHT" at the end makes
// it weighted.
func record(text string) types.ResourceRecordSet {
	text, set, weighted := strings.Cut(text, " @")
	f := strings.Fields(text)
	r := types.ResourceRecordSet{Name: &f[0], Type: types.RRType(f[1]), TTL: aws.Int64(60)}
	for _, v := range f[2:] {
		r.ResourceRecords = append(r.ResourceRecords, types.ResourceRecord{Value: &v})
	}
	if weighted {
		id, weight, _ := strings.Cut(set, "/")
		var n int64
		fmt.Sscan(weight, &n)
		r.SetIdentifier, r.Weight = &id, &n
	}
	return r
}

// change makes a batch of "ACTION record"; alter may change the first.
func (n *naming) change(alter func(*types.ResourceRecordSet), changes ...string) (*types.ChangeInfo, error) {
	batch := &types.ChangeBatch{Comment: aws.String("a test")}
	for i, text := range changes {
		action, rest, _ := strings.Cut(text, " ")
		r := record(rest)
		if i == 0 && alter != nil {
			alter(&r)
		}
		batch.Changes = append(batch.Changes, types.Change{Action: types.ChangeAction(action), ResourceRecordSet: &r})
	}
	out, err := n.api.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &n.Zone, ChangeBatch: batch})
	if err != nil {
		return nil, err
	}
	return out.ChangeInfo, nil
}

// records are those of the zone besides its own, "NAME TYPE VALUE" each.
func (n *naming) records(t *testing.T) string {
	t.Helper()
	var found []string
	p := route53.NewListResourceRecordSetsPaginator(n.api, &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String("/hostedzone/" + n.Zone)})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.ResourceRecordSets {
			if r.Type == types.RRTypeNs || r.Type == types.RRTypeSoa {
				continue
			}
			text := *r.Name + " " + string(r.Type)
			for _, v := range r.ResourceRecords {
				text += " " + *v.Value
			}
			if r.SetIdentifier != nil {
				text += fmt.Sprintf(" @%s/%d", *r.SetIdentifier, *r.Weight)
			}
			found = append(found, text)
		}
	}
	return strings.Join(found, ", ")
}

func TestABatchIsMadeAsAWholeOrNotAtAll(t *testing.T) {
	n := newNaming(t)
	n.World().Do(func(s *world.State) { s.Delays.DNS = 30 * time.Second })
	info, err := n.change(nil, "CREATE vpn.Example.net A 198.51.100.10 @gw1/10", "UPSERT vpn.example.net A 198.51.100.11 @gw2/0", `CREATE *.example.net TXT "owner"`)
	if err != nil || info.Status != types.ChangeStatusPending {
		t.Fatalf("%v %+v", err, info)
	}
	after := `\052.example.net. TXT "owner", vpn.example.net. A 198.51.100.10 @gw1/10, vpn.example.net. A 198.51.100.11 @gw2/0`
	if got := n.records(t); got != after {
		t.Errorf("got %s, want %s", got, after)
	}
	_, err = n.change(nil, "DELETE vpn.example.net A 198.51.100.10 @gw1/10", "CREATE vpn.example.net A 198.51.100.9 @gw2/0")
	if want := "[Tried to create resource record set [name='vpn.example.net.', type='A', set-identifier='gw2'] but it already exists]"; code(err) != "InvalidChangeBatch" || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := n.records(t); got != after {
		t.Errorf("after a refused batch: got %s, want %s", got, after)
	}
	for _, want := range []types.ChangeStatus{types.ChangeStatusPending, types.ChangeStatusInsync} {
		got, err := n.api.GetChange(ctx, &route53.GetChangeInput{Id: info.Id})
		if err != nil || got.ChangeInfo.Status != want {
			t.Errorf("GetChange: %v %+v, want %s", err, got, want)
		}
		n.pass(31 * time.Second)
	}
	if _, err := n.change(nil, "DELETE vpn.example.net A 198.51.100.10 @gw1/10", "CREATE vpn.example.net A 198.51.100.12 @gw1/0"); err != nil {
		t.Errorf("deleted and made anew in one batch: %v", err)
	}
}

func TestWhatABatchMayNotHold(t *testing.T) {
	n := newNaming(t)
	if _, err := n.change(nil, "CREATE vpn.example.net A 198.51.100.10 @gw1/10", "CREATE plain.example.net A 198.51.100.10 198.51.100.11"); err != nil {
		t.Fatal(err)
	}
	const batch, input = "InvalidChangeBatch", "InvalidInput"
	for name, try := range map[string]struct {
		alter   func(*types.ResourceRecordSet)
		changes []string
		want    string
	}{
		"delete with another weight":      {nil, []string{"DELETE vpn.example.net A 198.51.100.10 @gw1/11"}, batch},
		"delete with another value":       {nil, []string{"DELETE vpn.example.net A 198.51.100.11 @gw1/10"}, batch},
		"delete with another TTL":         {func(r *types.ResourceRecordSet) { r.TTL = aws.Int64(61) }, []string{"DELETE vpn.example.net A 198.51.100.10 @gw1/10"}, batch},
		"delete of one of two values":     {nil, []string{"DELETE plain.example.net A 198.51.100.10"}, batch},
		"delete with another identifier":  {nil, []string{"DELETE vpn.example.net A 198.51.100.10 @gw2/10"}, batch},
		"delete twice":                    {nil, []string{"DELETE vpn.example.net A 198.51.100.10 @gw1/10", "DELETE vpn.example.net A 198.51.100.10 @gw1/10"}, batch},
		"another zone's name":             {nil, []string{"CREATE vpn.example.org A 198.51.100.10"}, batch},
		"simple beside weighted":          {nil, []string{"CREATE vpn.example.net A 198.51.100.10"}, batch},
		"CNAME beside A":                  {nil, []string{"CREATE plain.example.net CNAME vpn.example.net"}, batch},
		"CNAME of the zone itself":        {nil, []string{"CREATE example.net CNAME vpn.example.net"}, batch},
		"no address":                      {nil, []string{"CREATE a.example.net A 198.51.100.300"}, batch},
		"IPv4 as AAAA":                    {nil, []string{"CREATE a.example.net AAAA 198.51.100.30"}, batch},
		"text without quotation marks":    {nil, []string{"CREATE a.example.net TXT owner"}, batch},
		"the zone's NS":                   {func(r *types.ResourceRecordSet) { r.TTL = aws.Int64(172800) }, []string{"DELETE example.net NS ns-1.awsdns-01.org. ns-2.awsdns-02.net."}, batch},
		"no values":                       {nil, []string{"CREATE a.example.net A"}, input},
		"no TTL":                          {func(r *types.ResourceRecordSet) { r.TTL = nil }, []string{"CREATE a.example.net A 198.51.100.1"}, input},
		"an identifier and no policy":     {func(r *types.ResourceRecordSet) { r.SetIdentifier = aws.String("x") }, []string{"CREATE a.example.net A 198.51.100.1"}, input},
		"a weight and no identifier":      {func(r *types.ResourceRecordSet) { r.Weight = aws.Int64(1) }, []string{"CREATE a.example.net A 198.51.100.1"}, input},
		"a weight out of range":           {nil, []string{"CREATE a.example.net A 198.51.100.1 @x/256"}, input},
		"an unknown action":               {nil, []string{"REPLACE a.example.net A 198.51.100.1"}, input},
		"an unknown health check":         {func(r *types.ResourceRecordSet) { r.HealthCheckId = aws.String("h") }, []string{"CREATE a.example.net A 198.51.100.1 @x/1"}, "NoSuchHealthCheck"},
		"a failover without health check": {func(r *types.ResourceRecordSet) { r.Failover, r.SetIdentifier = "PRIMARY", aws.String("x") }, []string{"CREATE a.example.net A 198.51.100.1"}, input},
	} {
		if _, err := n.change(try.alter, try.changes...); code(err) != try.want {
			t.Errorf("%s: got %v, want %s", name, err, try.want)
		}
	}
	if got, want := n.records(t), "plain.example.net. A 198.51.100.10 198.51.100.11, vpn.example.net. A 198.51.100.10 @gw1/10"; got != want {
		t.Errorf("after all that was refused: got %s, want %s", got, want)
	}
	if _, err := n.change(nil, "DELETE plain.example.net A 198.51.100.11 198.51.100.10"); err != nil {
		t.Errorf("values in another order: %v", err)
	}
	n.Zone = "ZNONE"
	if _, err := n.change(nil, "DELETE vpn.example.net A 198.51.100.10"); code(err) != "NoSuchHostedZone" {
		t.Errorf("unknown zone: got %v", err)
	}
	if _, err := n.api.GetChange(ctx, &route53.GetChangeInput{Id: aws.String("C1")}); code(err) != "NoSuchChange" {
		t.Errorf("unknown change: got %v", err)
	}
}

func TestAChangeKeepsOthersFromItsZoneForAWhile(t *testing.T) {
	n := newNaming(t)
	n.World().Do(func(s *world.State) { s.Delays.Zone = time.Second })
	if _, err := n.change(nil, "UPSERT a.example.net A 198.51.100.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.change(nil, "UPSERT b.example.net A 198.51.100.1"); code(err) != "PriorRequestNotComplete" {
		t.Errorf("at once: got %v", err)
	}
	n.pass(2 * time.Second)
	if _, err := n.change(nil, "UPSERT b.example.net A 198.51.100.1"); err != nil {
		t.Errorf("later: got %v", err)
	}
}

func TestRecordsAndZonesComeInOrderAndPages(t *testing.T) {
	n := newNaming(t)
	if _, err := n.change(nil, "CREATE b.example.net A 192.0.2.1", "CREATE a.b.example.net A 192.0.2.1", "CREATE a.example.net AAAA 2001:db8::1",
		"CREATE a.example.net A 192.0.2.1 @two/1", "CREATE a.example.net A 192.0.2.1 @one/1"); err != nil {
		t.Fatal(err)
	}
	want := "a.example.net. A 192.0.2.1 @one/1, a.example.net. A 192.0.2.1 @two/1, a.example.net. AAAA 2001:db8::1, b.example.net. A 192.0.2.1, a.b.example.net. A 192.0.2.1"
	for _, size := range []int{0, 1, 2, 3} {
		n.SetFaults(tgwsim.Faults{PageSize: size})
		if got := n.records(t); got != want {
			t.Errorf("pages of %d: got %s, want %s", size, got, want)
		}
	}
	_, err := n.api.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: &n.Zone, StartRecordType: "A"})
	if code(err) != "InvalidInput" {
		t.Errorf("a type without a name: got %v", err)
	}
	n.World().Do(func(s *world.State) {
		s.HostedZones["Z1"] = world.NewZone("Z1", "example.net")
		s.HostedZones["Z1"].VPCIDs = []string{n.VPC}
		s.HostedZones["Z2"] = world.NewZone("Z2", "alpha.org")
	})
	n.SetFaults(tgwsim.Faults{PageSize: 2})
	out, err := n.api.ListHostedZonesByName(ctx, &route53.ListHostedZonesByNameInput{DNSName: aws.String("example.net")})
	if err != nil || *out.HostedZones[0].Id != "/hostedzone/"+n.Zone || !out.HostedZones[1].Config.PrivateZone || !out.IsTruncated || *out.NextHostedZoneId != "Z2" {
		t.Errorf("zones: %v %+v", err, out)
	}
	if z, err := n.api.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: out.HostedZones[0].Id}); err != nil || *z.HostedZone.ResourceRecordSetCount != 7 {
		t.Errorf("zone: %v %+v", err, z)
	}
}

func TestRoute53TakesFiveRequestsASecond(t *testing.T) {
	n := newNaming(t)
	n.SetFaults(tgwsim.Faults{Throttle: tgwsim.AWSThrottle()})
	passed := 0
	for range 20 {
		if _, err := n.api.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: &n.Zone}); code(err) == "" {
			passed++
		} else if code(err) != "Throttling" {
			t.Fatal(err)
		}
	}
	if passed != 5 {
		t.Errorf("%d of 20 at once passed, want 5", passed)
	}
	n.SetFaults(tgwsim.Faults{})
	n.World().Do(func(s *world.State) { s.Denied["route53:ChangeResourceRecordSets"] = true })
	if _, err := n.change(nil, "UPSERT a.example.net A 192.0.2.1"); code(err) != "AccessDenied" {
		t.Errorf("denied: got %v", err)
	}
}
