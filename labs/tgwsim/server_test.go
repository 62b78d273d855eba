package tgwsim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

const region = "us-east-1"

var ctx = context.Background()

// lab is a Server with a client of the real SDK that never retries.
type lab struct {
	*tgwsim.Server
	*world.Names
	ec2   *ec2.Client
	clock *clock
	url   string
}

// clock stands until a test moves it.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newLab(t *testing.T, o world.ExampleOptions) *lab {
	t.Helper()
	c := &clock{time.Now()}
	w, names := world.Example(region, c.now, o)
	s := tgwsim.NewServer(w, tgwsim.Options{Now: c.now, Seed: 1})
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return &lab{s, names, client(h.URL, region), c, h.URL}
}

func client(url, region string) *ec2.Client {
	return ec2.New(ec2.Options{
		Region: region, BaseEndpoint: aws.String(url), Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
		Retryer: aws.NopRetryer{},
	})
}

// memory is the network of a lab.
func (l *lab) memory() *world.Memory { return l.World().Network().(*world.Memory) }

// code is the error code of an answer, empty for none.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// wantViolations says what must have been noted of requests so far.
func (l *lab) wantViolations(t *testing.T, parts ...string) {
	t.Helper()
	got := l.Violations()
	if len(got) != len(parts) {
		t.Fatalf("violations %q, want %d", got, len(parts))
	}
	for i, part := range parts {
		if !strings.Contains(got[i], part) {
			t.Errorf("violation %q, want one about %q", got[i], part)
		}
	}
}

// post sends a form as a client would that is not the SDK, signed for a scope.
func (l *lab) post(t *testing.T, scope string, form url.Values) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, l.url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	at := l.clock.at.UTC()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Amz-Date", at.Format("20060102T150405Z"))
	if scope != "" {
		r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AKIA/%s/%s/aws4_request, SignedHeaders=host, Signature=%064d", at.Format("20060102"), scope, 0))
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestWhatAWSWouldNotUnderstandIsAnErrorAndNoted(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	for _, c := range []struct {
		form      string
		code      string
		violation string
	}{
		{"Action=DescribeVpcs&Version=2016-11-15&VpcId.1=" + l.VPC, "", ""},
		{"Action=LaunchRocket&Version=2016-11-15", "InvalidAction", "LaunchRocket"},
		{"Action=DescribeVpcs&Version=2006-01-01", "NoSuchVersion", "2006-01-01"},
		{"Action=DescribeVpcs&Version=2016-11-15&VpcIds.1=vpc-1", "UnknownParameter", "VpcIds"},
		{"Action=DescribeVpcs&Version=2016-11-15&VpcId.0=vpc-1", "UnknownParameter", "VpcId.0"},
		{"Action=DescribeVpcs&Version=2016-11-15&VpcId=vpc-1", "UnknownParameter", "VpcId"},
		{"Action=DescribeVpcs&Version=2016-11-15&Filter.1.Name=color&Filter.1.Value.1=red", "InvalidParameterValue", "color"},
		{"Action=DescribeVpcs&Version=2016-11-15&MaxResults=many", "InvalidParameterValue", ""},
		{"Action=DeleteTransitGatewayConnectPeer&Version=2016-11-15", "MissingParameter", "TransitGatewayConnectPeerId"},
		{"Action=SearchTransitGatewayRoutes&Version=2016-11-15&TransitGatewayRouteTableId=" + l.Table, "MissingParameter", "Filter"},
	} {
		form, err := url.ParseQuery(c.form)
		if err != nil {
			t.Fatal(err)
		}
		before := len(l.Violations())
		status, body := l.post(t, "us-east-1/ec2", form)
		if c.code == "" && status != 200 || c.code != "" && !strings.Contains(body, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: %d %s, want code %q", c.form, status, body, c.code)
		}
		noted := l.Violations()[before:]
		if (c.violation != "") != (len(noted) == 1) || len(noted) == 1 && !strings.Contains(noted[0], c.violation) {
			t.Errorf("%s: noted %q, want %q", c.form, noted, c.violation)
		}
	}
}

func TestSignaturesAreForThisServiceAndRegion(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	form := url.Values{"Action": {"DescribeVpcs"}, "Version": {"2016-11-15"}}
	for scope, want := range map[string]string{
		"": "MissingAuthenticationToken", "eu-west-1/ec2": "AuthFailure", "us-east-1/s3": "AuthFailure",
	} {
		status, body := l.post(t, scope, form)
		if status != http.StatusForbidden || !strings.Contains(body, want) {
			t.Errorf("scope %q: %d %s, want 403 %s", scope, status, body, want)
		}
	}
	l.wantViolations(t, "s3")
	if _, err := client(l.url, "eu-west-1").DescribeVpcs(ctx, &ec2.DescribeVpcsInput{}); code(err) != "AuthFailure" {
		t.Errorf("the SDK in another region: %v, want AuthFailure", err)
	}
	l.clock.at = l.clock.at.Add(16 * time.Minute) // the client's clock is wrong now
	if _, err := l.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{}); code(err) != "RequestExpired" {
		t.Errorf("an old signature: %v, want RequestExpired", err)
	}
}

func TestDryRunSaysWhetherTheCallerMay(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	in := &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: &l.Peers[0], DryRun: aws.Bool(true)}
	if _, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, in); code(err) != "DryRunOperation" {
		t.Errorf("allowed: %v, want DryRunOperation", err)
	}
	l.World().Do(func(s *world.State) { s.Denied["ec2:DeleteTransitGatewayConnectPeer"] = true })
	for _, dry := range []bool{true, false} {
		in.DryRun = &dry
		if _, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, in); code(err) != "UnauthorizedOperation" {
			t.Errorf("denied, dry run %v: %v, want UnauthorizedOperation", dry, err)
		}
	}
	if s := l.World().Snapshot().ConnectPeers[l.Peers[0]].State; s != "available" {
		t.Errorf("the peer is %s, want available: nothing was to be done", s)
	}
	l.wantViolations(t)
}
