// Package tgwdouble plays the AWS side of TGW Connect on a host of a lab: a GRE
// tunnel per Connect peer, two BGP speakers on inside addresses 2 and 3 of each,
// ECMP across Connect peers, and routes to the workloads behind it. What it
// imitates is in the comments; it knows nothing of AWS's API.
package tgwdouble

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
)

// Config is a Transit Gateway with its Connect peers.
type Config struct {
	ASN     bgp.ASN // 0: 64512, Amazon's default
	Connect []Connect
	// Networks are the prefixes of the other attachments, the workloads.
	Networks []netip.Prefix
	// Hold is the hold time in seconds, 0: 30. AWS proposes 30 and can not be
	// told otherwise.
	Hold   int
	Events string // see router.Config
	// TunnelsOnly leaves BGP to somebody else on the same host, who gets inside
	// address 2 alone: most daemons can not tell two sessions from one address
	// apart.
	TunnelsOnly bool
}

// Connect is one Connect peer as the TGW sees it.
type Connect struct {
	Name    string
	Device  string
	Local   netip.Addr   // TransitGatewayAddress
	Remote  netip.Addr   // PeerAddress, the gateway
	Inside4 netip.Prefix // the /29
	Inside6 netip.Prefix // the /125, invalid: none
	PeerASN bgp.ASN
	MTU     int
	Backend tgwconnect.Backend // empty: auto
}

// Run plays the TGW described by the JSON in file until SIGTERM. SIGHUP reads
// Networks again.
func Run(file string, log *slog.Logger) error {
	cfg, err := read(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	tunnels, err := gre.New(gre.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { _ = tunnels.Close() }()
	var want []tgwconnect.Tunnel
	for _, c := range cfg.Connect {
		want = append(want, c.tunnel(cfg.TunnelsOnly))
	}
	if err := bringUp(ctx, tunnels, want); err != nil {
		return err
	}

	if cfg.TunnelsOnly {
		<-ctx.Done()
		return nil
	}
	r, err := router.New(cfg.router(), log)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if cfg, err := read(file); err != nil {
				log.Error("reload", "err", err)
			} else {
				r.SetNetworks(cfg.Networks)
			}
		}
	}()
	return r.Run(ctx)
}

func read(file string) (Config, error) {
	var cfg Config
	b, err := os.ReadFile(file)
	if err != nil {
		return cfg, err
	}
	if err := json.Unmarshal(b, &cfg); err != nil {
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	if cfg.ASN == 0 {
		cfg.ASN = 64512
	}
	return cfg, nil
}

// bringUp waits for the tunnels, because a speaker can listen only on addresses
// that exist.
func bringUp(ctx context.Context, m *gre.Manager, want []tgwconnect.Tunnel) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		var down *tgwconnect.TunnelState
		for _, s := range m.Apply(ctx, 1, want, false) {
			if !s.Up {
				down = &s
			}
		}
		if down == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("tunnel %s does not come up: %s", down.Name, down.Err)
		case <-m.Events():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tunnel puts the AWS-side inside addresses, hosts 2 and 3, on one device.
func (c Connect) tunnel(single bool) tgwconnect.Tunnel {
	t := tgwconnect.Tunnel{Name: c.Device, Backend: c.Backend, Local: c.Local, Remote: c.Remote, MTU: c.MTU}
	if t.Backend == "" {
		t.Backend = tgwconnect.BackendAuto
	}
	hosts := []int{2, 3}
	if single {
		hosts = hosts[:1]
	}
	for _, host := range hosts {
		t.Addresses = append(t.Addresses, tgwconnect.Host(c.Inside4, host))
		if c.Inside6.IsValid() {
			t.Addresses = append(t.Addresses, tgwconnect.Host(c.Inside6, host))
		}
	}
	return t
}

// router makes two speakers: the sessions of one Connect peer go to the same
// address of the gateway, from two addresses of the TGW.
func (cfg Config) router() router.Config {
	rc := router.Config{
		ASN: cfg.ASN, RouterID: netip.MustParseAddr("10.255.255.1"),
		Networks: cfg.Networks, Reflect: true, Table: 1512, Events: cfg.Events,
	}
	for n, host := range []int{2, 3} {
		var s router.Speaker
		for _, c := range cfg.Connect {
			local := tgwconnect.Host(c.Inside4, host).Addr()
			neighbor := router.Neighbor{
				Name: fmt.Sprintf("%s/%d", c.Name, n+1), Via: c.Name, Device: c.Device,
				Address: tgwconnect.Host(c.Inside4, 1).Addr(), Local: local, ASN: c.PeerASN,
				// The appliance dials and AWS answers; eBGP multihop with TTL 2.
				Passive: true, MultihopTTL: 2, Hold: cfg.Hold,
			}
			if c.Inside6.IsValid() {
				neighbor.NextHop6 = tgwconnect.Host(c.Inside6, host).Addr()
			}
			s.Listen = append(s.Listen, local)
			s.Neighbors = append(s.Neighbors, neighbor)
		}
		rc.Speakers = append(rc.Speakers, s)
	}
	return rc
}
