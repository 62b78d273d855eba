package gwlab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/node"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/labs/tgwsim/plain"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

func (l *Lab) tgwConfig() plain.Config {
	cfg := plain.Config{
		ASN: tgwASN, Hold: l.spec.TGWHold, Takes: l.spec.TGWTakes, Events: l.tgwEvents(), TunnelsOnly: l.spec.TGW == TGWFRR,
		Networks: append([]netip.Prefix{netip.MustParsePrefix(vpcNet4), netip.MustParsePrefix(vpcNet6)}, l.spec.TGWNets...),
	}
	for _, g := range l.Gateways {
		cfg.Connect = append(cfg.Connect, plain.Connect{
			Name: g.Name, Device: "gre-" + g.Name, Local: g.plan.awsRemote, Remote: g.plan.awsLocal,
			Inside4: g.plan.inside4, Inside6: g.plan.inside6, PeerASN: l.gatewayASN(g),
		})
	}
	return cfg
}

func (l *Lab) tgwEvents() string { return filepath.Join(l.TGW.Dir(), "events.json") }

func (l *Lab) startTGW() error {
	cfg := l.tgwConfig()
	file, err := l.TGW.File("tgw.json", toJSON(cfg))
	if err != nil {
		return err
	}
	if l.TGWProcess, err = l.TGW.Start("tgw", l.node, node.TGW, file); err != nil {
		return err
	}
	if l.spec.TGW != TGWFRR {
		return nil
	}
	for _, c := range cfg.Connect {
		if err := l.haveAddress(tgwconnect.Host(c.Inside4, 2)); err != nil {
			return err
		}
	}
	l.TGWFRR, err = daemons.StartFRR(l.TGW, frrTGW(cfg))
	return err
}

// haveAddress waits for the tunnels under FRR.
func (l *Lab) haveAddress(p netip.Prefix) error {
	return Eventually(patience, func() error {
		if !l.TGWProcess.Running() {
			return Fatal(fmt.Errorf("%s ended: %w\n%s", l.TGWProcess.Name, l.TGWProcess.Err(), l.TGWProcess.Tail(20)))
		}
		out, err := l.TGW.Run("ip", "-o", "addr", "show")
		if err == nil && !strings.Contains(out, " "+p.String()+" ") {
			err = fmt.Errorf("no address %s on the TGW's host", p)
		}
		return err
	})
}

// frrTGW is FRR as a TGW: no policy, ECMP over paths with equal AS_PATH and MED.
// A missing MED counts as 0 here, not as 100.
func frrTGW(cfg plain.Config) string {
	hold := cfg.Hold
	if hold == 0 {
		hold = 30
	}
	var b strings.Builder
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id 10.255.255.1\n no bgp ebgp-requires-policy\n no bgp network import-check\n bgp always-compare-med\n timers bgp %d %d\n",
		cfg.ASN, max(hold/3, 1), hold)
	var af4, af6 strings.Builder
	for _, c := range cfg.Connect {
		peer, local := tgwconnect.Host(c.Inside4, 1).Addr(), tgwconnect.Host(c.Inside4, 2).Addr()
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s update-source %s\n neighbor %s ebgp-multihop 2\n neighbor %s passive\n neighbor %s timers connect 1\n",
			peer, c.PeerASN, peer, local, peer, peer, peer)
		fmt.Fprintf(&af4, "  neighbor %s activate\n", peer)
		fmt.Fprintf(&af6, "  neighbor %s activate\n  neighbor %s route-map nh-%s out\n", peer, peer, c.Name)
	}
	for _, n := range cfg.Networks {
		if n.Addr().Is4() {
			fmt.Fprintf(&af4, "  network %s\n", n)
		} else {
			fmt.Fprintf(&af6, "  network %s\n", n)
		}
	}
	fmt.Fprintf(&b, " address-family ipv4 unicast\n%s  maximum-paths 8\n exit-address-family\n address-family ipv6 unicast\n%s  maximum-paths 8\n exit-address-family\n", &af4, &af6)
	for _, c := range cfg.Connect {
		fmt.Fprintf(&b, "route-map nh-%s permit 10\n set ipv6 next-hop global %s\n", c.Name, tgwconnect.Host(c.Inside6, 2).Addr())
	}
	return b.String()
}

// SetTGWNetworks replaces the prefixes that the TGW announces besides the
// workload's. It needs the double.
func (l *Lab) SetTGWNetworks(nets ...netip.Prefix) error {
	l.spec.TGWNets = nets
	if _, err := l.TGW.File("tgw.json", toJSON(l.tgwConfig())); err != nil {
		return err
	}
	return l.TGWProcess.Signal(syscall.SIGHUP)
}

// TGWEvents are the changes the TGW double has seen so far.
func (l *Lab) TGWEvents() ([]router.Event, error) { return router.ReadEvents(l.tgwEvents()) }

// TGWRoutes says by which gateways the TGW double forwards each prefix now.
func (l *Lab) TGWRoutes() (map[netip.Prefix][]string, error) {
	events, err := l.TGWEvents()
	return router.Routes(events), err
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain structs
	}
	return string(b)
}
