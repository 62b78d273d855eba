package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func named(key, name string) url.Values {
	v := url.Values{}
	if name != "" {
		v.Set(key, name)
	}
	return v
}

// Version asks what the daemon is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

// Status asks for the summary.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Peers asks for all peers, or those of one name or public key.
func (c *Client) Peers(ctx context.Context, name string) (PeerList, error) {
	return get[PeerList](ctx, c, "/v1/peers", named("name", name))
}

// Sites asks for all sites or one.
func (c *Client) Sites(ctx context.Context, name string) (SiteList, error) {
	return get[SiteList](ctx, c, "/v1/sites", named("name", name))
}

// SetSite disables or enables a site; keep makes that outlive a restart of the
// daemon.
func (c *Client) SetSite(ctx context.Context, name string, disabled, keep bool) (Done, error) {
	if disabled {
		return post[Done](ctx, c, "/v1/sites/disable", order{Name: name, Keep: keep})
	}
	return post[Done](ctx, c, "/v1/sites/enable", order{Name: name, Keep: keep})
}

// Neighbors asks for all neighbors, or those of one name or address.
func (c *Client) Neighbors(ctx context.Context, name string) (NeighborList, error) {
	return get[NeighborList](ctx, c, "/v1/neighbors", named("name", name))
}

// MTU asks how large packets to all sites or one may be.
func (c *Client) MTU(ctx context.Context, site string) (MTUList, error) {
	return get[MTUList](ctx, c, "/v1/mtu", named("site", site))
}

// Discovery asks for the last answers of AWS about Connect peers and Route Servers.
func (c *Client) Discovery(ctx context.Context) (Discovery, error) {
	return get[Discovery](ctx, c, "/v1/tgw/peers", nil)
}

// BFD asks for all BFD sessions, or those of one name or address.
func (c *Client) BFD(ctx context.Context, name string) (BFDList, error) {
	return get[BFDList](ctx, c, "/v1/bfd", named("name", name))
}

// AdjIn asks what a neighbor sent.
func (c *Client) AdjIn(ctx context.Context, name string) (AdjIn, error) {
	return get[AdjIn](ctx, c, "/v1/neighbors/adj-in", named("name", name))
}

// AdjOut asks what a neighbor is sent.
func (c *Client) AdjOut(ctx context.Context, name string) (AdjOut, error) {
	return get[AdjOut](ctx, c, "/v1/neighbors/adj-out", named("name", name))
}

// AWSRoutes asks for the entries of AWS route tables that follow the sites.
func (c *Client) AWSRoutes(ctx context.Context) (AWSRouteList, error) {
	return get[AWSRouteList](ctx, c, "/v1/aws/routes", nil)
}

// AWSFront asks where clients find this host.
func (c *Client) AWSFront(ctx context.Context) (AWSFront, error) {
	return get[AWSFront](ctx, c, "/v1/aws/front", nil)
}

// HA asks who speaks for all sites or one.
func (c *Client) HA(ctx context.Context, site string) (HAList, error) {
	return get[HAList](ctx, c, "/v1/ha", named("name", site))
}

// Steer orders who speaks for a site, or all; keep makes that outlive a restart of
// the daemon.
func (c *Client) Steer(ctx context.Context, site, what string, keep bool) (Done, error) {
	return post[Done](ctx, c, "/v1/ha/steer", order{Name: site, Order: what, Keep: keep})
}

// Drain begins a drain; keep makes it outlive a restart of the daemon.
func (c *Client) Drain(ctx context.Context, reason string, keep bool) (Done, error) {
	return post[Done](ctx, c, "/v1/drain", order{Reason: reason, Keep: keep})
}

// Undrain ends a drain.
func (c *Client) Undrain(ctx context.Context) (Done, error) {
	return post[Done](ctx, c, "/v1/undrain", order{})
}

// RestartCost asks what a restart would cost.
func (c *Client) RestartCost(ctx context.Context) (Restart, error) {
	return get[Restart](ctx, c, "/v1/restart/cost", nil)
}

// Restart begins one; force: whatever it costs.
func (c *Client) Restart(ctx context.Context, force bool) (Done, error) {
	return post[Done](ctx, c, "/v1/restart", order{Force: force})
}

// ResetNeighbor resets a session.
func (c *Client) ResetNeighbor(ctx context.Context, name string) (Done, error) {
	return post[Done](ctx, c, "/v1/neighbors/reset", order{Name: name})
}

// RIB asks for prefixes and their candidates.
func (c *Client) RIB(ctx context.Context, q PrefixQuery) (RIB, error) {
	return get[RIB](ctx, c, "/v1/rib", q.values())
}

// Routes asks for kernel routes.
func (c *Client) Routes(ctx context.Context, q PrefixQuery) (RouteList, error) {
	return get[RouteList](ctx, c, "/v1/routes", q.values())
}

func (q PrefixQuery) values() url.Values {
	v := url.Values{}
	if !q.All() {
		v.Set("prefix", q.Prefix.String())
		v.Set("longer", strconv.FormatBool(q.Longer))
	}
	return v
}

// Health asks for all judgements or one.
func (c *Client) Health(ctx context.Context, site string) (HealthList, error) {
	return get[HealthList](ctx, c, "/v1/health", named("site", site))
}

// Explain asks why.
func (c *Client) Explain(ctx context.Context, q ExplainQuery) (Explain, error) {
	return get[Explain](ctx, c, "/v1/explain", named("q", q.Text()))
}

// Check asks what is wrong.
func (c *Client) Check(ctx context.Context) (CheckReport, error) {
	return get[CheckReport](ctx, c, "/v1/check", nil)
}

// CheckKernel asks where the kernel differs from what should be.
func (c *Client) CheckKernel(ctx context.Context) (CheckReport, error) {
	return get[CheckReport](ctx, c, "/v1/check", url.Values{"kernel": {"true"}})
}

// Config asks for the running configuration.
func (c *Client) Config(ctx context.Context) (Config, error) {
	return get[Config](ctx, c, "/v1/config", nil)
}

// ConfigDiff asks what a reload with the file would change. The daemon reads
// the file, so path is absolute and on the daemon's host.
func (c *Client) ConfigDiff(ctx context.Context, path string) (ConfigReport, error) {
	return post[ConfigReport](ctx, c, "/v1/config/diff", order{Path: path})
}

// Reload orders a reload.
func (c *Client) Reload(ctx context.Context) (ConfigReport, error) {
	return post[ConfigReport](ctx, c, "/v1/config/reload", order{})
}

// EventQuery selects events: those after Seq in the life Boot (both zero: new
// ones only), of the kinds listed (none: all).
type EventQuery struct {
	Boot  string
	Seq   uint64
	Kinds []string
}

// Events calls each for every event until ctx ends, each fails or the daemon
// leaves; the latter two are errors, the daemon's leaving has CodeUnreachable.
// opened, when not nil, is called once the daemon has accepted the query, with
// its life and the number of its latest event.
// An error of each is returned as it is.
func (c *Client) Events(ctx context.Context, q EventQuery, opened func(boot string, seq uint64), each func(Event) error) error {
	v := url.Values{}
	if q.Boot != "" || q.Seq != 0 {
		v.Set("boot", q.Boot)
		v.Set("since", strconv.FormatUint(q.Seq, 10))
	}
	if len(q.Kinds) > 0 {
		v.Set("kind", strings.Join(q.Kinds, ","))
	}
	// A daemon that sends no sign of life is gone, whatever the socket says.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dog := time.AfterFunc(3*defaultTimeouts.keepalive, cancel)
	defer dog.Stop()
	resp, err := c.send(ctx, http.MethodGet, pathEvents+"?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if opened != nil {
		seq, _ := strconv.ParseUint(resp.Header.Get(headerSeq), 10, 64) // 0 when missing: new events only
		opened(resp.Header.Get(headerBoot), seq)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		dog.Reset(3 * defaultTimeouts.keepalive)
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if err := checkSchema(line); err != nil {
			return err
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return Errorf(CodeFailed, "event of %s: %v", c.target, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return Errorf(CodeUnreachable, "%s: the event stream ended", c.target)
}
