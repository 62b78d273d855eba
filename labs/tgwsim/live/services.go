package live

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// LoadBalancer is a Network Load Balancer. It has an API and asks its targets; no
// packet goes through it.
type LoadBalancer struct {
	Name      string     `toml:"name"`
	Subnets   []string   `toml:"subnets"`
	Scheme    string     `toml:"scheme"` // empty: internet-facing
	DualStack bool       `toml:"dual-stack"`
	Listeners []Listener `toml:"listener"`
}

// Listener hands a port to a target group.
type Listener struct {
	Protocol    string `toml:"protocol"` // empty: UDP
	Port        int32  `toml:"port"`
	TargetGroup string `toml:"target-group"`
}

// TargetGroup is a target group of a Network Load Balancer.
type TargetGroup struct {
	Name     string      `toml:"name"`
	VPC      string      `toml:"vpc"`
	Type     string      `toml:"type"`     // instance (also if empty), ip
	Protocol string      `toml:"protocol"` // empty: UDP
	Port     int32       `toml:"port"`
	IPv6     bool        `toml:"ipv6"`
	Check    TargetCheck `toml:"check"`
	// Attributes such as "deregistration_delay.timeout_seconds" = "5".
	Attributes map[string]string `toml:"attributes"`
	Targets    []string          `toml:"targets"` // names of instances, or addresses
}

// TargetCheck is a health check, by default AWS's: every 30 s, 10 s (HTTP: 6 s) for
// an answer, 5 good ones in a row, 2 bad ones. A lab may take shorter times than
// AWS has.
type TargetCheck struct {
	Protocol  string `toml:"protocol"` // TCP (also if empty), HTTP, HTTPS
	Port      int32  `toml:"port"`     // 0: the target's
	Path      string `toml:"path"`     // empty: /
	Matcher   string `toml:"matcher"`  // empty: 200-399
	Interval  int32  `toml:"interval"`
	Timeout   int32  `toml:"timeout"`
	Healthy   int32  `toml:"healthy"`
	Unhealthy int32  `toml:"unhealthy"`
}

// HostedZone is a zone of Route 53.
type HostedZone struct {
	Name    string   `toml:"name"`
	VPCs    []string `toml:"vpcs"` // of a private zone
	Records []Record `toml:"record"`
}

// Record is a resource record set.
type Record struct {
	Name     string   `toml:"name"`
	Type     string   `toml:"type"`
	TTL      int64    `toml:"ttl"` // 0: 300
	Values   []string `toml:"values"`
	SetID    string   `toml:"set-identifier"`
	Weight   *int64   `toml:"weight"`
	Failover string   `toml:"failover"`
}

// Secret is a secret of Secrets Manager.
type Secret struct {
	Name string `toml:"name"`
	Text string `toml:"text"`
}

// Parameter is a parameter of Parameter Store.
type Parameter struct {
	Name  string `toml:"name"`
	Type  string `toml:"type"` // empty: SecureString
	Value string `toml:"value"`
}

// Caller is somebody with credentials.
type Caller struct {
	AccessKey string `toml:"access-key"`
	SecretKey string `toml:"secret-key"`
	ARN       string `toml:"arn"`
}

// hex is the end of an ARN.
func hex(kind, name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind + " " + name))
	return fmt.Sprintf("%016x", h.Sum64())
}

func (b *builder) groupARN(name string) string {
	return b.s.ELBARN("targetgroup", name, hex("targetgroup", name))
}

func (b *builder) loadBalancers() {
	for _, g := range b.f.TargetGroups {
		c := g.Check
		out := &world.TargetGroup{
			ARN: b.groupARN(g.Name), Name: g.Name, VPCID: ref(b, b.s.VPCs, "vpc", g.VPC), Type: cmp.Or(g.Type, "instance"),
			Protocol: cmp.Or(g.Protocol, "UDP"), Port: g.Port, IPv6: g.IPv6, Attributes: g.Attributes, Tags: named(g.Name),
			Check: world.TargetCheck{
				Protocol: cmp.Or(c.Protocol, "TCP"), Port: "traffic-port", Interval: cmp.Or(c.Interval, 30), Timeout: cmp.Or(c.Timeout, 10),
				Healthy: cmp.Or(c.Healthy, 5), Unhealthy: cmp.Or(c.Unhealthy, 2),
			},
		}
		if c.Port != 0 {
			out.Check.Port = strconv.Itoa(int(c.Port))
		}
		if out.Check.Protocol != "TCP" {
			out.Check.Path, out.Check.Matcher, out.Check.Timeout = cmp.Or(c.Path, "/"), cmp.Or(c.Matcher, "200-399"), cmp.Or(c.Timeout, 6)
		}
		for _, t := range g.Targets {
			id := t
			if out.Type == "instance" {
				id = ref(b, b.s.Instances, "i", t)
			}
			out.Targets = append(out.Targets, &world.GroupTarget{
				ID: id, Port: g.Port, Lifecycle: world.Lifecycle{State: "initial", Created: b.now}, Reason: "Elb.RegistrationInProgress", Since: b.now,
			})
		}
		b.s.TargetGroups[out.ARN] = out
	}
	for _, l := range b.f.LoadBalancers {
		id := hex("loadbalancer", l.Name)
		out := &world.LoadBalancer{
			ARN: b.s.ELBARN("loadbalancer/net", l.Name, id), Name: l.Name, Scheme: cmp.Or(l.Scheme, "internet-facing"), DualStack: l.DualStack,
			DNSName: l.Name + "-" + id + ".elb." + b.f.Region + ".amazonaws.com", Lifecycle: world.Lifecycle{State: "active", Created: b.now}, Tags: named(l.Name),
		}
		for _, n := range l.Subnets {
			out.SubnetIDs = append(out.SubnetIDs, ref(b, b.s.Subnets, "subnet", n))
		}
		for i, e := range l.Listeners {
			group := b.groupARN(e.TargetGroup)
			if b.s.TargetGroups[group] == nil {
				b.errs = append(b.errs, fmt.Errorf("load-balancer %s: there is no target-group %q", l.Name, e.TargetGroup))
			}
			out.Listeners = append(out.Listeners, world.Listener{
				ARN: b.s.ELBARN("listener/net", l.Name, id+"/"+hex("listener", fmt.Sprint(l.Name, i))), Protocol: cmp.Or(e.Protocol, "UDP"), Port: e.Port, TargetGroupARN: group,
			})
		}
		if len(out.SubnetIDs) > 0 && b.s.Subnets[out.SubnetIDs[0]] != nil {
			out.VPCID = b.s.Subnets[out.SubnetIDs[0]].VPCID
		}
		b.s.LoadBalancers[out.ARN] = out
	}
}

func (b *builder) hostedZones() {
	for _, z := range b.f.HostedZones {
		out := world.NewZone("Z"+strings.ToUpper(hex("zone", z.Name)), z.Name)
		for _, v := range z.VPCs {
			out.VPCIDs = append(out.VPCIDs, ref(b, b.s.VPCs, "vpc", v))
		}
		for _, r := range z.Records {
			ttl := cmp.Or(r.TTL, 300)
			out.Records = append(out.Records, world.Record{
				Name: world.DNSName(r.Name), Type: r.Type, TTL: &ttl, Values: r.Values, SetID: r.SetID, Weight: r.Weight, Failover: r.Failover,
			})
		}
		slices.SortFunc(out.Records, world.CompareRecords)
		b.s.HostedZones[out.ID] = out
	}
}

func (b *builder) secrets() {
	for _, x := range b.f.Secrets {
		b.s.PutSecret("", x.Name, world.SecretVersion{Text: x.Text, Created: b.now})
	}
	for _, p := range b.f.Parameters {
		b.s.PutParameter("", p.Name, cmp.Or(p.Type, "SecureString"), world.ParameterVersion{Value: p.Value, Modified: b.now})
	}
	for _, c := range b.f.Callers {
		b.s.Callers[c.AccessKey] = world.Caller{ARN: c.ARN, UserID: c.AccessKey, SecretKey: c.SecretKey}
	}
}

func (l *Network) showTargets(name string) (string, error) {
	s := l.world.Snapshot()
	g, err := find(s.TargetGroups, name, func(g *world.TargetGroup) world.Tags { return g.Tags })
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, t := range g.Targets {
		h := s.TargetHealth(g, t)
		name := t.ID
		if i := s.Instances[t.ID]; i != nil {
			name = i.Tags["Name"]
		}
		rows = append(rows, []string{name, strconv.Itoa(int(t.Port)), h.State, cmp.Or(h.Reason, "-")})
	}
	return table(rows), nil
}

func (l *Network) showRecords(name string) (string, error) {
	z, err := find(l.world.Snapshot().HostedZones, name, func(z *world.HostedZone) world.Tags { return z.Tags })
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, r := range z.Records {
		kind := cmp.Or(r.SetID, "-")
		if r.Weight != nil {
			kind += " weight=" + strconv.FormatInt(*r.Weight, 10)
		}
		if r.Failover != "" {
			kind += " " + r.Failover
		}
		values := r.Values
		if r.Alias != nil {
			values = []string{"alias of " + r.Alias.Name}
		}
		rows = append(rows, []string{r.Name, r.Type, kind, strings.Join(values, " ")})
	}
	return table(rows), nil
}
