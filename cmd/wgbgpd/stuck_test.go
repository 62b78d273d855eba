package main

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// probedConfig has a site that is measured by a probe alone, every half second,
// and a router to tell of it.
func probedConfig() *ha.Config {
	cfg := routersConfig()
	cfg.Devices = []wg.Device{{Name: "wg0", Mode: wg.ModeSynced}}
	cfg.Sites = []ha.Site{{
		Name: "paris", Device: "wg0", Mode: wg.ModeSynced, Role: ha.RolePrimary, IdlePolicy: ha.IdleWithhold,
		Peer: wg.Peer{Name: "paris", Key: wg.Key{1}}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/16")},
		Checks: []ha.Check{{Name: "ping", Kind: ha.CheckProbe, Rise: 1, Fall: 3, Probe: wg.Probe{
			ID: "paris/ping", Kind: wg.ProbeICMP, Target: netip.MustParseAddr("172.20.1.11"),
			Interval: 500 * time.Millisecond, Timeout: 500 * time.Millisecond,
		}}},
	}}
	return cfg
}

// done answers every plan as an edge does that has nothing against it.
type done struct{ in *inbox }

func (d done) offer(p *ha.Plan) {
	for i := range p.Devices {
		d.in.put(ha.WireGuardApplied{Plan: p, Applied: wg.Applied{Device: p.Devices[i].Name, Gen: p.Gen, Index: 7}})
	}
	d.in.put(ha.RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen}}, ha.AnnounceApplied{Plan: p, AnnounceApplied: bgp.AnnounceApplied{Gen: p.Gen}})
}

// AC-16: an engine that hangs says nothing, so nothing wakes the loop but its own
// timer; the interface is read all the while and looks well. Evidence may be three
// intervals, the timeout and a second old (3 s here), then the site is suspect,
// and after as long again down.
func TestStuckProbeEngineTakesTheSiteDown(t *testing.T) {
	runLoopOf(t, probedConfig(), func(t *testing.T, l *loop, h *handed) {
		_ = l.ask(t.Context(), func(time.Time) { l.edges = append(l.edges, done{l.inbox}) })
		var last time.Time // result of the engine
		stuck := false
		half := func() { // half a second passes
			facts := []ha.Fact{ha.DeviceObserved{State: wg.DeviceState{
				Name: "wg0", Up: true, At: time.Now(), Peers: []wg.PeerState{{Key: wg.Key{1}, Handshake: 1}},
			}}}
			if !stuck {
				last = time.Now()
				facts = append(facts, ha.ProbeObserved{ProbeResult: wg.ProbeResult{ID: "paris/ping", OK: true, At: last}})
			}
			l.inbox.put(facts...)
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
		}
		type state struct {
			verdict   ha.Verdict
			reason    ha.Reason
			announced bool
		}
		look := func() (s state) {
			_ = l.ask(t.Context(), func(now time.Time) {
				v := l.core.Sites(now, "paris")[0]
				s = state{v.Judged.Verdict, v.Judged.Reason, slices.ContainsFunc(l.plan.Announcements, func(a bgp.Announcement) bool {
					return a.Prefix == v.Config.Prefixes[0] && len(a.To) > 0
				})}
			})
			return s
		}
		want := func(when string, want state) {
			t.Helper()
			if got := look(); got != want {
				t.Fatalf("%s, %s after the last result: got %+v, want %+v", when, time.Since(last), got, want)
			}
		}
		well := state{ha.Up, ha.ReasonNone, true}
		l.inbox.put(session("east", bgp.StateEstablished), session("west", bgp.StateEstablished))
		for range 10 {
			half()
		}
		want("measured", well)
		stuck = true
		for time.Since(last) < 6*time.Second-time.Millisecond {
			if time.Since(last) < 3*time.Second {
				want("stuck", well)
			} else {
				want("stuck", state{ha.Suspect, ha.ReasonStale, true})
			}
			half()
		}
		want("stuck", state{ha.Down, ha.ReasonStale, false})
		stuck = false
		half()
		half()
		want("measured again", well)
	})
}
