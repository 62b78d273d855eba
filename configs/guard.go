package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// guardDoc says when many failures are taken for one of this host.
type guardDoc struct {
	meta
	Share    int           `toml:"share" class:"live" span:"0..100"`
	MinSites int           `toml:"min-sites" class:"live" span:"2..100000"`
	Within   time.Duration `toml:"within" class:"live" span:"100ms..1m"`
	Anchors  []netip.Addr  `toml:"anchors" class:"live" opt:"set"`
	Needed   int           `toml:"anchors-needed" class:"live" span:"1..100"`
}

func (g *guardDoc) setDefaults() {
	g.Share, g.MinSites, g.Within, g.Needed = 80, 4, 3*time.Second, 1
}

// Anchors are asked like a probe by default, and answer or not within that time.
const (
	anchorInterval = time.Second
	anchorTimeout  = 900 * time.Millisecond
)

func (g *guardDoc) build(mark uint32) ha.Guard {
	out := ha.Guard{Share: g.Share, MinSites: g.MinSites, Within: g.Within, Needed: g.Needed}
	for _, a := range slices.SortedFunc(slices.Values(g.Anchors), netip.Addr.Compare) {
		out.Anchors = append(out.Anchors, wg.Probe{
			ID: "anchor " + a.String(), Kind: wg.ProbeICMP, Mark: mark, Target: a, Interval: anchorInterval, Timeout: anchorTimeout,
		})
	}
	return out
}

func (l *loader) checkGuard(g *guardDoc) {
	for i, a := range g.Anchors {
		switch {
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6():
			l.wrong(&g.meta, "anchors", fmt.Sprintf("%s can not tell whether the underlay works", a), "name a router or host outside the tunnels that answers to ping", i)
		case a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "":
			l.wrong(&g.meta, "anchors", fmt.Sprintf("%s needs an interface", a), fmt.Sprintf("write it as %q", a.String()+"%eth0"), i)
		case slices.Contains(g.Anchors[:i], a):
			l.wrong(&g.meta, "anchors", fmt.Sprintf("%s is here twice", a), "remove one", i)
		}
	}
	if n := len(g.Anchors); g.has("anchors-needed") && g.ok("anchors-needed", "anchors") && g.Needed > max(n, 1) {
		l.wrong(&g.meta, "anchors-needed", fmt.Sprintf("%d anchors must answer and there are %d", g.Needed, n), "add anchors, or ask for fewer")
	}
}
