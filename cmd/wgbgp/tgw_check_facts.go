package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor/gather"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
)

// daemonFactsOf asks the daemon everything that the checks look at. No daemon is a
// gap, not an error.
func daemonFactsOf(ctx context.Context, a *app) doctor.Daemon {
	d := doctor.Daemon{AdjIn: map[string]api.AdjIn{}, AdjOut: map[string]api.AdjOut{}}
	err := a.ask(ctx, func(ctx context.Context, c *api.Client) (err error) {
		d.Status, err = c.Status(ctx)
		return err
	})
	if err != nil {
		d.Gap, d.ConfigGap = err.Error(), "no daemon was asked for it"
		return d
	}
	note := func(err error) {
		if err != nil && d.Gap == "" {
			d.Gap = err.Error()
		}
	}
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		n, err := c.Neighbors(ctx, "")
		d.Neighbors = n.Neighbors
		return err
	}))
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		p, err := c.Peers(ctx, "")
		d.Peers = p.Peers
		return err
	}))
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		h, err := c.Health(ctx, "")
		d.Health = h.Health
		return err
	}))
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		m, err := c.MTU(ctx, "")
		d.MTU = m.Chains
		return err
	}))
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		r, err := c.Routes(ctx, api.PrefixQuery{})
		d.Routes = r.Routes
		return err
	}))
	note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		k, err := c.CheckKernel(ctx)
		d.Kernel = k.Problems
		return err
	}))
	for _, n := range d.Neighbors {
		if n.Range.IsValid() || n.Kind != "tgw" && n.Kind != "fleet" {
			continue
		}
		note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
			in, err := c.AdjIn(ctx, n.Name)
			d.AdjIn[n.Name] = in
			return err
		}))
		note(a.ask(ctx, func(ctx context.Context, c *api.Client) error {
			out, err := c.AdjOut(ctx, n.Name)
			d.AdjOut[n.Name] = out
			return err
		}))
	}
	d.Config, err = runningConfig(d.Status.Config.File)
	if err != nil {
		d.ConfigGap = err.Error()
	}
	return d
}

// runningConfig reads what the daemon runs from its file. Secrets stay closed.
func runningConfig(path string) (*doctor.Config, error) {
	if path == "" {
		return nil, errors.New("the daemon names no file")
	}
	c, _, err := configs.Load(path, configs.Options{CheckOnly: true})
	if c == nil {
		return nil, fmt.Errorf("%s can not be read here: %w", path, err)
	}
	core := c.Core
	out := &doctor.Config{Connect: core.Connect, Ports: map[string]uint16{}}
	for _, t := range c.Front.Targets {
		if !slices.Contains(out.TargetGroups, t.Group) {
			out.TargetGroups = append(out.TargetGroups, t.Group)
		}
	}
	for _, n := range core.Neighbors {
		local := n.LocalASN
		if local == 0 {
			local = core.Gateway.ASN
		}
		ttl := n.MultihopTTL
		if n.TTLSecurity {
			ttl = 255
		}
		out.Neighbors = append(out.Neighbors, doctor.NeighborConfig{Name: n.Name, Address: n.Address, EBGP: local != n.RemoteASN, TTL: ttl, HoldTime: n.HoldTime})
	}
	for _, d := range core.Devices {
		out.Ports[d.Name] = d.ListenPort
	}
	for _, s := range core.Sites {
		x := doctor.SiteConfig{Name: s.Name, Device: s.Device, Keepalive: s.Peer.Keepalive}
		if s.Peer.Endpoint.Host != "" {
			x.Endpoint = net.JoinHostPort(s.Peer.Endpoint.Host, strconv.Itoa(int(s.Peer.Endpoint.Port)))
		}
		out.Sites = append(out.Sites, x)
	}
	for device, shared := range c.SharedKeys() {
		if shared {
			out.SharedKeys = append(out.SharedKeys, device)
		}
	}
	slices.Sort(out.SharedKeys)
	return out, nil
}

// metadata is where EC2's metadata service is (link-local, on every instance).
var metadata = netip.AddrFrom4([4]byte{169, 254, 169, 254})

// hostFactsOf reads the kernel.
func hostFactsOf(ctx context.Context, d doctor.Daemon) doctor.Host {
	h := gather.Host()
	if h.Gap != "" {
		return h
	}
	found, err := gre.Inspect()
	if err != nil {
		h.TunnelsGap = err.Error()
	}
	for _, t := range found {
		x := doctor.Tunnel{Name: t.Name, Local: t.Local, Remote: t.Remote, InFlags: t.InFlags, OutFlags: t.OutFlags, MTU: t.MTU}
		for _, i := range h.Interfaces {
			if i.Name == t.Name {
				x.Addresses = i.Addresses
			}
		}
		h.Tunnels = append(h.Tunnels, x)
	}
	h.Lookups = append(h.Lookups, gather.Lookup(doctor.LookupMetadata, metadata, h.Interfaces))
	for _, t := range d.Status.Tunnels {
		if t.Remote.IsValid() {
			h.Lookups = append(h.Lookups, gather.Lookup(doctor.LookupTGW, t.Remote, h.Interfaces))
		}
	}
	for _, p := range d.Peers {
		if a := outerAddress(p); a.IsValid() {
			h.Lookups = append(h.Lookups, gather.Lookup(doctor.LookupEndpoint+" of "+p.Name, a, h.Interfaces))
		}
	}
	for _, n := range d.Neighbors {
		if n.Kind == "tgw" && n.State != "Established" && n.State != api.StatePolicy && n.Address.IsValid() && len(h.Dials) < 16 {
			h.Dials = append(h.Dials, gather.Dial(ctx, n.LocalAddress, n.Address))
		}
	}
	return h
}

// outerAddress is where a peer's packets go, if that is an address.
func outerAddress(p api.Peer) netip.Addr {
	for _, s := range []string{p.Endpoint, p.Configured} {
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && !a.IsLoopback() && !a.IsUnspecified() {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}

// sampleAgain reads the counters again, not before sample has passed since first.
func sampleAgain(ctx context.Context, a *app, f *doctor.Facts, first time.Time, sample time.Duration) {
	if sample == 0 {
		return
	}
	t := time.NewTimer(sample - time.Since(first))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return
	}
	if f.Host.Gap == "" {
		gather.Again(&f.Host, time.Since(first))
	}
	if f.Daemon.Gap != "" {
		return
	}
	_ = a.ask(ctx, func(ctx context.Context, c *api.Client) error { // one reading is enough
		p, err := c.Peers(ctx, "")
		if err == nil {
			f.Daemon.PeersBefore, f.Daemon.Peers = f.Daemon.Peers, p.Peers
		}
		return err
	})
}
