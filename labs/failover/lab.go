package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// Subject is what runs on the two gateways.
type Subject string

// The subjects.
const (
	Ours       Subject = "wgbgpd"
	NoTakeover Subject = "wgbgpd without takeover" // rank takeover is that of direct
	FRR        Subject = "FRR 8 + BFD"
)

// The link between the gateways.
const (
	fleetDevice = "fleet0"
	fleet1      = "172.30.0.1"
	fleet2      = "172.30.0.2"
)

// Interval is that of every BFD session; three lost packets are a failure.
const Interval = 100 * time.Millisecond

// Lab is two gateways, each with a tunnel to one site with FRR, between a Transit
// Gateway with a workload and that of the site.
type Lab struct {
	*gwlab.Lab
	subject Subject
	dying   *gwlab.GatewayHost // the one that the failures are about
	other   *gwlab.GatewayHost
	site    *gwlab.SiteHost
}

func fleetTOML(subject Subject, other string) string {
	s := fmt.Sprintf("[[neighbor]]\nname = \"hub\"\nkind = \"fleet\"\naddress = %q\ndevice = %q\nasn = 65010\nconnect-retry = \"1s\"\nbfd = true\nbfd-interval = %q\n",
		other, fleetDevice, Interval)
	if subject == NoTakeover {
		s += "\n[rank.takeover]\nmed = 50\n"
	}
	return s
}

// Start builds the lab; programs are wgbgpd and wgbgp. It must run isolated.
func Start(subject Subject, daemon, cli string) (*Lab, error) {
	gateway := func(name, other string) gwlab.Gateway {
		g := gwlab.Gateway{Name: name, NotStarted: true}
		if subject == FRR {
			g.FRR = true
		} else {
			g.TOML = fleetTOML(subject, other)
		}
		return g
	}
	inner, err := gwlab.Start(gwlab.Spec{
		Daemon: daemon, CLI: cli, TGWHold: 30,
		Gateways: []gwlab.Gateway{gateway("gw1", fleet2), gateway("gw2", fleet1)},
		Sites: []gwlab.Site{{
			Name: "paris", BGP: gwlab.BGPFRR, BFD: Interval,
			TOML: "damping = false\nhold-down = \"1s\"\n", Neighbor: "hold-time = \"9s\"\nconnect-retry = \"1s\"\n",
		}},
	})
	if err != nil {
		return nil, err
	}
	l := &Lab{Lab: inner, subject: subject, dying: inner.Gateways[0], other: inner.Gateways[1], site: inner.Sites[0]}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, l.Close(false))
	}
	return l, nil
}

func (l *Lab) start() error {
	if err := netlab.Link(
		netlab.End{Host: l.dying.Host, Device: fleetDevice, Addresses: []string{fleet1 + "/24"}},
		netlab.End{Host: l.other.Host, Device: fleetDevice, Addresses: []string{fleet2 + "/24"}},
	); err != nil {
		return err
	}
	for _, g := range l.Gateways {
		if err := l.StartGateway(g); err != nil {
			return err
		}
	}
	return nil
}

// healthy says what keeps the lab from being in order: the Transit Gateway uses
// both gateways, and every BFD session is up.
func (l *Lab) healthy() error {
	routes, err := l.TGWRoutes()
	if err != nil {
		return err
	}
	if via := routes[l.site.Net4]; !slices.Equal(via, []string{l.dying.Name, l.other.Name}) {
		return fmt.Errorf("the Transit Gateway reaches %s by %v", l.site.Net4, via)
	}
	for _, g := range l.Gateways {
		up, err := l.bfdUp(g)
		if err != nil {
			return err
		}
		want := 2 // with the site and with the other gateway
		if l.subject == FRR {
			want = 1
		}
		if up != want {
			return fmt.Errorf("%s: %d BFD sessions are up, want %d", g.Name, up, want)
		}
	}
	return nil
}

func (l *Lab) bfdUp(g *gwlab.GatewayHost) (up int, err error) {
	if l.subject == FRR {
		out, err := g.FRR.VtyshBFD("show bfd peers brief")
		return strings.Count(out, " up"), err
	}
	out, stderr, code, err := l.CLI(g, "-j", "bfd")
	if err != nil || code != 0 {
		return 0, errors.Join(err, fmt.Errorf("wgbgp bfd on %s: exit code %d: %s", g.Name, code, stderr))
	}
	var list api.BFDList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, err
	}
	for _, s := range list.Sessions {
		if s.State == "Up" {
			up++
		}
	}
	return up, nil
}
