// Package plain is the short description of a Transit Gateway that most labs use:
// its Connect peers, and prefixes of other attachments, all in one route table.
// It runs on package network and has no API; labs/cmd/tgwsim takes the long
// description.
package plain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
	"github.com/wgbgp/wgbgp/labs/tgwsim/routing"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Config is a Transit Gateway with its Connect peers.
type Config struct {
	ASN     bgp.ASN   `toml:"asn"` // 0: 64512, Amazon's default
	Connect []Connect `toml:"connect"`
	// Networks are the prefixes of the other attachments, the workloads.
	Networks []netip.Prefix `toml:"networks"`
	// Peerings lead to the Transit Gateways of other regions, each by static routes
	// only [HOW].
	Peerings []Peering `toml:"peering"`
	// Hold is the hold time in seconds, 0: 30. AWS proposes 30 and can not be
	// told otherwise.
	Hold int `toml:"hold"`
	// Takes is how many prefixes one Connect peer may bring, 0: 1,000. AWS raises it
	// on request [QUOTA].
	Takes  int    `toml:"takes"`
	Events string `toml:"events"` // see router.Config
	// TunnelsOnly leaves BGP to somebody else on the same host, who gets inside
	// address 2 alone: most daemons can not tell two sessions from one address
	// apart. BothHosts is for one that can, and gives it address 3 as well.
	TunnelsOnly bool `toml:"tunnels-only"`
	BothHosts   bool `toml:"both-hosts"`
}

// Connect is one Connect peer as the TGW sees it.
type Connect struct {
	Name    string             `toml:"name"`
	Device  string             `toml:"device"`
	Local   netip.Addr         `toml:"local"`   // TransitGatewayAddress
	Remote  netip.Addr         `toml:"remote"`  // PeerAddress, the gateway
	Inside4 netip.Prefix       `toml:"inside4"` // the /29
	Inside6 netip.Prefix       `toml:"inside6"` // the /125, invalid: none
	PeerASN bgp.ASN            `toml:"peer-asn"`
	MTU     int                `toml:"mtu"`
	Backend tgwconnect.Backend `toml:"backend"` // empty: auto
}

// Peering is a peering attachment: a device that leads to the other Transit
// Gateway, and the static routes to it.
type Peering struct {
	Device   string         `toml:"device"`
	Gateway4 netip.Addr     `toml:"gateway4"` // the other one's address on the device
	Gateway6 netip.Addr     `toml:"gateway6"`
	Static   []netip.Prefix `toml:"static"`
}

// Run plays the TGW described by file, in JSON or, if its name ends in .toml, in
// TOML, until SIGTERM. SIGHUP reads the file again.
func Run(file string, log *slog.Logger) error {
	cfg, err := Read(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	n, err := network.New(cfg.Events, log)
	if err != nil {
		return err
	}
	n.Set(cfg.spec())
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if cfg, err := Read(file); err != nil {
				log.Error("reload", "err", err)
			} else {
				n.Set(cfg.spec())
			}
		}
	}()
	return n.Run(ctx)
}

// Read reads a file.
func Read(file string) (Config, error) {
	var cfg Config
	b, err := os.ReadFile(file)
	if err != nil {
		return cfg, err
	}
	if strings.HasSuffix(file, ".toml") {
		known, err := toml.Decode(string(b), &cfg)
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", file, err)
		}
		if strange := known.Undecoded(); len(strange) > 0 {
			return cfg, fmt.Errorf("%s: unknown key %s", file, strange[0])
		}
	} else if err := json.Unmarshal(b, &cfg); err != nil {
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	if cfg.ASN == 0 {
		cfg.ASN = 64512
	}
	return cfg, nil
}

// The names of what there is one of.
const (
	table    = "table"
	connect  = "connect"
	networks = "networks"
)

func (cfg Config) spec() *network.Spec {
	tables := []string{table}
	tgw := routing.TGW{
		ASN: cfg.ASN, Tables: []routing.Table{{ID: table}},
		Attachments: []routing.Attachment{
			{ID: connect, Type: routing.Connect, Table: table, Propagates: tables},
			{ID: networks, Type: routing.VPC, Table: table, Propagates: tables, Networks: cfg.Networks},
		},
	}
	if cfg.Takes != 0 {
		tgw.Limits = routing.DefaultLimits
		tgw.Limits.FromPeer = cfg.Takes
	}
	spec := &network.Spec{
		Plain: true, Bare: cfg.TunnelsOnly, FirstHostOnly: cfg.TunnelsOnly && !cfg.BothHosts,
		Hold: time.Duration(cfg.Hold) * time.Second, Connect: map[string]network.Connect{},
	}
	for _, c := range cfg.Connect {
		tgw.Peers = append(tgw.Peers, routing.Peer{ID: c.Name, Attachment: connect, ASN: c.PeerASN})
		spec.Connect[c.Name] = network.Connect{
			Device: c.Device, Local: c.Local, Remote: c.Remote, Inside4: c.Inside4, Inside6: c.Inside6, MTU: c.MTU, Backend: c.Backend,
		}
	}
	for i, p := range cfg.Peerings {
		// One attachment per family: a way has one gateway.
		for _, gateway := range []netip.Addr{p.Gateway4, p.Gateway6} {
			if !gateway.IsValid() {
				continue
			}
			id := fmt.Sprintf("peering-%d-%s", i, gateway)
			tgw.Attachments = append(tgw.Attachments, routing.Attachment{ID: id, Type: routing.Peering, Table: table})
			spec.Ways = append(spec.Ways, network.Way{Attachment: id, Device: p.Device, Gateway: gateway})
			for _, s := range p.Static {
				if s.Addr().Is4() == gateway.Is4() {
					tgw.Tables[0].Static = append(tgw.Tables[0].Static, routing.Static{Prefix: s, Attachment: id})
				}
			}
		}
	}
	spec.TGWs = []routing.TGW{tgw}
	return spec
}
