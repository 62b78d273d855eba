package services_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func TestSecretsManagerFindsVersions(t *testing.T) {
	l := newLab(t)
	api := secretsmanager.NewFromConfig(l.cfg)
	var arn string
	l.World().Do(func(s *world.State) {
		s.PutSecret("", "gw", world.SecretVersion{Text: "first", Created: time.Now()})
		arn = s.PutSecret("", "gw", world.SecretVersion{Text: "second", Created: time.Now()}).ARN
		s.PutSecret("", "binary", world.SecretVersion{Binary: []byte{1, 2}})
		s.PutSecret("", "deleted", world.SecretVersion{Text: "x"}).Deleted = true
		s.PutSecret("", "broken", world.SecretVersion{Text: "x"}).KeyBroken = true
		s.PutSecret("eu-west-1", "far", world.SecretVersion{Text: "far away"})
		s.OtherRegions["eu-west-1"] = true
	})
	get := func(id, stage, region string) string {
		in := &secretsmanager.GetSecretValueInput{SecretId: &id}
		if stage != "" {
			in.VersionStage = &stage
		}
		out, err := api.GetSecretValue(ctx, in, func(o *secretsmanager.Options) { o.Region = region })
		switch {
		case err != nil:
			return code(err)
		case out.SecretString == nil:
			return "binary"
		}
		return *out.SecretString
	}
	for _, try := range []struct{ id, stage, region, want string }{
		{"gw", "", "us-east-1", "second"},
		{arn, "", "us-east-1", "second"},
		{strings.TrimSuffix(arn, "-AbCdEf"), "", "us-east-1", "second"},
		{"gw", "AWSPREVIOUS", "us-east-1", "first"},
		{"gw", "AWSPENDING", "us-east-1", "ResourceNotFoundException"},
		{"gw", "", "eu-west-1", "ResourceNotFoundException"},
		{"far", "", "eu-west-1", "far away"},
		{"far", "", "ap-south-1", "InvalidSignatureException"},
		{"binary", "", "us-east-1", "binary"},
		{"deleted", "", "us-east-1", "InvalidRequestException"},
		{"broken", "", "us-east-1", "DecryptionFailure"},
		{"none", "", "us-east-1", "ResourceNotFoundException"},
	} {
		if got := get(try.id, try.stage, try.region); got != try.want {
			t.Errorf("%+v: got %q", try, got)
		}
	}
	l.World().Do(func(s *world.State) { s.Denied["kms:Decrypt"] = true })
	if got := get("gw", "", "us-east-1"); got != "AccessDeniedException" {
		t.Errorf("without kms:Decrypt: got %q", got)
	}
	l.SetFaults(tgwsim.Faults{Throttle: &tgwsim.Throttle{}})
	if got := get("gw", "", "us-east-1"); got != "ThrottlingException" {
		t.Errorf("throttled: got %q", got)
	}
}

func TestParameterStoreFindsVersionsAndLabels(t *testing.T) {
	l := newLab(t)
	api := ssm.NewFromConfig(l.cfg)
	l.World().Do(func(s *world.State) {
		s.PutParameter("", "/gw/key", "SecureString", world.ParameterVersion{Value: "first", Labels: []string{"stable"}})
		s.PutParameter("", "/gw/key", "SecureString", world.ParameterVersion{Value: "second"})
		s.PutParameter("", "plain", "String", world.ParameterVersion{Value: "open"})
		s.PutParameter("", "/broken", "SecureString", world.ParameterVersion{Value: "x"}).KeyBroken = true
	})
	get := func(name string, decrypt bool) string {
		out, err := api.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: &decrypt})
		if err != nil {
			return code(err)
		}
		return *out.Parameter.Value
	}
	for name, want := range map[string]string{
		"/gw/key": "second", "/gw/key:1": "first", "/gw/key:stable": "first", "arn:aws:ssm:us-east-1:123456789012:parameter/gw/key": "second",
		"arn:aws:ssm:us-east-1:123456789012:parameter/gw/key:1": "first",
		"/gw/key:3": "ParameterVersionNotFound", "/gw/key:latest": "ParameterVersionNotFound", "/gw/none": "ParameterNotFound", "gw/key": "ValidationException",
		"/broken": "InvalidKeyId", "plain": "open",
	} {
		if got := get(name, true); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := get("/gw/key", false); got == "second" || strings.HasSuffix(got, "Exception") {
		t.Errorf("without decryption: got %q, want the encrypted text", got)
	}
}

func TestSTSTellsWhoSigned(t *testing.T) {
	l := newLab(t)
	ask := func(key, secret string) string {
		api := sts.NewFromConfig(l.cfg, func(o *sts.Options) { o.Credentials = credentials.NewStaticCredentialsProvider(key, secret, "session") })
		out, err := api.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return code(err)
		}
		return aws.ToString(out.Arn)
	}
	if got := ask("AKIAANY", "any"); got != "arn:aws:sts::123456789012:assumed-role/gateway/i" {
		t.Errorf("without callers: got %q", got)
	}
	const role = "arn:aws:sts::123456789012:assumed-role/wgbgp/i-1"
	l.World().Do(func(s *world.State) {
		s.Callers["AKIAGW"] = world.Caller{ARN: role, UserID: "AROA:i-1", SecretKey: "right"}
	})
	for _, try := range [][3]string{{"AKIAGW", "right", role}, {"AKIAGW", "wrong", "SignatureDoesNotMatch"}, {"AKIAANY", "right", "InvalidClientTokenId"}} {
		if got := ask(try[0], try[1]); got != try[2] {
			t.Errorf("%s with %s: got %q, want %q", try[0], try[1], got, try[2])
		}
	}
}

// TestEachServiceHasItsOwnVariable: AWS_ENDPOINT_URL leads nowhere.
func TestEachServiceHasItsOwnVariable(t *testing.T) {
	l := newLab(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
	for _, name := range []string{"ELASTIC_LOAD_BALANCING_V2", "ROUTE_53", "STS", "SSM", "SECRETS_MANAGER"} {
		t.Setenv("AWS_ENDPOINT_URL_"+name, l.URL)
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		t.Fatal(err)
	}
	_, errs := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	_, errELB := elb.NewFromConfig(cfg).DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
	_, errDNS := route53.NewFromConfig(cfg).ListHostedZonesByName(ctx, &route53.ListHostedZonesByNameInput{})
	if errs != nil || errELB != nil || errDNS != nil {
		t.Errorf("got %v, %v, %v", errs, errELB, errDNS)
	}
	_, errSecret := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("none")})
	_, errParameter := ssm.NewFromConfig(cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("none")})
	if code(errSecret) != "ResourceNotFoundException" || code(errParameter) != "ParameterNotFound" {
		t.Errorf("got %v, %v", errSecret, errParameter)
	}
}
