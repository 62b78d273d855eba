package gwlab

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/wg"
)

// Lab is a running picture.
type Lab struct {
	*netlab.Lab
	Internet, TGW, VPC *netlab.Host
	Gateways           []*GatewayHost
	Sites              []*SiteHost

	spec Spec
	node string
	// TGWProcess is the double, or the tunnels under FRR.
	TGWProcess *netlab.Process
	TGWFRR     *daemons.FRR
}

// GatewayHost is one gateway.
type GatewayHost struct {
	Name    string
	Host    *netlab.Host
	Process *netlab.Process // nil before StartGateway
	Config  string          // path of its TOML
	FRR     *daemons.FRR    // instead of the daemon
	spec    Gateway
	plan    gatewayPlan
	keys    map[string]wg.PrivateKey // by device
}

// SiteHost is one site with its workload.
type SiteHost struct {
	Name       string
	Host, LAN  *netlab.Host
	Net4, Net6 netip.Prefix // what it announces
	LAN4, LAN6 netip.Addr   // its workload
	FRR        *daemons.FRR
	BIRD       *daemons.BIRD
	Process    *netlab.Process // labs/site, nil with Debian's WireGuard
	spec       Site
	plan       sitePlan
	keys       map[string]wg.PrivateKey // by gateway
	psks       map[string]string        // by gateway
}

// Start builds the lab. It must run isolated (netlab.Reexec, nstest.Isolate). On
// failure everything is taken down again.
func Start(spec Spec) (*Lab, error) {
	inner, err := netlab.New()
	if err != nil {
		return nil, err
	}
	l := &Lab{Lab: inner, spec: spec, node: spec.Node}
	if err := l.build(); err != nil {
		return nil, errors.Join(err, l.Close(false))
	}
	return l, nil
}

func (l *Lab) build() error {
	if l.node == "" {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		l.node = exe
	}
	// Hosts run programs in their own mounts and working directories.
	for _, p := range []*string{&l.spec.Daemon, &l.spec.CLI, &l.node} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	for n, g := range l.spec.Gateways {
		l.Gateways = append(l.Gateways, &GatewayHost{Name: g.Name, spec: g, plan: planGateway(n + 1), keys: map[string]wg.PrivateKey{}})
	}
	for n, s := range l.spec.Sites {
		p := planSite(n + 1)
		l.Sites = append(l.Sites, &SiteHost{
			Name: s.Name, spec: s, plan: p, Net4: p.net4, Net6: p.net6, LAN4: p.lan4, LAN6: p.lan6,
			keys: map[string]wg.PrivateKey{}, psks: map[string]string{},
		})
	}
	if err := l.network(); err != nil {
		return err
	}
	if err := l.makeKeys(); err != nil {
		return err
	}
	if err := l.startTGW(); err != nil {
		return err
	}
	for _, s := range l.Sites {
		if err := l.startSite(s); err != nil {
			return fmt.Errorf("site %s: %w", s.Name, err)
		}
	}
	for _, g := range l.Gateways {
		if err := l.WriteConfig(g); err != nil {
			return err
		}
		if !g.spec.NotStarted {
			if err := l.StartGateway(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// Gateway finds a gateway by name; it must exist.
func (l *Lab) Gateway(name string) *GatewayHost {
	n := slices.IndexFunc(l.Gateways, func(g *GatewayHost) bool { return g.Name == name })
	return l.Gateways[n]
}

// Site finds a site by name; it must exist.
func (l *Lab) Site(name string) *SiteHost {
	n := slices.IndexFunc(l.Sites, func(s *SiteHost) bool { return s.Name == name })
	return l.Sites[n]
}

// makeKeys gives every tunnel end its key.
func (l *Lab) makeKeys() error {
	for _, g := range l.Gateways {
		for _, s := range l.Sites {
			if !s.uses(g.Name) {
				continue
			}
			t := planTunnel(g, s)
			if _, ok := g.keys[t.gatewayDevice]; !ok {
				k, err := newKey()
				if err != nil {
					return err
				}
				g.keys[t.gatewayDevice] = k
			}
			k, err := newKey()
			if err != nil {
				return err
			}
			s.keys[g.Name] = k
			if s.spec.PSK {
				k, err := newKey()
				if err != nil {
					return err
				}
				s.psks[g.Name] = text(k)
			}
		}
	}
	return nil
}

func newKey() (wg.PrivateKey, error) {
	var b [wg.KeyLen]byte
	_, err := rand.Read(b[:])
	return wg.NewPrivateKey(b), err
}

// text is the base64 form that the secret itself refuses to print.
func text(k wg.PrivateKey) string {
	b := k.Reveal()
	return base64.StdEncoding.EncodeToString(b[:])
}

// Underlay is the gateway's address in the internet.
func (g *GatewayHost) Underlay() netip.Addr { return g.plan.underlay }
