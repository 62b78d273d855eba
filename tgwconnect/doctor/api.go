package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Row 35 [IMDS].
func metadataHopLimit(f *Facts, t *tally) {
	if f.AWS.Self.Read && len(f.AWS.Self.Values) > 0 {
		t.good("the metadata service answers: %s", f.AWS.Self.Values[0].InstanceID)
		return
	}
	if !t.needs(f.AWS.Instances) {
		return
	}
	mine := f.interfaces()
	for _, i := range f.AWS.Instances.Values {
		if !slices.ContainsFunc(mine, func(n tgwconnect.Interface) bool { return n.InstanceID == i.ID }) {
			continue
		}
		cure := fmt.Sprintf("aws ec2 modify-instance-metadata-options --instance-id %s --http-put-response-hop-limit 2", i.ID)
		if i.MetadataHopLimit <= 1 {
			t.bad(cure, "%s: the metadata service does not answer (%s), and its hop limit is %d", i.ID, f.AWS.Self.Message, i.MetadataHopLimit)
		} else {
			t.warn("curl -X PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'; row 33", "%s: the metadata service does not answer (%s), although its hop limit is %d", i.ID, f.AWS.Self.Message, i.MetadataHopLimit)
		}
	}
	t.none("this is no EC2 instance: there is no metadata service (%s)", f.AWS.Self.Message)
}

// noTargets is why rows 40 to 42 are unknown where nobody gave gather a way to ask.
const noTargets = "no [[aws-target-group]] names one, so load balancers were not read: aws elbv2 describe-target-health --target-group-arn ARN"

// Row 40 [NLB-HC].
func lbTarget(f *Facts, t *tally) {
	if f.AWS.Targets.Action == "" {
		t.unknown("%s", noTargets)
		return
	}
	if !t.needs(f.AWS.Targets) {
		return
	}
	for _, x := range f.AWS.Targets.Values {
		what := fmt.Sprintf("%s port %d: %s", x.ID, x.Port, x.State)
		switch x.State {
		case "healthy":
			t.good("%s", what)
		case "initial", "draining":
			t.warn("wait", "%s (%s)", what, x.Reason)
		default:
			t.bad(targetCure(x), "%s (%s %s)", what, x.Reason, x.Detail)
		}
	}
	t.none("the target groups have no targets")
}

func targetCure(x tgwconnect.TargetHealth) string {
	switch x.Reason {
	case "Target.NotInUse":
		return "attach the target group to a listener, and enable zone " + x.AZ + " on the load balancer (aws elbv2 set-subnets)"
	case "Target.Timeout", "Target.FailedHealthChecks":
		return "set listen under [health] and admit its port from the load balancer's addresses; health checks of UDP need a TCP or HTTP port"
	}
	return "AWS console: EC2 > Target groups > Targets"
}

// Row 41 [NLB-HC]: with all targets unhealthy an NLB sends to all of them.
func lbFailOpen(f *Facts, t *tally) {
	if f.AWS.Targets.Action == "" {
		t.unknown("%s", noTargets)
		return
	}
	if !t.needs(f.AWS.Targets) {
		return
	}
	for _, g := range f.targetGroups() {
		bad, n := 0, 0
		for _, x := range f.AWS.Targets.Values {
			if x.Group != g {
				continue
			}
			if n++; strings.HasPrefix(x.State, "unhealthy") || x.State == "unavailable" {
				bad++
			}
		}
		if bad == n {
			t.bad("see row 40; until then every target gets traffic, whether it forwards or not", "all %d targets of %s are unhealthy: the load balancer fails open", n, groupName(g))
		} else {
			t.good("%s: %d of %d targets are unhealthy", groupName(g), bad, n)
		}
	}
	t.none("the target groups have no targets")
}

// targetGroups are the groups that have targets, by their ARNs.
func (f *Facts) targetGroups() (out []string) {
	for _, x := range f.AWS.Targets.Values {
		if !slices.Contains(out, x.Group) {
			out = append(out, x.Group)
		}
	}
	return out
}

// groupName is the name in the ARN of a target group.
func groupName(arn string) string {
	if f := strings.Split(arn, "/"); len(f) == 3 {
		return f[1]
	}
	return "the target group"
}

// Row 47 [CW].
func tgwDrops(f *Facts, t *tally) {
	if !t.needs(f.AWS.Drops) {
		return
	}
	for _, d := range f.AWS.Drops.Values {
		if d.Packets > 0 {
			t.warn("find the destination: TGW flow logs, packets-lost-no-route and packets-lost-blackhole; a blackhole route leads to a deleted attachment", "%s: %s %.0f within %s", d.TransitGatewayID, d.Metric, d.Packets, d.Span)
		} else {
			t.good("%s: %s 0 within %s", d.TransitGatewayID, d.Metric, d.Span)
		}
	}
	t.none("there is no Transit Gateway in %s", f.Region)
}

// Row 48 [THROTTLE].
func throttling(f *Facts, t *tally) {
	if !f.AWS.Gateways.Read && f.AWS.Gateways.Action == "" {
		t.needs(f.AWS.Gateways)
		return
	}
	if f.AWS.Throttled > 0 {
		t.warn("one bucket serves the whole account and region: find who asks so often (CloudTrail), and ask less often", "%d answers of this run were RequestLimitExceeded", f.AWS.Throttled)
		return
	}
	t.good("no answer of this run was RequestLimitExceeded")
}

// Row 49. What only changes things may be missing: BGP does the work.
func permissions(f *Facts, t *tally) {
	a := &f.AWS
	asked := false
	for _, p := range []gapper{
		a.Gateways, a.Attachments, a.Connects, a.Peers, a.VPCAttachments, a.Propagations, a.Routes, a.VPCTables, a.Subnets, a.Interfaces,
		a.Instances, a.InstanceTypes, a.GroupRules, a.ACLs,
	} {
		why, action, missing := p.gap()
		asked = asked || why != "AWS was not asked"
		if missing && action != "" {
			t.bad("allow "+action+" in the policy of the role that asks (configs/aws/iam-readonly.json)", "%s is denied", action)
		}
	}
	if !asked {
		t.needs(a.Gateways)
		return
	}
	for _, p := range []gapper{a.Servers, a.ServerRoutes, a.Targets, a.Drops} {
		if _, action, missing := p.gap(); missing && action != "" {
			t.good("%s is denied; only one row needs it", action)
		}
	}
	var may, mayNot []string
	for _, d := range a.DryRuns {
		switch {
		case d.Allowed:
			may = append(may, d.Action)
		case d.Code != "":
			t.unknown("%s: the dry run ended with %s", d.Action, d.Code)
		default:
			mayNot = append(mayNot, d.Action+" ("+d.Purpose+")")
		}
	}
	if len(may) > 0 {
		t.good("permitted by a dry run: %s", strings.Join(may, ", "))
	}
	if len(mayNot) > 0 {
		t.good("not permitted, and only needed to change things: %s", strings.Join(mayNot, ", "))
	}
	if t.verdict != Problem {
		t.good("all questions that discovery and these rows need are permitted")
	}
}

// Row 52 [RS-HOW].
func routeServerRejected(f *Facts, t *tally) {
	if !t.needs(f.AWS.Servers) {
		return
	}
	if len(f.AWS.Servers.Values) == 0 {
		t.none("there is no Route Server peer in %s", f.Region)
		return
	}
	if !t.needs(f.AWS.ServerRoutes) {
		return
	}
	for _, r := range f.AWS.ServerRoutes.Values {
		wrong := false
		for _, i := range r.Installed {
			if i.Status == "rejected" {
				wrong = true
				t.bad("AWS console: VPC > Route servers > Routes; the reason says which table refuses it, a static route of the same prefix wins", "%s of %s: rejected by %s: %s", r.Prefix, r.PeerID, i.RouteTableID, i.Reason)
			}
		}
		if !wrong {
			t.good("%s of %s: %s", r.Prefix, r.PeerID, r.Status)
		}
	}
	t.none("the Route Servers have no routes")
}

// limitServer is how many routes a peer may bring, and a server may hold [VPC-QUOTA].
const limitServer = 100

// Row 53.
func routeServerLimit(f *Facts, t *tally) {
	if !t.needs(f.AWS.Servers) {
		return
	}
	if len(f.AWS.Servers.Values) == 0 {
		t.none("there is no Route Server peer in %s", f.Region)
		return
	}
	if !t.needs(f.AWS.ServerRoutes) {
		return
	}
	count := map[string]int{}
	for _, r := range f.AWS.ServerRoutes.Values {
		count[r.PeerID]++
	}
	for _, p := range f.AWS.Servers.Values {
		n := count[p.ID]
		cure := "announce aggregates to it ([[aggregate]])"
		switch {
		case n > limitServer:
			t.bad(cure, "%s: %d of %d routes", p.ID, n, limitServer)
		case n*10 >= limitServer*8:
			t.warn(cure, "%s: %d of %d routes", p.ID, n, limitServer)
		default:
			t.good("%s: %d of %d routes", p.ID, n, limitServer)
		}
	}
}
