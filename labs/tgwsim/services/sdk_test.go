package services

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire/wiretest"
)

// answerer reads one request into an Input and answers with an Output.
type answerer struct {
	read   func(r *http.Request, in any) error
	write  func(out any) ([]byte, error)
	in     any // what was read
	out    any
	failed error
}

func (a *answerer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.failed = a.read(r, a.in)
	text, err := a.write(a.out)
	if err != nil {
		a.failed = err
	}
	w.Write(text) // the client sees it
}

// trip is one operation's way through the SDK and back.
type trip func(a *answerer, url string) error

// roundTrip fills an Input and an Output, and compares what arrives of them.
func roundTrip[C, I, O, P any](client func(url string) C, call func(C, context.Context, *I, ...func(*P)) (*O, error)) trip {
	return func(a *answerer, url string) error {
		sent, out := new(I), new(O)
		wiretest.Fill(sent)
		wiretest.Fill(out)
		a.in, a.out = new(I), out
		got, err := call(client(url), context.Background(), sent)
		if err != nil || a.failed != nil {
			return fmt.Errorf("call: %v, server: %v", err, a.failed)
		}
		if diff := cmp.Diff(sent, a.in, wiretest.Exported); diff != "" {
			return fmt.Errorf("the request, as sent (-) and as read (+):\n%s", diff)
		}
		if diff := cmp.Diff(out, got, wiretest.Exported); diff != "" {
			return fmt.Errorf("the answer, as written (-) and as read (+):\n%s", diff)
		}
		return nil
	}
}

var static = credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")

func elbClient(url string) *elb.Client {
	return elb.New(elb.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{}, Credentials: static})
}

func route53Client(url string) *route53.Client {
	return route53.New(route53.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{}, Credentials: static})
}

func stsClient(url string) *sts.Client {
	return sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{}, Credentials: static})
}

func managerClient(url string) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{}, Credentials: static})
}

func ssmClient(url string) *ssm.Client {
	return ssm.New(ssm.Options{Region: "us-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{}, HTTPClient: wiretest.InMemory{}, Credentials: static})
}

var trips = map[string]trip{
	"DescribeLoadBalancers":         roundTrip(elbClient, (*elb.Client).DescribeLoadBalancers),
	"DescribeListeners":             roundTrip(elbClient, (*elb.Client).DescribeListeners),
	"DescribeTargetGroups":          roundTrip(elbClient, (*elb.Client).DescribeTargetGroups),
	"DescribeTargetGroupAttributes": roundTrip(elbClient, (*elb.Client).DescribeTargetGroupAttributes),
	"DescribeTargetHealth":          roundTrip(elbClient, (*elb.Client).DescribeTargetHealth),
	"RegisterTargets":               roundTrip(elbClient, (*elb.Client).RegisterTargets),
	"DeregisterTargets":             roundTrip(elbClient, (*elb.Client).DeregisterTargets),

	"ListHostedZonesByName":    roundTrip(route53Client, (*route53.Client).ListHostedZonesByName),
	"GetHostedZone":            roundTrip(route53Client, (*route53.Client).GetHostedZone),
	"ListResourceRecordSets":   roundTrip(route53Client, (*route53.Client).ListResourceRecordSets),
	"ChangeResourceRecordSets": roundTrip(route53Client, (*route53.Client).ChangeResourceRecordSets),
	"GetChange":                roundTrip(route53Client, (*route53.Client).GetChange),

	"GetCallerIdentity": roundTrip(stsClient, (*sts.Client).GetCallerIdentity),
	"GetSecretValue":    roundTrip(managerClient, (*secretsmanager.Client).GetSecretValue),
	"GetParameter":      roundTrip(ssmClient, (*ssm.Client).GetParameter),
}

func goes(t *testing.T, name string, a *answerer) {
	t.Helper()
	s := httptest.NewServer(a)
	defer s.Close()
	if trips[name] == nil {
		t.Errorf("%s is served and not in this test", name)
	} else if err := trips[name](a, s.URL); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// asError makes a nil of a typed nil.
func asError(e *wire.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func TestTheSDKReadsWhatQueryServicesWrite(t *testing.T) {
	for name, s := range map[string]*wire.Service{"GetCallerIdentity": wire.STS} {
		goesByQuery(t, s, name)
	}
	for _, o := range elbOperations() {
		goesByQuery(t, wire.ELB, o.Name)
	}
}

func goesByQuery(t *testing.T, s *wire.Service, name string) {
	t.Helper()
	goes(t, name, &answerer{
		read: func(r *http.Request, in any) error {
			if err := r.ParseForm(); err != nil {
				return err
			}
			return asError(s.Decode(r.PostForm, in))
		},
		write: func(out any) ([]byte, error) { return s.Encode(name, "id", out) },
	})
}

func TestTheSDKReadsWhatJSONServicesWrite(t *testing.T) {
	for _, j := range []jsonService{secretsManager, parameterStore} {
		for _, o := range j.operations {
			goes(t, o.name, &answerer{
				read: func(r *http.Request, in any) error {
					found, got, err := j.decode(r)
					if err == nil && found.name == o.name {
						reflect.ValueOf(in).Elem().Set(reflect.ValueOf(got).Elem())
					}
					return asError(err)
				},
				write: wire.EncodeJSON,
			})
		}
	}
}

func TestTheSDKReadsWhatRoute53Writes(t *testing.T) {
	for _, o := range route53Operations() {
		goes(t, o.name, &answerer{
			read: func(r *http.Request, in any) error {
				values, ok := o.match(r)
				if !ok {
					return fmt.Errorf("%s %s does not match", r.Method, r.URL)
				}
				got, err := o.decode(r, values)
				if err == nil {
					reflect.ValueOf(in).Elem().Set(reflect.ValueOf(got).Elem())
				}
				return asError(err)
			},
			write: func(out any) ([]byte, error) { return wire.Route53.Encode(o.name, "id", out) },
		})
	}
}

func TestTheSDKsOwnRequestsAreAccepted(t *testing.T) {
	for _, o := range elbOperations() {
		r := wiretest.Snapshot(t, "elasticloadbalancingv2", o.Name)
		if err := r.ParseForm(); err != nil {
			t.Fatal(err)
		}
		if err := wire.ELB.Decode(r.PostForm, reflect.New(o.Input()).Interface()); err != nil || len(r.PostForm) < 3 {
			t.Errorf("%s: %v of %v", o.Name, err, r.PostForm)
		}
	}
	for module, j := range map[string]jsonService{"secretsmanager": secretsManager, "ssm": parameterStore} {
		for _, o := range j.operations {
			r := wiretest.Snapshot(t, module, o.name)
			r.Header.Set("Content-Type", jsonType)
			r.Header.Set("X-Amz-Target", j.prefix+"."+o.name)
			if _, _, err := j.decode(r); err != nil {
				t.Errorf("%s: %v", o.name, err)
			}
		}
	}
	for _, o := range route53Operations() {
		r := wiretest.Snapshot(t, "route53", o.name)
		values, ok := o.match(r)
		if !ok {
			t.Errorf("%s: %s %s does not match", o.name, r.Method, r.URL)
		} else if _, err := o.decode(r, values); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
	}
}

func TestWhatARequestMustHaveIsWhatTheSDKWants(t *testing.T) {
	var inputs []string
	for _, o := range elbOperations() {
		inputs = append(inputs, o.Name+"Input")
	}
	for _, o := range route53Operations() {
		inputs = append(inputs, o.name+"Input")
	}
	inputs = append(inputs, "GetSecretValueInput", "GetParameterInput")
	for module, s := range map[string]*wire.Service{
		"elasticloadbalancingv2": wire.ELB, "route53": wire.Route53, "secretsmanager": wire.SecretsManager, "ssm": wire.SSM,
	} {
		want := wiretest.Required(t, module)
		for goType, names := range s.Required {
			if diff := cmp.Diff(want[goType], slices.Sorted(maps.Keys(names))); diff != "" {
				t.Errorf("%s.%s: the SDK's (-) and package wire's (+):\n%s", module, goType, diff)
			}
		}
		for _, input := range inputs {
			if want[input] != nil && s.Required[input] == nil {
				t.Errorf("%s.%s: nothing is required, the SDK wants %v", module, input, want[input])
			}
		}
	}
}

func TestREADMENamesEveryOperation(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range trips {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s is served and not in README.md", name)
		}
	}
}
