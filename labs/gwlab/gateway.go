package gwlab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ConfigText is the TOML of a gateway.
func (l *Lab) ConfigText(g *GatewayHost) string {
	var b strings.Builder
	p := g.plan
	fmt.Fprintf(&b, "[gateway]\nname = %q\nasn = %d\nrouter-id = %q\n", g.Name, l.gatewayASN(g), p.awsLocal)

	var done []string
	for _, s := range l.Sites {
		t := planTunnel(g, s)
		if !s.uses(g.Name) || slices.Contains(done, t.gatewayDevice) {
			continue
		}
		done = append(done, t.gatewayDevice)
		mode := "synced"
		if s.spec.Open {
			mode = "open"
		}
		fmt.Fprintf(&b, "\n[wireguard.%s]\nprivate-key = \"file:%s/%s\"\nlisten-port = %d\naddress = [%q, %q]\nmode = %q\n",
			t.gatewayDevice, g.Host.Dir(), t.gatewayKeyName, t.gatewayPort, t.gw4, t.gw6, mode)
	}
	for _, s := range l.Sites {
		if s.uses(g.Name) {
			b.WriteString(siteText(g, s))
		}
	}
	fmt.Fprintf(&b, "\n[[tgw-connect]]\nname = \"tgw\"\nlocal = %q\nremote = %q\ninside = [%q, %q]\ntgw-asn = %d\n",
		p.awsLocal, p.awsRemote, p.inside4, p.inside6, tgwASN)
	b.WriteString("\n" + g.spec.TOML)
	return b.String()
}

func siteText(g *GatewayHost, s *SiteHost) string {
	var b strings.Builder
	t := planTunnel(g, s)
	fmt.Fprintf(&b, "\n[[site]]\nname = %q\ninterface = %q\npublic-key = %q\naddress = [%q, %q]\n",
		s.Name, t.gatewayDevice, s.keys[g.Name].Public(), t.site4.Addr(), t.site6.Addr())
	if s.psks[g.Name] != "" {
		fmt.Fprintf(&b, "preshared-key = \"file:%s/%s.psk\"\n", g.Host.Dir(), s.Name)
	}
	if !s.spec.DialsUs {
		fmt.Fprintf(&b, "endpoint = \"%s:%d\"\n", s.plan.underlay, t.sitePort)
	}
	if s.spec.BGP == NoBGP {
		fmt.Fprintf(&b, "prefixes = [%q, %q]\n", s.Net4, s.Net6)
	} else {
		fmt.Fprintf(&b, "allow = [%q, %q]\n", s.Net4.String()+" le 24", s.Net6.String()+" le 64")
	}
	watch := ""
	if s.spec.BFD > 0 {
		watch = fmt.Sprintf("bfd = true\nbfd-interval = %q\n", s.spec.BFD)
	}
	if s.spec.BGP == NoBGP {
		b.WriteString(watch)
	}
	b.WriteString(s.spec.TOML)
	b.WriteString("\n" + s.spec.Tables)
	if s.spec.BGP != NoBGP {
		fmt.Fprintf(&b, "\n[site.neighbor]\nasn = %d\n%s%s", s.plan.asn, watch, s.spec.Neighbor)
	}
	return b.String()
}

// WriteConfig writes the configuration and the keys of a gateway.
func (l *Lab) WriteConfig(g *GatewayHost) error {
	for device, key := range g.keys {
		if _, err := g.Host.File(device+".key", text(key)+"\n"); err != nil {
			return err
		}
	}
	for _, s := range l.Sites {
		if psk := s.psks[g.Name]; psk != "" {
			if _, err := g.Host.File(s.Name+".psk", psk+"\n"); err != nil {
				return err
			}
		}
	}
	var err error
	g.Config, err = g.Host.File("wgbgpd.toml", l.ConfigText(g))
	return err
}

// patience is for what only has to happen: a program that starts, an address that
// appears. An emulated or loaded machine takes its time.
const patience = 45 * time.Second

// StartGateway starts the daemon and returns when its API answers.
func (l *Lab) StartGateway(g *GatewayHost) error {
	if g.spec.FRR {
		return l.startFRRGateway(g)
	}
	p, err := g.Host.Start("wgbgpd", l.spec.Daemon, "-f", g.Config)
	if err != nil {
		return err
	}
	g.Process = p
	return Eventually(patience, func() error {
		if !p.Running() {
			return Fatal(fmt.Errorf("%s ended: %w\n%s", p.Name, p.Err(), p.Tail(20)))
		}
		_, stderr, code, err := l.CLI(g, "status")
		if err == nil && code == 4 { // the daemon can not be reached
			err = fmt.Errorf("%s: %s", p.Name, stderr)
		}
		return err
	})
}

// CLI runs the command line on a gateway. A non-zero exit code is no error.
func (l *Lab) CLI(g *GatewayHost, args ...string) (stdout, stderr string, code int, err error) {
	return g.Host.Output(append([]string{l.spec.CLI}, args...)...)
}
