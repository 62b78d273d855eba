package tgwconnect

// TargetRule is this host as a target of one target group.
type TargetRule struct {
	Name  string
	Group string // ARN
	// ID is that of the instance, or an address, as the group's target type wants.
	ID         string
	Port       int
	Deregister bool // when this host has left
}

// TargetVerb is what to do about this host's registration.
type TargetVerb string

// Verbs.
const (
	TargetLeave      TargetVerb = "leave"
	TargetRegister   TargetVerb = "register"
	TargetDeregister TargetVerb = "deregister"
)

// States of a target (DescribeTargetHealth). An unhealthy target may also be
// "unhealthy.draining".
const (
	TargetHealthy  = "healthy"
	TargetUnused   = "unused"
	TargetDraining = "draining"

	// reasonNotRegistered comes with "unused" for a target that was asked for by name
	// and is not in the group.
	reasonNotRegistered = "Target.NotRegistered"
)

// TargetAction is the decision about one target group.
type TargetAction struct {
	Rule TargetRule
	Verb TargetVerb
	Why  string
	// State and Reason are AWS's words for this host's target, empty: not registered.
	State, Reason string
	// Others and Healthy count the targets of other hosts, all and the healthy ones.
	Others, Healthy int
}

// Noticed reports whether the load balancer starts no new flow on this host.
func (a *TargetAction) Noticed() bool { return a.State != TargetHealthy }

// Decide says what to do, from all targets of the group. A registration that is
// there is taken over, whoever made it.
func (r *TargetRule) Decide(found []TargetHealth, p Presence) TargetAction {
	a := TargetAction{Rule: *r, Verb: TargetLeave}
	for _, x := range found {
		switch {
		case x.ID == r.ID && x.Port == r.Port:
			if x.Reason != reasonNotRegistered {
				a.State, a.Reason = x.State, x.Reason
			}
			continue
		case x.State == TargetHealthy:
			a.Healthy++
		}
		a.Others++
	}
	registered := a.State != "" && a.State != TargetDraining
	switch {
	case r.ID == "":
		a.Why = "the ID of this instance is not known yet"
	case p.Leave == Left && registered && !r.Deregister:
		a.Why = "this host has left, and deregister = false"
	case p.Leave == Left && registered:
		a.Verb, a.Why = TargetDeregister, "this host has left"
	case p.Leave == Left:
		a.Why = "this host has left"
	case p.Leave == Leaving:
		if a.Why = "this host leaves: its health check fails"; a.Healthy == 0 { // [NLB-HC]
			a.Why += "; no other target is healthy, so the load balancer sends to all"
		}
	case registered:
		a.Why = "registered"
	case !p.Forwards:
		a.Why = "this host does not forward yet"
	default:
		a.Verb, a.Why = TargetRegister, "this host forwards"
	}
	return a
}
