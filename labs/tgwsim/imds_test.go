package tgwsim_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func TestMetadataAsTheSDKReadsIt(t *testing.T) {
	now := time.Now
	w, names := world.Example(region, now, world.ExampleOptions{IPv6: true})
	service := tgwsim.NewIMDS(w, now, names.Instances[1])
	h := httptest.NewServer(service)
	defer h.Close()
	client := imds.New(imds.Options{Endpoint: h.URL, Retryer: aws.NopRetryer{}, EnableFallback: aws.FalseTernary})
	for path, want := range map[string]string{
		"instance-id": names.Instances[1], "instance-type": "c6in.xlarge", "mac": "02:00:00:00:00:02",
		"placement/availability-zone": "us-east-1b", "placement/availability-zone-id": "use1-az2", "placement/region": region,
		"network/interfaces/macs/":                                     "02:00:00:00:00:02/",
		"network/interfaces/macs/02:00:00:00:00:02/interface-id":       names.Interfaces[1],
		"network/interfaces/macs/02:00:00:00:00:02/subnet-id":          names.Subnets[1],
		"network/interfaces/macs/02:00:00:00:00:02/vpc-id":             names.VPC,
		"network/interfaces/macs/02:00:00:00:00:02/local-ipv4s":        "10.0.1.11",
		"network/interfaces/macs/02:00:00:00:00:02/ipv6s":              "2001:db8:0:101::b",
		"network/interfaces/macs/02:00:00:00:00:02/security-group-ids": names.Group,
	} {
		out, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		text := make([]byte, 200)
		n, _ := out.Content.Read(text)
		if got := string(text[:n]); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if _, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "no/such/thing"}); err == nil {
		t.Error("an unknown path has an answer")
	}
	id, err := client.GetInstanceIdentityDocument(ctx, nil)
	if err != nil || id.InstanceID != names.Instances[1] || id.Region != region || id.AccountID != "123456789012" {
		t.Errorf("identity %+v, %v", id, err)
	}
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
	if c, err := provider.Retrieve(ctx); err != nil || c.AccessKeyID != "ASIAEXAMPLE" || c.SessionToken != "session" {
		t.Errorf("credentials of the role: %+v, %v", c, err)
	}
	service.SetRole(tgwsim.Role{})
	if _, err := provider.Retrieve(ctx); err == nil {
		t.Error("an instance without role has credentials")
	}
	service.ForgetTokens()
	if _, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"}); err == nil {
		t.Error("a forgotten token is good")
	}
	if _, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"}); err != nil {
		t.Errorf("the SDK did not get itself another token: %v", err)
	}
}

func TestMetadataNeedsAToken(t *testing.T) {
	at := time.Now()
	w, names := world.Example(region, func() time.Time { return at }, world.ExampleOptions{})
	service := tgwsim.NewIMDS(w, func() time.Time { return at }, names.Instances[0])
	ask := func(method, path string, header ...string) (int, string) {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		a := httptest.NewRecorder()
		service.ServeHTTP(a, r)
		return a.Code, a.Body.String()
	}
	const ttl, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	for _, bad := range []string{"", "0", "21601", "long"} {
		if status, _ := ask(http.MethodPut, "/latest/api/token", ttl, bad); status != http.StatusBadRequest {
			t.Errorf("a token for %q seconds: %d, want 400", bad, status)
		}
	}
	if status, _ := ask(http.MethodPut, "/latest/api/token", ttl, "60", "X-Forwarded-For", "10.0.0.1"); status != http.StatusForbidden {
		t.Errorf("a token through a proxy: %d, want 403", status)
	}
	status, good := ask(http.MethodPut, "/latest/api/token", ttl, "60")
	if status != http.StatusOK {
		t.Fatalf("a token: %d", status)
	}
	const path = "/latest/meta-data/instance-id"
	for _, c := range []struct {
		header []string
		after  time.Duration
		want   int
	}{
		{nil, 0, 401},
		{[]string{token, "forged"}, 0, 401},
		{[]string{token, good}, 0, 200},
		{[]string{token, good}, time.Minute, 401},
	} {
		at = at.Add(c.after)
		if status, _ := ask(http.MethodGet, path, c.header...); status != c.want {
			t.Errorf("with %q after %s: %d, want %d", c.header, c.after, status, c.want)
		}
	}
	w.Do(func(s *world.State) { s.Instances[names.Instances[0]].MetadataTokens = "optional" })
	if status, _ := ask(http.MethodGet, path); status != http.StatusOK {
		t.Errorf("where tokens are optional: %d, want 200", status)
	}
	service.SetDown(true)
	if status, _ := ask(http.MethodGet, path); status != http.StatusServiceUnavailable {
		t.Errorf("when down: %d, want 503", status)
	}
}
