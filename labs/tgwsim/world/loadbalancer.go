package world

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LoadBalancer is a Network Load Balancer, with nodes in the zones of its subnets.
type LoadBalancer struct {
	ARN, Name, VPCID, Scheme, DNSName string
	Lifecycle                         // provisioning, active
	DualStack                         bool
	SubnetIDs                         []string
	Listeners                         []Listener
	Tags                              Tags
}

// Listener hands what comes to a port on to a target group.
type Listener struct {
	ARN, Protocol  string
	Port           int32
	TargetGroupARN string
}

// TargetGroup are targets with the way to ask whether they are well.
type TargetGroup struct {
	ARN, Name, VPCID string
	Type             string // instance, ip
	Protocol         string
	Port             int32
	IPv6             bool
	Check            TargetCheck
	Attributes       map[string]string // besides those of the defaults
	Targets          []*GroupTarget    // in the order of their registration
	Tags             Tags
}

// TargetCheck is the health check of a target group; times in seconds [NLB-HC].
type TargetCheck struct {
	Disabled           bool
	Protocol           string // TCP, HTTP, HTTPS
	Port               string // a number, or "traffic-port"
	Path, Matcher      string // Matcher: statuses, as "200-399"
	Interval, Timeout  int32
	Healthy, Unhealthy int32 // how often in a row
}

// GroupTarget is one registered target of a target group.
type GroupTarget struct {
	ID        string // an instance's ID or an address
	Port      int32
	Zone      string    // of an address outside of the VPC
	Lifecycle           // initial, healthy, unhealthy, draining
	Reason    string    // of the state, in the API's words
	Since     time.Time // of the state
}

// Health is a target's state as DescribeTargetHealth shows it.
type Health struct{ State, Reason, Description string }

// deregistrationDelay is a target group's attribute, 300 s by default [API].
const deregistrationDelay = "deregistration_delay.timeout_seconds"

// AllAttributes are the attributes of a group, those that nobody set with AWS's
// defaults [API].
func (g *TargetGroup) AllAttributes() map[string]string {
	udp := g.Protocol == "UDP" || g.Protocol == "TCP_UDP"
	all := map[string]string{
		deregistrationDelay: "300", "stickiness.enabled": "false", "stickiness.type": "source_ip",
		"load_balancing.cross_zone.enabled":                                              "use_load_balancer_configuration",
		"target_group_health.dns_failover.minimum_healthy_targets.count":                 "1",
		"target_group_health.dns_failover.minimum_healthy_targets.percentage":            "off",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      "1",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
		"deregistration_delay.connection_termination.enabled":                            strconv.FormatBool(udp),
		"preserve_client_ip.enabled":                                                     strconv.FormatBool(udp || g.Type == "instance"),
		"proxy_protocol_v2.enabled":                                                      "false",
		"target_health_state.unhealthy.connection_termination.enabled":                   strconv.FormatBool(!udp),
		"target_health_state.unhealthy.draining_interval_seconds":                        "0",
	}
	for k, v := range g.Attributes {
		all[k] = v
	}
	return all
}

// LoadBalancersOf are the ARNs of the load balancers that use a group.
func (s *State) LoadBalancersOf(group string) (arns []string) {
	for _, b := range Values(s.LoadBalancers) {
		if slices.ContainsFunc(b.Listeners, func(l Listener) bool { return l.TargetGroupARN == group }) {
			arns = append(arns, b.ARN)
		}
	}
	return arns
}

// Address is where a target is asked; invalid: nowhere.
func (s *State) Address(g *TargetGroup, t *GroupTarget) netip.Addr {
	if g.Type == "ip" {
		a, _ := netip.ParseAddr(t.ID) // checked when it was registered
		return a
	}
	for _, n := range Values(s.Interfaces) {
		if n.InstanceID == t.ID && n.DeviceIndex == 0 {
			for _, a := range n.Addresses {
				if a.Is6() == g.IPv6 {
					return a
				}
			}
		}
	}
	return netip.Addr{}
}

// TargetHealth is the state of a registered target as the API shows it [API,
// TargetHealth]; the descriptions are assumed.
func (s *State) TargetHealth(g *TargetGroup, t *GroupTarget) Health {
	switch i := s.Instances[t.ID]; {
	case t.State == "draining":
		return Health{t.State, t.Reason, "Target deregistration is in progress"}
	case !s.used(g, t):
		return Health{"unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
	case g.Type == "instance" && (i == nil || i.State != "running"):
		return Health{"unused", "Target.InvalidState", "Target is in the stopped state"}
	case g.Check.Disabled:
		return Health{"unavailable", "Target.HealthCheckDisabled", "Health checks are disabled for this target group"}
	case t.State == "healthy":
		return Health{State: t.State}
	case t.State == "initial":
		return Health{t.State, t.Reason, "Initial health checks in progress"}
	}
	return Health{t.State, t.Reason, "Health checks failed"}
}

// used says whether a load balancer that is there uses a target: one of a zone
// that is not enabled it does not [API, Target.NotInUse].
func (s *State) used(g *TargetGroup, t *GroupTarget) bool {
	zone := t.Zone
	if address := s.Address(g, t); zone == "" {
		for _, n := range Values(s.Subnets) {
			if n.VPCID == g.VPCID && (n.CIDR4.Contains(address) || n.CIDR6.IsValid() && n.CIDR6.Contains(address)) {
				zone = n.AZ
			}
		}
	}
	for _, arn := range s.LoadBalancersOf(g.ARN) {
		for _, id := range s.LoadBalancers[arn].SubnetIDs {
			if n := s.Subnets[id]; n != nil && (zone == n.AZ || zone == "all") {
				return true
			}
		}
	}
	return false
}

func (g *TargetGroup) settle(now time.Time) (changed bool) {
	for _, t := range g.Targets {
		if t.Lifecycle.settle(now) {
			t.Since, changed = t.Due, true
			if t.State == "healthy" {
				t.Reason = ""
			}
		}
	}
	g.Targets = slices.DeleteFunc(g.Targets, func(t *GroupTarget) bool { return t.State == "unused" })
	return changed
}

// enter changes a target's state.
func (t *GroupTarget) enter(state, reason string, now time.Time) {
	t.State, t.Reason, t.Next, t.Since = state, reason, "", now
}

func (g *TargetGroup) find(id string, port int32) *GroupTarget {
	for _, t := range g.Targets {
		if t.ID == id && t.Port == port {
			return t
		}
	}
	return nil
}

func (s *State) targetGroup(arn string) (*TargetGroup, *Error) {
	if g := s.TargetGroups[arn]; g != nil {
		return g, nil
	}
	return nil, refuse("TargetGroupNotFound", "One or more target groups not found") // [API]
}

// RegisterTargets adds targets to a group, all or none; one that is there stays as
// it is, one that drains begins anew (both assumed). Port 0 is the group's.
func (w *World) RegisterTargets(group string, targets []GroupTarget) error {
	return w.change(func(s *State, now time.Time) *Error {
		g, err := s.targetGroup(group)
		if err != nil {
			return err
		}
		for i := range targets {
			if targets[i].Port == 0 {
				targets[i].Port = g.Port
			}
			if err := s.mayRegister(g, &targets[i]); err != nil {
				return err
			}
		}
		for _, t := range targets {
			have := g.find(t.ID, t.Port)
			if have == nil {
				have = &GroupTarget{ID: t.ID, Port: t.Port, Zone: t.Zone}
				g.Targets = append(g.Targets, have)
			} else if have.State != "draining" {
				continue
			}
			have.enter("initial", "Elb.RegistrationInProgress", now)
			if !w.asked {
				have.begin("initial", "healthy", now, s.Delays.Target)
			}
		}
		return nil
	})
}

// mayRegister refuses what can be no target of a group.
func (s *State) mayRegister(g *TargetGroup, t *GroupTarget) *Error {
	if t.Port < 1 || t.Port > 65535 {
		return refuse("ValidationError", "Port '%d' must be between 1 and 65535", t.Port) // assumed
	}
	if g.Type == "instance" {
		switch i := s.Instances[t.ID]; {
		case t.Zone != "": // [API]; the code is assumed
			return refuse("ValidationError", "You cannot specify an Availability Zone for a target of type 'instance'")
		case i == nil: // code [API], words assumed
			return refuse("InvalidTarget", "The instance ID '%s' is not valid", t.ID)
		case i.State != "running":
			return refuse("InvalidTarget", "The following targets are not in a running state and cannot be registered: '%s'", t.ID)
		case i.VPCID != g.VPCID:
			return refuse("InvalidTarget", "The following targets are not in the target group VPC '%s': '%s'", g.VPCID, t.ID)
		}
		return nil
	}
	a, err := netip.ParseAddr(t.ID)
	if err != nil || a.Is6() != g.IPv6 {
		return refuse("ValidationError", "The IP address '%s' is not valid for the target group", t.ID) // assumed
	}
	vpc := s.VPCs[g.VPCID]
	inside := vpc != nil && slices.ContainsFunc(vpc.CIDRs, func(p netip.Prefix) bool { return p.Contains(a) })
	switch {
	case inside:
		return nil
	case g.Protocol == "UDP" || g.Protocol == "TCP_UDP": // [NLB-TG]; the code is assumed
		return refuse("InvalidTarget", "The IP address '%s' is not in the VPC of the target group", t.ID)
	case t.Zone == "": // [API]; the code is assumed
		return refuse("ValidationError", "You must specify an Availability Zone for the IP address '%s'", t.ID)
	}
	return nil
}

// DeregisterTargets takes targets out of a group; they drain for its delay. What is
// not registered is no error [API]. Port 0 is the group's. A target that no load
// balancer uses goes at once (assumed).
func (w *World) DeregisterTargets(group string, targets []GroupTarget) error {
	return w.change(func(s *State, now time.Time) *Error {
		g, err := s.targetGroup(group)
		if err != nil {
			return err
		}
		seconds, _ := strconv.Atoi(g.AllAttributes()[deregistrationDelay]) // of the world's file
		for _, t := range targets {
			if t.Port == 0 {
				t.Port = g.Port
			}
			switch have := g.find(t.ID, t.Port); {
			case have == nil || have.State == "draining":
			case !s.used(g, have):
				g.Targets = slices.DeleteFunc(g.Targets, func(o *GroupTarget) bool { return o == have })
			default:
				have.enter("draining", "Target.DeregistrationInProgress", now)
				have.begin("draining", "unused", now, time.Duration(seconds)*time.Second)
			}
		}
		return nil
	})
}

// AskTargets says that somebody really asks the targets, and calls Judge: new ones
// stay initial until then. Otherwise they become healthy by themselves.
func (w *World) AskTargets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = true
}

// Judge notes what the health checks of a target found, once it was often enough;
// the reason is that of an unhealthy target.
func (w *World) Judge(group, id string, port int32, healthy bool, reason string) {
	w.Do(func(s *State) {
		g := s.TargetGroups[group]
		if g == nil {
			return
		}
		if t := g.find(id, port); t != nil && t.State != "draining" {
			state := "unhealthy"
			if healthy {
				state, reason = "healthy", ""
			}
			t.enter(state, reason, w.now())
		}
	})
}

// ELBARN names a resource of Elastic Load Balancing.
func (s *State) ELBARN(kind, name, hex string) string {
	return strings.Join([]string{"arn:aws:elasticloadbalancing", s.Region, s.AccountID, kind + "/" + name + "/" + hex}, ":")
}
