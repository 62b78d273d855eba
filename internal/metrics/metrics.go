// Package metrics says what the daemon's API says as numbers, in Prometheus' text
// format. Text turns answers into text and knows nothing else; Serve listens.
//
// Every value of a label is a name from the configuration or a word of a closed
// set, so that the number of series is bounded by the configuration. Keys of
// WireGuard never appear: a peer is called by its site.
package metrics

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

// ContentType of Text.
// https://prometheus.io/docs/instrumenting/exposition_formats/
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Answers are what the API says at one moment.
type Answers struct {
	Status    api.Status
	Sites     []api.Site
	Peers     []api.Peer
	Neighbors []api.Neighbor
	Discovery api.Discovery
}

// family is one metric with its samples.
type family struct {
	name, kind, help string
	lines            strings.Builder
}

// add writes a sample. Labels are pairs of name and value.
func (f *family) add(value float64, labels ...string) {
	f.lines.WriteString("wgbgp_" + f.name)
	for i := 0; i < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		f.lines.WriteString(sep + labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		f.lines.WriteByte('}')
	}
	f.lines.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

type page struct{ families []*family }

func (p *page) metric(name, kind, help string) *family {
	f := &family{name: name, kind: kind, help: help}
	p.families = append(p.families, f)
	return f
}

func (p *page) gauge(name, help string) *family   { return p.metric(name, "gauge", help) }
func (p *page) counter(name, help string) *family { return p.metric(name, "counter", help) }

func (p *page) text() string {
	var b strings.Builder
	for _, f := range p.families {
		if f.lines.Len() > 0 {
			fmt.Fprintf(&b, "# HELP wgbgp_%s %s\n# TYPE wgbgp_%s %s\n%s", f.name, f.help, f.name, f.kind, f.lines.String())
		}
	}
	return b.String()
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Text is all metrics. It is pure: the same answers give the same text.
func Text(a Answers) string {
	p := &page{}
	host(p, &a.Status)
	quotas(p, &a.Status)
	sites(p, a.Sites, a.Peers)
	neighbors(p, a.Neighbors)
	edges(p, &a.Status)
	discovery(p, &a.Discovery)
	return p.text()
}

func host(p *page, s *api.Status) {
	p.gauge("build_info", "Always 1; the version is its label.").add(1, "version", s.Version)
	p.gauge("start_time_seconds", "When the daemon started, seconds since 1970.").add(seconds(s.Started))
	p.gauge("draining", "1 while this host leaves in order.").add(truth(s.Draining))
	p.gauge("plan_generation", "Number of the latest plan.").add(float64(s.Gen))
	p.gauge("config_reload_ok", "0 when the latest reload was refused and the configuration before it still runs.").add(truth(s.Config.Error == ""))
	f := p.gauge("prefixes", "Prefixes by what became of them: learned, announced, withheld from all, installed as routes.")
	f.add(float64(s.Prefixes.Learned), "state", "learned")
	f.add(float64(s.Prefixes.Announced), "state", "announced")
	f.add(float64(s.Prefixes.Withheld), "state", "withheld")
	f.add(float64(s.Prefixes.Routes), "state", "installed")
	f = p.gauge("sites", "Sites by verdict.")
	f.add(float64(s.Sites.Up), "verdict", "up")
	f.add(float64(s.Sites.Suspect), "verdict", "suspect")
	f.add(float64(s.Sites.Down), "verdict", "down")
	f.add(float64(s.Sites.Idle), "verdict", "idle")
	f.add(float64(s.Sites.Suppressed), "verdict", "suppressed")
	f.add(float64(s.Sites.Disabled), "verdict", "disabled")
	p.gauge("sysctl_problems", "Kernel settings that forwarding needs and that are wrong.").add(float64(len(s.Sysctls)))
	f = p.gauge("alarms", "Alarms that stand, by name and severity.")
	count := map[[2]string]int{}
	var order [][2]string
	for _, x := range s.Alarms {
		k := [2]string{x.Name, x.Severity}
		if x.Severity == "" {
			k[1] = api.SeverityError
		}
		if count[k] == 0 {
			order = append(order, k)
		}
		count[k]++
	}
	for _, k := range order {
		f.add(float64(count[k]), "name", k[0], "severity", k[1])
	}
}

func seconds(s api.Stamp) float64 {
	if s.Time.IsZero() {
		return 0
	}
	return float64(s.Time.UnixMilli()) / 1000
}

// quotas: an alarm at 80 % is
// wgbgp_quota_wanted_prefixes / wgbgp_quota_limit_prefixes >= 0.8.
func quotas(p *page, s *api.Status) {
	limit := p.gauge("quota_limit_prefixes", "Prefixes that this group of neighbors is told at most.")
	wanted := p.gauge("quota_wanted_prefixes", "Prefixes that it would be told without the limit.")
	announced := p.gauge("quota_announced_prefixes", "Prefixes that it is told.")
	held := p.gauge("quota_held_prefixes", "Prefixes that are held back for the limit.")
	for _, q := range s.Quotas {
		limit.add(float64(q.Limit), "group", q.Group)
		wanted.add(float64(q.Wanted), "group", q.Group)
		announced.add(float64(q.Announced), "group", q.Group)
		held.add(float64(q.Wanted-q.Announced), "group", q.Group)
	}
}

func sites(p *page, sites []api.Site, peers []api.Peer) {
	up := p.gauge("site_up", "1 while the site is healthy.")
	ann := p.gauge("site_announced_prefixes", "Prefixes of the site that somebody is told.")
	withheld := p.gauge("site_withheld_prefixes", "Prefixes of the site that nobody is told.")
	for _, s := range sites {
		n := 0
		for _, x := range s.Prefixes {
			if x.Announced {
				n++
			}
		}
		up.add(truth(s.Verdict == "up" && !s.Disabled), "site", s.Name)
		ann.add(float64(n), "site", s.Name)
		withheld.add(float64(len(s.Prefixes)-n), "site", s.Name)
	}
	handshake := p.gauge("peer_handshake_time_seconds", "Latest WireGuard handshake, seconds since 1970.")
	rtt := p.gauge("peer_rtt_seconds", "Round trip of the latest answered probe.")
	rx := p.counter("peer_received_bytes_total", "Bytes received from the WireGuard peer.")
	tx := p.counter("peer_sent_bytes_total", "Bytes sent to the WireGuard peer.")
	for _, x := range peers {
		if x.Name == "" {
			continue // not ours: its key is all it has for a name
		}
		if !x.Handshake.Time.IsZero() {
			handshake.add(seconds(x.Handshake), "site", x.Name)
		}
		if x.RTTMillis > 0 {
			rtt.add(x.RTTMillis/1000, "site", x.Name)
		}
		rx.add(float64(x.RxBytes), "site", x.Name)
		tx.add(float64(x.TxBytes), "site", x.Name)
	}
}

func neighbors(p *page, list []api.Neighbor) {
	up := p.gauge("neighbor_up", "1 while the BGP session is Established and may exchange something.")
	learned := p.gauge("neighbor_accepted_prefixes", "Paths accepted from the neighbor.")
	refused := p.gauge("neighbor_rejected_prefixes", "Paths refused by policy.")
	told := p.gauge("neighbor_announced_prefixes", "Paths announced to the neighbor.")
	in := p.counter("neighbor_received_messages_total", "BGP messages received.")
	out := p.counter("neighbor_sent_messages_total", "BGP messages sent.")
	for _, n := range list {
		if n.Dynamic != "" {
			continue // its name is an address that the configuration does not bound
		}
		up.add(truth(n.State == "Established"), "neighbor", n.Name)
		learned.add(float64(n.Accepted), "neighbor", n.Name)
		refused.add(float64(n.Rejected), "neighbor", n.Name)
		told.add(float64(n.Announced), "neighbor", n.Name)
		in.add(float64(n.MessagesIn), "neighbor", n.Name)
		out.add(float64(n.MessagesOut), "neighbor", n.Name)
	}
}

func edges(p *page, s *api.Status) {
	ok := p.gauge("edge_ok", "1 while the edge has done what the plan wants.")
	for _, e := range s.Edges {
		ok.add(truth(e.OK), "edge", e.Name)
	}
	p.counter("aws_requests_total", "Requests to AWS, retries included.").add(float64(s.AWS.Requests))
	p.counter("aws_throttled_requests_total", "Such requests that AWS refused for their number.").add(float64(s.AWS.Throttled))
	p.counter("aws_denied_requests_total", "Calls that were refused for lack of a permission.").add(float64(s.AWS.Denied))
	p.counter("aws_failed_requests_total", "Calls that failed after all attempts.").add(float64(s.AWS.Failed))
	writes := p.counter("route_writes_total", "Requests that changed the kernel's routes.")
	errs := p.counter("route_errors_total", "Such requests that the kernel refused.")
	for _, e := range s.Edges {
		if e.Counters != nil {
			writes.add(float64(e.Counters.Writes))
			errs.add(float64(e.Counters.Errors))
		}
	}
	greeted := p.counter("greetings_total", "Handshakes begun with peers that had a session with another host of the fleet, by why.")
	for _, e := range s.Edges {
		if e.Greetings != nil {
			greeted.add(float64(e.Greetings.Takeover), "reason", "takeover")
			greeted.add(float64(e.Greetings.Sighted), "reason", "sighted")
		}
	}
	up := p.gauge("tunnel_up", "1 while the GRE tunnel is there.")
	rx := p.counter("tunnel_received_packets_total", "Packets received through the tunnel.")
	tx := p.counter("tunnel_sent_packets_total", "Packets sent through the tunnel.")
	drop := p.counter("tunnel_dropped_packets_total", "Packets dropped at the tunnel.")
	for _, t := range s.Tunnels {
		up.add(truth(t.Up), "tunnel", t.Name)
		rx.add(float64(t.Rx), "tunnel", t.Name)
		tx.add(float64(t.Tx), "tunnel", t.Name)
		drop.add(float64(t.Dropped), "tunnel", t.Name)
	}
}
