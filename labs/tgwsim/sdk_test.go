package tgwsim

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire/wiretest"
)

// calls are the SDK's methods of all operations that are served. They are
// written out because a lookup by name would link every operation of EC2.
var calls = map[string]func(*ec2.Client, *answerer) error{
	"AssociateTransitGatewayRouteTable":          roundTrip((*ec2.Client).AssociateTransitGatewayRouteTable),
	"CreateRoute":                                roundTrip((*ec2.Client).CreateRoute),
	"CreateTags":                                 roundTrip((*ec2.Client).CreateTags),
	"CreateTransitGatewayConnect":                roundTrip((*ec2.Client).CreateTransitGatewayConnect),
	"CreateTransitGatewayConnectPeer":            roundTrip((*ec2.Client).CreateTransitGatewayConnectPeer),
	"CreateTransitGatewayRoute":                  roundTrip((*ec2.Client).CreateTransitGatewayRoute),
	"DeleteRoute":                                roundTrip((*ec2.Client).DeleteRoute),
	"DeleteTags":                                 roundTrip((*ec2.Client).DeleteTags),
	"DeleteTransitGatewayConnect":                roundTrip((*ec2.Client).DeleteTransitGatewayConnect),
	"DeleteTransitGatewayConnectPeer":            roundTrip((*ec2.Client).DeleteTransitGatewayConnectPeer),
	"DeleteTransitGatewayRoute":                  roundTrip((*ec2.Client).DeleteTransitGatewayRoute),
	"DescribeInstanceTypes":                      roundTrip((*ec2.Client).DescribeInstanceTypes),
	"DescribeInstances":                          roundTrip((*ec2.Client).DescribeInstances),
	"DescribeNetworkAcls":                        roundTrip((*ec2.Client).DescribeNetworkAcls),
	"DescribeNetworkInterfaces":                  roundTrip((*ec2.Client).DescribeNetworkInterfaces),
	"DescribeRouteServerEndpoints":               roundTrip((*ec2.Client).DescribeRouteServerEndpoints),
	"DescribeRouteServerPeers":                   roundTrip((*ec2.Client).DescribeRouteServerPeers),
	"DescribeRouteServers":                       roundTrip((*ec2.Client).DescribeRouteServers),
	"DescribeRouteTables":                        roundTrip((*ec2.Client).DescribeRouteTables),
	"DescribeSecurityGroupRules":                 roundTrip((*ec2.Client).DescribeSecurityGroupRules),
	"DescribeSecurityGroups":                     roundTrip((*ec2.Client).DescribeSecurityGroups),
	"DescribeSubnets":                            roundTrip((*ec2.Client).DescribeSubnets),
	"DescribeTags":                               roundTrip((*ec2.Client).DescribeTags),
	"DescribeTransitGatewayAttachments":          roundTrip((*ec2.Client).DescribeTransitGatewayAttachments),
	"DescribeTransitGatewayConnectPeers":         roundTrip((*ec2.Client).DescribeTransitGatewayConnectPeers),
	"DescribeTransitGatewayConnects":             roundTrip((*ec2.Client).DescribeTransitGatewayConnects),
	"DescribeTransitGatewayPeeringAttachments":   roundTrip((*ec2.Client).DescribeTransitGatewayPeeringAttachments),
	"DescribeTransitGatewayRouteTables":          roundTrip((*ec2.Client).DescribeTransitGatewayRouteTables),
	"DescribeTransitGatewayVpcAttachments":       roundTrip((*ec2.Client).DescribeTransitGatewayVpcAttachments),
	"DescribeTransitGateways":                    roundTrip((*ec2.Client).DescribeTransitGateways),
	"DescribeVpcs":                               roundTrip((*ec2.Client).DescribeVpcs),
	"DisableTransitGatewayRouteTablePropagation": roundTrip((*ec2.Client).DisableTransitGatewayRouteTablePropagation),
	"DisassociateTransitGatewayRouteTable":       roundTrip((*ec2.Client).DisassociateTransitGatewayRouteTable),
	"EnableTransitGatewayRouteTablePropagation":  roundTrip((*ec2.Client).EnableTransitGatewayRouteTablePropagation),
	"GetRouteServerRoutingDatabase":              roundTrip((*ec2.Client).GetRouteServerRoutingDatabase),
	"GetTransitGatewayAttachmentPropagations":    roundTrip((*ec2.Client).GetTransitGatewayAttachmentPropagations),
	"GetTransitGatewayRouteTableAssociations":    roundTrip((*ec2.Client).GetTransitGatewayRouteTableAssociations),
	"GetTransitGatewayRouteTablePropagations":    roundTrip((*ec2.Client).GetTransitGatewayRouteTablePropagations),
	"ModifyInstanceAttribute":                    roundTrip((*ec2.Client).ModifyInstanceAttribute),
	"ModifyNetworkInterfaceAttribute":            roundTrip((*ec2.Client).ModifyNetworkInterfaceAttribute),
	"ModifyTransitGateway":                       roundTrip((*ec2.Client).ModifyTransitGateway),
	"ReplaceRoute":                               roundTrip((*ec2.Client).ReplaceRoute),
	"ReplaceTransitGatewayRoute":                 roundTrip((*ec2.Client).ReplaceTransitGatewayRoute),
	"SearchTransitGatewayRoutes":                 roundTrip((*ec2.Client).SearchTransitGatewayRoutes),
}

// answerer is a server that reads one request into an Input and answers with an
// Output, both by package wire.
type answerer struct {
	operation string
	got, out  any
	failed    error
}

func (a *answerer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		a.failed = err
	} else if err := wire.EC2.Decode(r.PostForm, a.got); err != nil {
		a.failed = err
	}
	text, err := wire.EC2.Encode(a.operation, "id", a.out)
	if err != nil {
		a.failed = err
	}
	w.Write(text) // the client sees it
}

func roundTrip[I, O any](call func(*ec2.Client, context.Context, *I, ...func(*ec2.Options)) (*O, error)) func(*ec2.Client, *answerer) error {
	return func(client *ec2.Client, a *answerer) error {
		sent, out := new(I), new(O)
		wiretest.Fill(sent)
		wiretest.Fill(out)
		a.got, a.out = new(I), out
		got, err := call(client, context.Background(), sent)
		if err != nil || a.failed != nil {
			return fmt.Errorf("call: %v, server: %v", err, a.failed)
		}
		if diff := cmp.Diff(sent, a.got, wiretest.Exported); diff != "" {
			return fmt.Errorf("the request, as sent (-) and as read (+):\n%s", diff)
		}
		if f := reflect.ValueOf(got).Elem().FieldByName("ResultMetadata"); f.IsValid() {
			f.SetZero()
		}
		if diff := cmp.Diff(out, got, wiretest.Exported); diff != "" {
			return fmt.Errorf("the answer, as written (-) and as read (+):\n%s", diff)
		}
		return nil
	}
}

func TestTheSDKReadsWhatIsWrittenAndIsReadItself(t *testing.T) {
	a := &answerer{}
	s := httptest.NewServer(a)
	defer s.Close()
	client := ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL), Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
	for _, o := range ec2Operations() {
		call := calls[o.Name]
		if call == nil {
			t.Errorf("%s is served and not in this test", o.Name)
			continue
		}
		*a = answerer{operation: o.Name}
		if err := call(client, a); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
}

var indexes = regexp.MustCompile(`\.[0-9]+`)

func TestParametersAreThoseOfTheSDKsSnapshots(t *testing.T) {
	for _, o := range ec2Operations() {
		r := wiretest.Snapshot(t, "ec2", o.Name)
		if err := r.ParseForm(); err != nil {
			t.Fatalf("%s: %v", o.Name, err)
		}
		form := r.PostForm
		want := map[string]bool{}
		for name := range form {
			want[indexes.ReplaceAllString(name, ".N")] = true
		}
		delete(want, "Action")
		delete(want, "Version")
		got := map[string]bool{}
		parameters("", o.input, got)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: parameters of the SDK (-) and of package wire (+):\n%s", o.Name, diff)
		}
		if err := wire.EC2.Decode(form, reflect.New(o.input).Interface()); err != nil {
			t.Errorf("%s: the SDK's own request is not accepted: %v", o.Name, err)
		}
	}
}

// parameters collects the names that package wire knows for a type.
func parameters(path string, t reflect.Type, names map[string]bool) {
	switch {
	case t.Kind() == reflect.Pointer:
		parameters(path, t.Elem(), names)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		parameters(path+".N", t.Elem(), names)
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]():
		for field, name := range wire.EC2.Params[t.Name()] {
			f, ok := t.FieldByName(field)
			if !ok {
				names["no field "+t.Name()+"."+field] = true
				continue
			}
			parameters(strings.TrimPrefix(path+"."+name, "."), f.Type, names)
		}
	default:
		names[path] = true
	}
}

func TestExactlyTheGeneratedOperationsAreServed(t *testing.T) {
	text, err := os.ReadFile("wire/gen/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, o := range ec2Operations() {
		served = append(served, o.Name)
	}
	slices.Sort(served)
	if diff := cmp.Diff(strings.Fields(string(text)), served); diff != "" {
		t.Errorf("operations with tables (-) and served (+):\n%s", diff)
	}
}
