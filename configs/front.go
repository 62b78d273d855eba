package configs

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// targetGroupDoc is this host as a target of a load balancer.
type targetGroupDoc struct {
	meta
	Name       string `toml:"name" class:"live" req:"name = \"wireguard\""`
	ARN        string `toml:"arn" class:"live" req:"arn = \"arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/wg/0123456789abcdef\""`
	Target     string `toml:"target" class:"live"`
	Port       uint16 `toml:"port" class:"live" span:"1..65535" req:"port = 51820"`
	Deregister bool   `toml:"deregister" class:"live"`
}

func (t *targetGroupDoc) setDefaults() { t.Deregister = true }

// recordDoc is this host's records of a name in Route 53.
type recordDoc struct {
	meta
	Name          string        `toml:"name" class:"live" req:"name = \"endpoint\""`
	Zone          string        `toml:"zone" class:"live" req:"zone = \"Z0123456789ABCDEFGHIJ\", the ID of the hosted zone"`
	Record        string        `toml:"record" class:"live" req:"record = \"wg.example.net\""`
	SetIdentifier string        `toml:"set-identifier" class:"live"`
	Addresses     []netip.Addr  `toml:"addresses" class:"live" opt:"set" req:"addresses = [\"203.0.113.10\"], where sites reach this host"`
	Policy        string        `toml:"policy" class:"live" enum:"weighted|failover|multivalue"`
	Weight        uint8         `toml:"weight" class:"live"`
	Role          string        `toml:"role" class:"live" enum:"primary|secondary"`
	HealthCheck   string        `toml:"health-check" class:"live"`
	TTL           time.Duration `toml:"ttl" class:"live" span:"1s..1h" opt:"whole"`
	WhenDown      string        `toml:"when-down" class:"live" enum:"withdraw|remove|leave"`
	AtDrain       string        `toml:"at-drain" class:"live" enum:"withdraw|remove|leave"`
	DownAfter     time.Duration `toml:"down-after" class:"live" span:"0s..1h"`
	UpAfter       time.Duration `toml:"up-after" class:"live" span:"0s..1h"`
	Adopt         bool          `toml:"adopt" class:"live"`
}

func (r *recordDoc) setDefaults() {
	r.Policy, r.Weight, r.Role, r.TTL = string(tgwconnect.PolicyWeighted), 100, "primary", time.Minute
	r.WhenDown, r.AtDrain = withdraw, string(tgwconnect.WithdrawRemove)
	r.DownAfter, r.UpAfter = 10*time.Second, 30*time.Second
}

// withdraw is the gentlest way to send nobody here: other answers stay as they are.
const withdraw = "withdraw"

// Front is where clients find this host.
type Front struct {
	Targets []tgwconnect.TargetRule
	Records []tgwconnect.RecordRule
}

var (
	targetGroup = regexp.MustCompile(`^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}$`)
	instanceID  = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
	hostedZone  = regexp.MustCompile(`^Z[0-9A-Z]{1,31}$`)
	healthCheck = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (l *loader) deriveFront() {
	for _, r := range l.doc.Record {
		if r.SetIdentifier == "" && r.ok("set-identifier") {
			r.SetIdentifier = l.doc.Gateway.Name
		}
	}
}

func (l *loader) checkTargetGroups() {
	type place struct {
		arn, target string
		port        uint16
	}
	seen := map[place]*targetGroupDoc{}
	for _, t := range l.doc.TargetGroup {
		l.checkName(&t.meta, t.Name)
		if t.ARN != "" && t.ok("arn") && !targetGroup.MatchString(t.ARN) {
			l.wrong(&t.meta, "arn", quote(t.ARN)+" is no ARN of a target group", "copy it: aws elbv2 describe-target-groups --query 'TargetGroups[].TargetGroupArn'")
		}
		if a, err := netip.ParseAddr(t.Target); t.Target != "" && t.ok("target") && !instanceID.MatchString(t.Target) && (err != nil || !reachable(a) || a.String() != t.Target) {
			l.wrong(&t.meta, "target", quote(t.Target)+" is neither an instance nor an address", "write it as i-0123456789abcdef0 or as 10.0.0.10, as the target group's type wants, or leave it out for this instance")
		}
		k := place{t.ARN, t.Target, t.Port}
		if first := seen[k]; first != nil && t.ok("arn", "target", "port") {
			l.wrong(&t.meta, "arn", "aws-target-group "+first.Name+" ("+where(first.at("arn"))+") is the same target", "remove one of them")
		}
		seen[k] = t
		if h := &l.doc.Health; t.Deregister && (h.DrainWait == 0 || len(h.Listen)+len(h.TCPListen) == 0) {
			l.warn("W-DRAIN", t.problem("deregister", "a target that is deregistered while it is healthy keeps its flows, and nothing tells the load balancer first",
				"set listen and drain-wait in [health], and let the target group check that port"))
		}
	}
}

// reachable: it can be the address of a host that others send packets to.
func reachable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

func (l *loader) checkRecords() {
	type place struct{ zone, record, id string }
	seen := map[place]*recordDoc{}
	for _, r := range l.doc.Record {
		l.checkName(&r.meta, r.Name)
		if r.Zone != "" && r.ok("zone") && !hostedZone.MatchString(r.Zone) {
			l.wrong(&r.meta, "zone", quote(r.Zone)+" is no ID of a hosted zone", "write it as Z0123456789ABCDEFGHIJ, without /hostedzone/: aws route53 list-hosted-zones")
		}
		if r.Record != "" && r.ok("record") && (!isHostname(r.Record) || !strings.Contains(r.Record, ".") || strings.HasSuffix(r.Record, ".") || r.Record != strings.ToLower(r.Record)) {
			l.wrong(&r.meta, "record", quote(r.Record)+" is no full name of a host", "write it as wg.example.net, in lower case and without a dot at its end")
		}
		if s := r.SetIdentifier; r.ok("set-identifier") && s != "" && (len(s) > 128 || hasControl(s)) {
			l.wrong(&r.meta, "set-identifier", quote(s)+" is none", "use up to 128 characters; the gateway's name is the default")
		}
		if r.HealthCheck != "" && r.ok("health-check") && !healthCheck.MatchString(r.HealthCheck) {
			l.wrong(&r.meta, "health-check", quote(r.HealthCheck)+" is no ID of a health check", "copy it: aws route53 list-health-checks")
		}
		for i, a := range r.Addresses {
			if r.ok("addresses") && !reachable(a) {
				l.wrong(&r.meta, "addresses", a.String()+" can not be reached by a site", "name the public address of this host", i)
			}
		}
		// Route 53 refuses a primary failover record without a health check.
		if r.Policy == string(tgwconnect.PolicyFailover) && r.Role == "primary" && r.HealthCheck == "" && r.ok("policy", "role", "health-check") {
			l.wrong(&r.meta, "health-check", "Route 53 wants one for a primary record", "name a health check of this host's /healthz: health-check = \"01234567-89ab-cdef-0123-456789abcdef\"")
		}
		k := place{r.Zone, r.Record, r.SetIdentifier}
		if first := seen[k]; first != nil && r.ok("zone", "record", "set-identifier") {
			l.wrong(&r.meta, "record", "aws-record "+first.Name+" ("+where(first.at("record"))+") has it already, with the same set identifier", "remove one of them, or give it another set-identifier")
		}
		seen[k] = r
	}
}

// withdrawal is what a word of when-down and at-drain means to this record.
func (r *recordDoc) withdrawal(word string) tgwconnect.Withdrawal {
	switch {
	case word != withdraw:
		return tgwconnect.Withdrawal(word)
	case r.Policy == string(tgwconnect.PolicyWeighted):
		return tgwconnect.WithdrawZero
	}
	return tgwconnect.WithdrawRemove
}

func (d *document) front() (f Front) {
	for _, t := range d.TargetGroup {
		f.Targets = append(f.Targets, tgwconnect.TargetRule{Name: t.Name, Group: t.ARN, ID: t.Target, Port: int(t.Port), Deregister: t.Deregister})
	}
	for _, r := range d.Record {
		x := tgwconnect.RecordRule{
			Name: r.Name, Zone: r.Zone, Record: r.Record, SetID: r.SetIdentifier, Owner: d.Gateway.Name, Addresses: slices.SortedFunc(slices.Values(r.Addresses), netip.Addr.Compare),
			Policy: tgwconnect.RecordPolicy(r.Policy), HealthCheck: r.HealthCheck, TTL: r.TTL, Adopt: r.Adopt,
			WhenDown: r.withdrawal(r.WhenDown), AtDrain: r.withdrawal(r.AtDrain), DownAfter: r.DownAfter, UpAfter: r.UpAfter,
		}
		switch x.Policy {
		case tgwconnect.PolicyWeighted:
			x.Weight = int64(r.Weight)
		case tgwconnect.PolicyFailover:
			x.Secondary = r.Role == "secondary"
		}
		f.Records = append(f.Records, x)
	}
	return f
}
