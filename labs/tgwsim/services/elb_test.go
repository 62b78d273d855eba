package services_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// balancing is a lab with a client of Elastic Load Balancing.
type balancing struct {
	*lab
	api *elb.Client
}

func newBalancing(t *testing.T) *balancing {
	l := newLab(t)
	return &balancing{l, elb.NewFromConfig(l.cfg)}
}

func target(id string) []types.TargetDescription { return []types.TargetDescription{{Id: &id}} }

func (b *balancing) register(targets []types.TargetDescription) string {
	_, err := b.api.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &b.TargetGroup, Targets: targets})
	return code(err)
}

func (b *balancing) deregister(targets []types.TargetDescription) string {
	_, err := b.api.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &b.TargetGroup, Targets: targets})
	return code(err)
}

// health is "ID:PORT state reason" of each target.
func (b *balancing) health(t *testing.T, of []types.TargetDescription) string {
	t.Helper()
	out, err := b.api.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &b.TargetGroup, Targets: of})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range out.TargetHealthDescriptions {
		found = append(found, strings.TrimSpace(fmt.Sprintf("%s:%d %s %s", *d.Target.Id, *d.Target.Port, d.TargetHealth.State, d.TargetHealth.Reason)))
	}
	return strings.Join(found, ", ")
}

func (b *balancing) wants(t *testing.T, when, want string) {
	t.Helper()
	if got := b.health(t, nil); got != want {
		t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

func TestATargetsLife(t *testing.T) {
	b := newBalancing(t)
	b.World().Do(func(s *world.State) { s.Delays.Target = 10 * time.Second })
	one := b.Instances[0]
	if c := b.register(target(one)); c != "" {
		t.Fatal(c)
	}
	b.wants(t, "registered", one+":51820 initial Elb.RegistrationInProgress")
	b.pass(11 * time.Second)
	b.wants(t, "checked", one+":51820 healthy")
	b.register(target(one))
	b.wants(t, "registered twice", one+":51820 healthy")
	b.World().Do(func(s *world.State) { s.Instances[one].State = "stopped" })
	b.wants(t, "stopped", one+":51820 unused Target.InvalidState")
	b.World().Do(func(s *world.State) { s.Instances[one].State = "running" })
	if c := b.deregister(target(one)); c != "" {
		t.Fatal(c)
	}
	b.pass(299 * time.Second)
	b.wants(t, "within the deregistration delay", one+":51820 draining Target.DeregistrationInProgress")
	b.register(target(one))
	b.wants(t, "registered while it drains", one+":51820 initial Elb.RegistrationInProgress")
	b.pass(11 * time.Second)
	b.deregister(target(one))
	b.pass(301 * time.Second)
	b.wants(t, "after the deregistration delay", "")
	if got, want := b.health(t, target(one)), one+":51820 unused Target.NotRegistered"; got != want {
		t.Errorf("asked for by name: got %q, want %q", got, want)
	}
	if c := b.deregister(target(one)); c != "" {
		t.Errorf("what is not registered: got %s, want success", c)
	}
}

func TestTargetsThatNoLoadBalancerUses(t *testing.T) {
	b := newBalancing(t)
	b.register(append(target(b.Instances[0]), target(b.Instances[1])...))
	b.World().Do(func(s *world.State) { lb := s.LoadBalancers[b.LoadBalancer]; lb.SubnetIDs = lb.SubnetIDs[:1] })
	b.wants(t, "a zone is not enabled", b.Instances[0]+":51820 healthy, "+b.Instances[1]+":51820 unused Target.NotInUse")
	b.World().Do(func(s *world.State) { delete(s.LoadBalancers, b.LoadBalancer) })
	b.wants(t, "no load balancer", b.Instances[0]+":51820 unused Target.NotInUse, "+b.Instances[1]+":51820 unused Target.NotInUse")
	b.deregister(target(b.Instances[0]))
	b.wants(t, "one is taken out", b.Instances[1]+":51820 unused Target.NotInUse")
}

func TestWhatCanBeNoTarget(t *testing.T) {
	b := newBalancing(t)
	other := b.Instances[1]
	b.World().Do(func(s *world.State) { s.Instances[other].State = "stopped" })
	for name, try := range map[string]struct {
		targets []types.TargetDescription
		want    string
	}{
		"unknown instance":        {target("i-0123456789abcdef0"), "InvalidTarget"},
		"stopped instance":        {append(target(b.Instances[0]), target(other)...), "InvalidTarget"},
		"an instance with a zone": {[]types.TargetDescription{{Id: &b.Instances[0], AvailabilityZone: aws.String("all")}}, "ValidationError"},
		"a server ID":             {[]types.TargetDescription{{Id: &b.Instances[0], QuicServerId: aws.String("0x0123456789abcdef")}}, "ValidationError"},
		"a port out of range":     {[]types.TargetDescription{{Id: &b.Instances[0], Port: aws.Int32(70000)}}, "ValidationError"},
	} {
		if got := b.register(try.targets); got != try.want {
			t.Errorf("%s: got %q, want %q", name, got, try.want)
		}
	}
	b.wants(t, "all or none", "")
	b.World().Do(func(s *world.State) { s.TargetGroups[b.TargetGroup].Type = "ip" })
	for address, want := range map[string]string{"10.0.0.10": "", "no address": "ValidationError", "2001:db8::1": "ValidationError", "192.168.0.1": "InvalidTarget"} {
		if got := b.register(target(address)); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	b.wants(t, "an address of the VPC", "10.0.0.10:51820 healthy")
	_, err := b.api.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String("arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/x/1")})
	if code(err) != "TargetGroupNotFound" {
		t.Errorf("unknown group: got %v", err)
	}
}

func TestTheGroupAndItsLoadBalancerAreDescribed(t *testing.T) {
	b := newBalancing(t)
	groups, err := b.api.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{LoadBalancerArn: &b.LoadBalancer})
	if err != nil || len(groups.TargetGroups) != 1 || *groups.TargetGroups[0].HealthCheckPath != "/healthz" || groups.TargetGroups[0].LoadBalancerArns[0] != b.LoadBalancer {
		t.Errorf("groups: %v %+v", err, groups)
	}
	attributes, err := b.api.DescribeTargetGroupAttributes(ctx, &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &b.TargetGroup})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range attributes.Attributes {
		got[*a.Key] = *a.Value
	}
	for key, want := range map[string]string{
		"deregistration_delay.timeout_seconds": "300", "deregistration_delay.connection_termination.enabled": "true",
		"target_health_state.unhealthy.connection_termination.enabled": "false", "preserve_client_ip.enabled": "true",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	listeners, err := b.api.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: &b.LoadBalancer})
	if err != nil || *listeners.Listeners[0].DefaultActions[0].TargetGroupArn != b.TargetGroup {
		t.Errorf("listeners: %v %+v", err, listeners)
	}
	balancers, err := b.api.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{"wireguard"}})
	if err != nil || len(balancers.LoadBalancers[0].AvailabilityZones) != 2 {
		t.Errorf("load balancers: %v %+v", err, balancers)
	}
	if _, err := b.api.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{"other"}}); code(err) != "TargetGroupNotFound" {
		t.Errorf("a name that is none: got %v", err)
	}
}

func TestFaultsConcernLoadBalancingToo(t *testing.T) {
	b := newBalancing(t)
	b.SetFaults(tgwsim.Faults{Throttle: &tgwsim.Throttle{MutateBurst: 1, ReadBurst: 1}})
	if got := []string{b.register(target(b.Instances[0])), b.register(target(b.Instances[1]))}; got[0] != "" || got[1] != "Throttling" {
		t.Errorf("throttled: got %q", got)
	}
	b.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"DeregisterTargets"}, Kind: tgwsim.CutAfter, Count: 1}}})
	if got := b.deregister(target(b.Instances[0])); got == "" {
		t.Error("the answer was not lost")
	}
	b.wants(t, "though the answer was lost", b.Instances[0]+":51820 draining Target.DeregistrationInProgress")
	b.SetFaults(tgwsim.Faults{Credentials: "ExpiredToken"})
	if got := b.deregister(target(b.Instances[0])); got != "ExpiredToken" {
		t.Errorf("expired: got %q", got)
	}
	b.SetFaults(tgwsim.Faults{})
	b.World().Do(func(s *world.State) { s.Denied["elasticloadbalancing:RegisterTargets"] = true })
	if got := b.register(target(b.Instances[1])); got != "AccessDenied" {
		t.Errorf("denied: got %q", got)
	}
	var log []string
	for _, c := range b.Calls("*Targets") {
		log = append(log, c.Operation+" "+c.Code)
	}
	want := "RegisterTargets , RegisterTargets Throttling, DeregisterTargets , DeregisterTargets ExpiredToken, RegisterTargets AccessDenied"
	if got := strings.Join(log, ", "); got != want {
		t.Errorf("the log: got %q, want %q", got, want)
	}
}

// TestTargetsAreReallyAsked: a target is what its HTTP port says.
func TestTargetsAreReallyAsked(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusOK)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.UserAgent(), "ELB-HealthChecker/") {
			t.Errorf("user agent %q", r.UserAgent())
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer web.Close()
	u, _ := url.Parse(web.URL)
	port, _ := strconv.Atoi(u.Port())
	b := newBalancing(t)
	b.World().Do(func(s *world.State) {
		s.Interfaces[b.Interfaces[0]].Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		g := s.TargetGroups[b.TargetGroup]
		g.Check.Port, g.Check.Interval = strconv.Itoa(port), 0
		s.Subnets[b.Subnets[0]].CIDR4 = netip.MustParsePrefix("127.0.0.0/8")
	})
	go func() { _ = services.NewChecker(b.World()).Run(t.Context()) }()
	if c := b.register(target(b.Instances[0])); c != "" {
		t.Fatal(c)
	}
	for _, step := range []struct {
		name, want string
		change     func()
	}{
		{"it answers", "healthy", func() {}},
		{"it says that it does not forward", "unhealthy Target.ResponseCodeMismatch", func() { status.Store(http.StatusServiceUnavailable) }},
		{"it answers again", "healthy", func() { status.Store(http.StatusOK) }},
		{"nobody is there", "unhealthy Target.FailedHealthChecks", web.Close},
	} {
		step.change()
		deadline := time.Now().Add(10 * time.Second)
		for want := b.Instances[0] + ":51820 " + step.want; b.health(t, nil) != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: got %q, want %q", step.name, b.health(t, nil), want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
