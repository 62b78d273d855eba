package tgwconnect

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RecordPolicy is how Route 53 chooses among the records of one name.
type RecordPolicy string

// Policies. A record without one is simple: it stands alone.
const (
	PolicySimple     RecordPolicy = ""
	PolicyWeighted   RecordPolicy = "weighted"
	PolicyFailover   RecordPolicy = "failover"
	PolicyMultivalue RecordPolicy = "multivalue"
	PolicyOther      RecordPolicy = "by location" // never ours
)

// Withdrawal is what becomes of a record that should bring nobody here.
type Withdrawal string

// Withdrawals. Zero is a weight of 0: while others have more, nobody is sent here,
// and if nobody has, everybody is in use again.
const (
	WithdrawRemove Withdrawal = "remove"
	WithdrawZero   Withdrawal = "zero"
	WithdrawLeave  Withdrawal = "leave"
)

// RecordRule is this host's own records of one name, in one hosted zone: A, AAAA or
// both, with a set identifier of its own, and a TXT record that says whose they are.
type RecordRule struct {
	Name      string
	Zone      string // ID
	Record    string // in lower case, without the last dot
	SetID     string
	Owner     string       // the gateway's name
	Addresses []netip.Addr // sorted
	Policy    RecordPolicy
	Weight    int64 // of weighted
	Secondary bool  // of failover
	// HealthCheck is the ID of one of Route 53's, empty: none.
	HealthCheck       string
	TTL               time.Duration // whole seconds
	WhenDown, AtDrain Withdrawal
	DownAfter         time.Duration // see Steady
	UpAfter           time.Duration
	Adopt             bool // records without an owner too
}

// OwnerPrefix makes the name of the TXT record that says whose a record is.
const OwnerPrefix = "_wgbgp-owner."

// ownerTTL is that of the TXT record, which no client ever asks for.
const ownerTTL = 300

// OwnerName is the name of the TXT record.
func (r *RecordRule) OwnerName() string { return OwnerPrefix + r.Record }

// ownerValue is its value, as Route 53 writes it.
func (r *RecordRule) ownerValue() string { return strconv.Quote("wgbgp-owner=" + r.Owner) }

// RecordSet is a resource record set of Route 53.
type RecordSet struct {
	Name        string // in lower case, without the last dot
	Type        string // A, AAAA, TXT, ...
	SetID       string
	Policy      RecordPolicy
	Weight      int64
	Secondary   bool // failover
	TTL         int64
	Values      []string
	HealthCheck string
	// Other says what this program never writes, such as an alias or a location, and
	// so could not put back; empty: nothing.
	Other string
}

func (s *RecordSet) equal(o *RecordSet) bool {
	return s.Name == o.Name && s.Type == o.Type && s.SetID == o.SetID && s.Policy == o.Policy && s.Weight == o.Weight && s.Secondary == o.Secondary &&
		s.TTL == o.TTL && s.HealthCheck == o.HealthCheck && s.Other == o.Other && slices.Equal(plainValues(s.Values), plainValues(o.Values))
}

// plainValues are values in order, and addresses in the one form that Go gives them.
func plainValues(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v
		if a, err := netip.ParseAddr(v); err == nil {
			out[i] = a.String()
		}
	}
	slices.Sort(out)
	return out
}

// RecordChange is one change of a batch, which AWS makes whole or not at all. What is
// deleted must be exactly what is there, and what is created must not be there, so
// that a batch never overwrites what was not read.
type RecordChange struct {
	Delete bool
	Set    RecordSet
}

// RecordVerb is what to do about a rule's records.
type RecordVerb string

// Verbs.
const (
	RecordLeave  RecordVerb = "leave"
	RecordWrite  RecordVerb = "write"
	RecordRemove RecordVerb = "remove"
)

// RecordAction is the decision about one rule.
type RecordAction struct {
	Rule    RecordRule
	Verb    RecordVerb
	Changes []RecordChange
	Why     string
	// Problem: the records should be written, and are not ours to touch.
	Problem bool
	Present []RecordSet // this host's, as read
}

// mode is what a rule's records should be.
type mode uint8

const (
	keepAsIs mode = iota
	serve
	silence // weight 0
	withdraw
)

// Decide says what to do, from all records of the name and of its owner record.
func (r *RecordRule) Decide(found []RecordSet, p Presence, s Steady) RecordAction {
	m, why := r.mode(p, s)
	a := RecordAction{Rule: *r, Verb: RecordLeave, Why: why}
	var owner *RecordSet
	var simple []RecordSet // which ours would take the place of
	for i := range found {
		switch x := &found[i]; {
		case x.Name == r.OwnerName() && x.Type == "TXT" && x.SetID == r.SetID:
			owner = x
		case x.Name == r.Record && x.SetID == r.SetID && (x.Type == "A" || x.Type == "AAAA"):
			a.Present = append(a.Present, *x)
		case x.Name == r.Record && x.Policy == PolicySimple && slices.Contains(r.types(), x.Type):
			simple = append(simple, *x)
		}
	}
	if m == keepAsIs {
		return a
	}
	ours := owner != nil && slices.Equal(owner.Values, []string{r.ownerValue()})
	mine := a.Present[:len(a.Present):len(a.Present)]
	if m == serve {
		mine = append(mine, simple...)
	}
	if text := r.obstacle(found, owner, mine, ours); text != "" {
		a.Why, a.Problem = text, m == serve
		return a
	}
	if m != serve && !ours {
		return a // nothing is taken over only to be withdrawn
	}
	old := mine
	if owner != nil {
		old = append(old, *owner)
	}
	if m == withdraw {
		a.Verb, a.Changes = RecordRemove, deletions(old)
		return a
	}
	if m == silence && len(a.Present) == 0 {
		return a // nobody is sent here
	}
	want := r.want(m == silence)
	if sameSets(old, want) {
		return a
	}
	a.Verb, a.Changes = RecordWrite, deletions(old)
	for _, w := range want {
		a.Changes = append(a.Changes, RecordChange{Set: w})
	}
	return a
}

func (r *RecordRule) mode(p Presence, s Steady) (mode, string) {
	withdrawn := map[Withdrawal]mode{WithdrawRemove: withdraw, WithdrawZero: silence, WithdrawLeave: keepAsIs}
	if p.Leave != Staying {
		return withdrawn[r.AtDrain], "this host leaves"
	}
	switch up, known := s.Up(); {
	case !known:
		return keepAsIs, "this host does not forward yet"
	case up:
		return serve, "this host forwards"
	}
	return withdrawn[r.WhenDown], "this host does not forward"
}

// obstacle says why nothing may be written; empty: it may.
func (r *RecordRule) obstacle(found []RecordSet, owner *RecordSet, mine []RecordSet, ours bool) string {
	if owner != nil && !ours {
		return "the set identifier " + r.SetID + " is owned by " + strings.Join(owner.Values, " ") + ": use another one, or remove its record " + r.OwnerName()
	}
	for i := range mine {
		switch x := &mine[i]; {
		case x.Other != "":
			return x.describe() + " has " + x.Other + ", which is not ours"
		case !ours && !r.Adopt || x.Policy == PolicySimple && !r.Adopt:
			return x.describe() + " has no owner record: adopt = true takes it over"
		}
	}
	for i := range found {
		switch x := &found[i]; {
		case x.Name != r.Record || x.SetID == r.SetID:
		case x.Type == "CNAME":
			return "the name is an alias (CNAME) of another one"
		case slices.Contains(r.types(), x.Type) && x.Policy != r.Policy && x.Policy != PolicySimple:
			return x.describe() + " has the policy " + string(x.Policy) + ": Route 53 wants one policy for all records of a name"
		}
	}
	return ""
}

func (s *RecordSet) describe() string {
	if s.SetID == "" {
		return "the simple " + s.Type + " record"
	}
	return "the " + s.Type + " record " + s.SetID
}

// types are those of the records that the rule writes.
func (r *RecordRule) types() (out []string) {
	for _, w := range r.want(false) {
		if w.Type != "TXT" {
			out = append(out, w.Type)
		}
	}
	return out
}

// want are the rule's records.
func (r *RecordRule) want(silent bool) []RecordSet {
	four, six := r.set("A"), r.set("AAAA")
	if silent {
		four.Weight, six.Weight = 0, 0
	}
	for _, a := range r.Addresses {
		if a.Is4() {
			four.Values = append(four.Values, a.String())
		} else {
			six.Values = append(six.Values, a.String())
		}
	}
	var out []RecordSet
	for _, s := range []RecordSet{four, six} {
		if len(s.Values) > 0 {
			out = append(out, s)
		}
	}
	// Weighted whatever the policy is: a primary failover record needs a health check.
	return append(out, RecordSet{
		Name: r.OwnerName(), Type: "TXT", SetID: r.SetID, Policy: PolicyWeighted, Weight: 1, TTL: ownerTTL, Values: []string{r.ownerValue()},
	})
}

func (r *RecordRule) set(kind string) RecordSet {
	s := RecordSet{Name: r.Record, Type: kind, SetID: r.SetID, Policy: r.Policy, TTL: int64(r.TTL / time.Second), HealthCheck: r.HealthCheck}
	switch r.Policy {
	case PolicyWeighted:
		s.Weight = r.Weight
	case PolicyFailover:
		s.Secondary = r.Secondary
	}
	return s
}

func deletions(sets []RecordSet) []RecordChange {
	out := make([]RecordChange, 0, len(sets))
	for _, s := range sets {
		out = append(out, RecordChange{Delete: true, Set: s})
	}
	return out
}

func sameSets(a, b []RecordSet) bool {
	order := func(x, y RecordSet) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Type, y.Type)) }
	return slices.EqualFunc(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order), func(x, y RecordSet) bool { return x.equal(&y) })
}
