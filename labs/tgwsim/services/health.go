package services

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Checker asks the registered targets of all target groups as the nodes of a
// Network Load Balancer do [NLB-HC], from the host that it runs on: one question
// per interval, where AWS asks from several nodes.
type Checker struct {
	world  *world.World
	client *http.Client
	known  map[asked]*answers
	told   chan told
}

// asked is a target of a group.
type asked struct {
	group, id string
	port      int32
}

// answers are what a target has answered since its registration.
type answers struct {
	next      time.Time // of the next question
	good, bad int32     // in a row
}

// told is the outcome of one question; an empty reason is a good one.
type told struct {
	asked
	reason string
}

// NewChecker makes the targets of a world depend on what they answer.
func NewChecker(w *world.World) *Checker {
	w.AskTargets()
	return &Checker{world: w, known: map[asked]*answers{}, told: make(chan told), client: &http.Client{
		// Certificates are not looked at [NLB-HC].
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Run asks until ctx ends.
func (c *Checker) Run(ctx context.Context) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.ask(ctx)
		case k := <-c.told:
			c.judge(k)
		}
	}
}

// ask begins the questions that are due.
func (c *Checker) ask(ctx context.Context) {
	s := c.world.Snapshot()
	there := map[asked]bool{}
	for _, g := range world.Values(s.TargetGroups) {
		for _, t := range g.Targets {
			switch s.TargetHealth(g, t).State {
			case "initial", "healthy", "unhealthy":
			default:
				continue
			}
			k := asked{g.ARN, t.ID, t.Port}
			there[k] = true
			if c.known[k] == nil {
				c.known[k] = &answers{}
			}
			if now := time.Now(); !now.Before(c.known[k].next) {
				c.known[k].next = now.Add(time.Duration(g.Check.Interval) * time.Second)
				port := strconv.Itoa(int(t.Port))
				if g.Check.Port != "traffic-port" {
					port = g.Check.Port
				}
				go c.question(ctx, k, g.Check, net.JoinHostPort(s.Address(g, t).String(), port))
			}
		}
	}
	for k := range c.known {
		if !there[k] {
			delete(c.known, k) // registered again it begins anew
		}
	}
}

func (c *Checker) question(ctx context.Context, k asked, check world.TargetCheck, address string) {
	within, stop := context.WithTimeout(ctx, time.Duration(check.Timeout)*time.Second)
	defer stop()
	reason := c.probe(within, check, address)
	select {
	case c.told <- told{k, reason}:
	case <-ctx.Done():
	}
}

// probe asks once. The reasons are the API's [API, TargetHealth].
func (c *Checker) probe(ctx context.Context, check world.TargetCheck, address string) string {
	failed := func(err error) string {
		if errors.Is(err, context.DeadlineExceeded) {
			return "Target.Timeout"
		}
		return "Target.FailedHealthChecks"
	}
	if check.Protocol == "TCP" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return failed(err)
		}
		_ = conn.Close()
		return ""
	}
	u := url.URL{Scheme: strings.ToLower(check.Protocol), Host: address, Path: check.Path}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "Elb.InternalError"
	}
	r.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	a, err := c.client.Do(r)
	if err != nil {
		return failed(err)
	}
	_ = a.Body.Close()
	if !matches(check.Matcher, a.StatusCode) {
		return "Target.ResponseCodeMismatch"
	}
	return ""
}

// matches reads a matcher: "200", "200,202" or "200-399" [API, Matcher].
func matches(matcher string, status int) bool {
	for part := range strings.SplitSeq(matcher, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, _ := strconv.Atoi(from) // one that is no number matches nothing
		high := low
		if isRange {
			high, _ = strconv.Atoi(to)
		}
		if low <= status && status <= high {
			return true
		}
	}
	return false
}

// judge counts an answer. A new target needs one good answer (assumed; the healthy
// threshold is for unhealthy ones [API]).
func (c *Checker) judge(k told) {
	a := c.known[k.asked]
	if a == nil {
		return
	}
	if k.reason == "" {
		a.good, a.bad = a.good+1, 0
	} else {
		a.good, a.bad = 0, a.bad+1
	}
	s := c.world.Snapshot()
	g := s.TargetGroups[k.group]
	if g == nil {
		return
	}
	for _, t := range g.Targets {
		if t.ID != k.id || t.Port != k.port {
			continue
		}
		well := t.State == "healthy"
		switch {
		case !well && (a.good >= g.Check.Healthy || t.State == "initial" && a.good > 0):
			c.world.Judge(k.group, k.id, k.port, true, "")
		case t.State != "unhealthy" && a.bad >= g.Check.Unhealthy, t.State == "unhealthy" && a.bad > 0 && t.Reason != k.reason:
			c.world.Judge(k.group, k.id, k.port, false, k.reason)
		}
	}
}
