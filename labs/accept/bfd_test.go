package accept

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/router"
)

// bfdIs waits until a gateway's session is as it should be.
func bfdIs(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, name string, within time.Duration, good func(api.BFD) bool) api.BFD {
	t.Helper()
	var s api.BFD
	nstest.Eventually(t, within, func() error {
		list, err := tryAsk[api.BFDList](l, g, "bfd", name)
		if err != nil {
			return err
		}
		if s = list.Sessions[0]; !good(s) {
			return fmt.Errorf("BFD session %+v", s)
		}
		return nil
	})
	return s
}

func bfdUp(s api.BFD) bool { return s.State == "Up" && s.DetectMS < 1000 }

// h01 with BFD: all UDP between the gateway and a site is dropped without a word,
// and the site's prefixes leave the TGW within 1.5 s. Three sites, each with
// another far end: FRR and BIRD with BGP, BIRD alone for a static site.
func TestAC09_SilentDropSeenByBFD(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	one := []string{"gw1"}
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1"}},
		Sites: []gwlab.Site{
			{Name: "frr", BGP: gwlab.BGPFRR, Gateways: one, BFD: 300 * time.Millisecond},
			{Name: "bird", BGP: gwlab.BGPBIRD, Gateways: one, BFD: 300 * time.Millisecond},
			{Name: "static", Gateways: one, BFD: 300 * time.Millisecond},
		},
	})
	gw := l.Gateway("gw1")
	for _, s := range l.Sites {
		atTGW(t, l, 60*time.Second, s.Net4, "gw1")
		atTGW(t, l, 60*time.Second, s.Net6, "gw1")
		b := bfdIs(t, l, gw, s.Name, 30*time.Second, bfdUp)
		if b.IntervalMS != 300 || b.RemoteIntervalMS != 300 || b.DetectMS != 900 || b.RemoteMultiplier != 3 {
			t.Errorf("%s: negotiated %+v", s.Name, b)
		}
	}
	for _, s := range l.Sites {
		t.Run(s.Name, func(t *testing.T) {
			took := cutAndMeasure(t, l, gw, s)
			limit(t, "AC-9 "+s.Name+": silent drop, BFD 300 ms x 3, until the TGW has no path", took, 1500*time.Millisecond)
			for _, h := range ask[api.HealthList](t, l, gw, "health", s.Name).Health {
				if h.Verdict != "down" || h.Reason != "bfd-down" {
					t.Errorf("health says %s for %q, want down for bfd-down", h.Verdict, h.Reason)
				}
			}
			why := "bfd-down"
			if s.Name != "static" { // what it sent went with its session
				why = "its BFD session Down"
			}
			out, _, code, err := l.CLI(gw, "explain", s.LAN4.String())
			if err != nil || code != 5 || !strings.Contains(out, why) {
				t.Errorf("explain: exit code %d, %v, want 5 and %q:\n%s", code, err, why, out)
			}
			if s.Name != "static" { // BGP did not linger until its hold time
				for _, n := range ask[api.NeighborList](t, l, gw, "neighbor", s.Name).Neighbors {
					if n.State == "Established" || n.BFD == "Up" {
						t.Errorf("neighbor is %s, its BFD session %s", n.State, n.BFD)
					}
				}
			}
			if err := l.Heal(gw, s); err != nil {
				t.Fatal(err)
			}
			atTGW(t, l, 60*time.Second, s.Net4, "gw1")
			if b := bfdIs(t, l, gw, s.Name, 30*time.Second, bfdUp); b.Flaps != 1 {
				t.Errorf("flaps %d, want 1", b.Flaps)
			}
		})
	}
	t.Run("HeldDownByTheSiteIsNoFailure", func(t *testing.T) {
		s := l.Site("frr")
		since := time.Now()
		if _, err := s.FRR.VtyshBFD("configure terminal", "bfd", "profile lab", "shutdown"); err != nil {
			t.Fatal(err)
		}
		bfdIs(t, l, gw, "frr", 20*time.Second, func(b api.BFD) bool { return b.RemoteState == "AdminDown" && !b.Failed })
		h := ask[api.HealthList](t, l, gw, "health", "frr").Health[0]
		if h.Verdict != "up" {
			t.Errorf("site is %s (%s %s), want up", h.Verdict, h.Reason, h.Detail)
		}
		events, err := l.TGWEvents()
		if err != nil {
			t.Fatal(err)
		}
		if e, gone := router.RouteChanged(events, since, s.Net4); gone {
			t.Errorf("withdrawn at %s", e.At)
		}
	})
}

// cutAndMeasure drops everything between the gateway and the site and returns
// how long the TGW still had a path to it.
func cutAndMeasure(t *testing.T, l *gwlab.Lab, gw *gwlab.GatewayHost, s *gwlab.SiteHost) time.Duration {
	t.Helper()
	since := time.Now()
	if err := l.Cut(gw, s); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	nstest.Eventually(t, 30*time.Second, func() error {
		events, err := l.TGWEvents()
		if err != nil {
			return err
		}
		for _, p := range []netip.Prefix{s.Net4, s.Net6} {
			e, ok := router.RouteChanged(events, since, p)
			if !ok {
				return errors.New("the TGW still has a path to " + p.String())
			}
			if e.At.After(last) {
				last = e.At
			}
		}
		return nil
	})
	return last.Sub(since)
}

// The figure of 100 ms x 3, over as many runs as WGBGP_BFD_RUNS says.
func TestBFD100x3(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	runs := 3
	if n, err := strconv.Atoi(cmp.Or(os.Getenv("WGBGP_BFD_RUNS"), "3")); err == nil {
		runs = n
	}
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1"}},
		Sites: []gwlab.Site{{
			Name: "frr", BGP: gwlab.BGPFRR, BFD: 100 * time.Millisecond, TOML: "hold-down = \"0s\"\n",
		}},
	})
	gw, s := l.Gateway("gw1"), l.Site("frr")
	var took []time.Duration
	for range runs {
		atTGW(t, l, 60*time.Second, s.Net4, "gw1")
		atTGW(t, l, 60*time.Second, s.Net6, "gw1")
		bfdIs(t, l, gw, "frr", 30*time.Second, func(b api.BFD) bool { return b.State == "Up" && b.DetectMS == 300 })
		took = append(took, cutAndMeasure(t, l, gw, s))
		if err := l.Heal(gw, s); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	t.Logf("figure: silent drop, BFD 100 ms x 3, until the TGW has no path: median %v, max %v of %d runs: %v", took[len(took)/2], took[len(took)-1], runs, took)
	limit(t, "BFD 100 ms x 3: silent drop until the TGW has no path, median", took[len(took)/2], 500*time.Millisecond)
}

// r07: graceful restart would keep what a silent site sent, BFD takes it away.
// `wgbgp config check` says so beforehand.
func TestAC24_BFDWinsOverGracefulRestart(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	needDaemons(t)
	l := start(t, gwlab.Spec{
		Gateways: []gwlab.Gateway{{Name: "gw1"}},
		Sites: []gwlab.Site{{
			Name: "frr", BGP: gwlab.BGPFRR, BFD: 300 * time.Millisecond, Neighbor: "graceful-restart = true\n",
		}},
	})
	gw, s := l.Gateway("gw1"), l.Site("frr")
	report, err := tryAsk[api.ConfigReport](l, gw, "config", "check", gw.Config)
	if err != nil || !slices.ContainsFunc(report.Warnings, func(w api.ConfigProblem) bool { return w.Code == "W-BFD-GR" }) {
		t.Errorf("config check: %v, %+v, want W-BFD-GR", err, report.Warnings)
	}
	atTGW(t, l, 60*time.Second, s.Net4, "gw1")
	for _, command := range [][]string{
		{"configure terminal", "router bgp " + strconv.Itoa(int(ask[api.NeighborList](t, l, gw, "neighbor", "frr").Neighbors[0].ASN)), "bgp graceful-restart"},
		{"clear bgp *"},
	} {
		if _, err := s.FRR.Vtysh(command...); err != nil {
			t.Fatal(err)
		}
	}
	established := func() error {
		n, err := tryAsk[api.NeighborList](l, gw, "neighbor", "frr")
		if err == nil && (n.Neighbors[0].State != "Established" || !n.Neighbors[0].EndOfRIB4 || n.Neighbors[0].Since.AgeSeconds > 20) {
			err = fmt.Errorf("neighbor is %s since %.0f s", n.Neighbors[0].State, n.Neighbors[0].Since.AgeSeconds)
		}
		return err
	}
	nstest.Eventually(t, 60*time.Second, established)
	atTGW(t, l, 60*time.Second, s.Net4, "gw1")
	atTGW(t, l, 60*time.Second, s.Net6, "gw1")
	bfdIs(t, l, gw, "frr", 30*time.Second, bfdUp)

	took := cutAndMeasure(t, l, gw, s)
	limit(t, "AC-24 silent drop, graceful restart and BFD 300 ms x 3, until the TGW has no path", took, 1500*time.Millisecond)
	nstest.Eventually(t, 3*time.Second, func() error {
		in, err := tryAsk[api.AdjIn](l, gw, "neighbor", "frr", "adj-in")
		if err == nil && len(in.Paths) > 0 {
			err = fmt.Errorf("kept %+v", in.Paths)
		}
		return err
	})
}
