package bfd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
)

// farHost makes the host at the other end of a link.
func farHost(t testing.TB, here, there []string) *netlab.Host {
	t.Helper()
	lab, err := netlab.New() // has a directory for what daemons leave behind
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(false); err != nil {
			t.Error(err)
		}
	})
	b, err := lab.Host("b")
	if err == nil {
		err = netlab.Link(netlab.End{Device: "v0", Addresses: here}, netlab.End{Host: b, Device: "v0", Addresses: there})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	nearAddresses = []string{"10.0.0.1/24", "fd00:1::1/64"}
	farAddresses  = []string{"10.0.0.2/24", "fd00:1::2/64"}
)

// patient is nearSessions with a multiplier that a busy machine does not exhaust:
// FRR and BIRD judge by when they read.
func patient() []bgp.BFDSession {
	s := nearSessions()
	for i := range s {
		s[i].Multiplier = 10
	}
	return s
}

const frrSessions = `
bfd
 peer 10.0.0.1 local-address 10.0.0.2 interface v0
  detect-multiplier 8
  receive-interval 200
  transmit-interval 150
 !
 peer fd00:1::1 local-address fd00:1::2 interface v0
  detect-multiplier 10
  receive-interval 100
  transmit-interval 100
 !
`

// frrPeer is a session as FRR shows it.
type frrPeer struct {
	Peer, Status, Diagnostic string
	RemoteDiag               string `json:"remote-diagnostic"`
	ID                       uint32
	RemoteID                 uint32 `json:"remote-id"`
	Tx                       int    `json:"transmit-interval"`
	Rx                       int    `json:"receive-interval"`
	RemoteTx                 int    `json:"remote-transmit-interval"`
	RemoteRx                 int    `json:"remote-receive-interval"`
	RemoteMult               int    `json:"remote-detect-multiplier"`
}

func frrPeers(t *testing.T, f *daemons.FRR) map[string]frrPeer {
	t.Helper()
	out, err := f.VtyshBFD("show bfd peers json")
	if err != nil {
		t.Fatal(err)
	}
	var list []frrPeer
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	m := map[string]frrPeer{}
	for _, p := range list {
		m[p.Peer] = p
	}
	return m
}

func TestFRR(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "/usr/lib/frr/bfdd", "vtysh")
	b := farHost(t, nearAddresses, farAddresses)
	frr, err := daemons.StartFRR(b, "hostname b\n")
	if err == nil {
		err = frr.StartBFDD(frrSessions)
	}
	if err != nil {
		t.Fatal(err)
	}
	near := watch(t, nil)
	want := patient()
	near.Set(1, want)

	for i, c := range []struct {
		interval, remote, detect time.Duration
		mult                     uint8
	}{
		{200 * ms, 150 * ms, 1200 * ms, 8},
		{100 * ms, 100 * ms, 1000 * ms, 10},
	} {
		name := want[i].Name
		near.is(t, name, bgp.BFDUp)
		s := near.becomes(t, name, func(s bgp.BFDState) bool { return s.DetectTime == c.detect })
		if s.Interval != c.interval || s.RemoteInterval != c.remote || s.RemoteMultiplier != c.mult {
			t.Errorf("%s: %+v, want %+v", name, s, c)
		}
		nstest.Eventually(t, 10*time.Second, func() error {
			theirs := frrPeers(t, frr)[want[i].LocalAddress.String()]
			if theirs.Status != "up" || theirs.RemoteTx != 100 || theirs.RemoteRx != 100 || theirs.RemoteMult != 10 ||
				theirs.RemoteID != s.LocalDiscr || theirs.ID != s.RemoteDiscr {
				return fmt.Errorf("FRR shows %+v", theirs)
			}
			return nil
		})
	}

	// A change here is negotiated by our poll sequence, one there by FRR's.
	want[0].Interval = 300 * ms
	near.Set(2, want)
	nstest.Eventually(t, 10*time.Second, func() error {
		if p := frrPeers(t, frr)["10.0.0.1"]; p.RemoteTx != 300 || p.RemoteRx != 300 {
			return fmt.Errorf("FRR shows %+v", p)
		}
		return nil
	})
	near.becomes(t, "four", func(s bgp.BFDState) bool { return s.DetectTime == 8*300*ms })
	peer := "peer 10.0.0.1 local-address 10.0.0.2 interface v0"
	frrConf(t, frr, peer, "transmit-interval 500")
	near.becomes(t, "four", func(s bgp.BFDState) bool { return s.DetectTime == 8*500*ms })
	frrConf(t, frr, peer, "transmit-interval 100")
	near.becomes(t, "four", func(s bgp.BFDState) bool { return s.DetectTime == 8*300*ms })

	// Admin down, from either side.
	frrConf(t, frr, peer, "shutdown")
	if s := near.is(t, "four", bgp.BFDDown); s.Failed || s.RemoteState != bgp.BFDAdminDown {
		t.Errorf("shutdown there: %+v", s)
	}
	frrConf(t, frr, peer, "no shutdown")
	near.is(t, "four", bgp.BFDUp)
	want[1].AdminDown = true
	near.Set(3, want)
	nstest.Eventually(t, 10*time.Second, func() error {
		if p := frrPeers(t, frr)["fd00:1::1"]; p.Status != "down" || !strings.Contains(p.RemoteDiag, "administratively down") {
			return fmt.Errorf("FRR shows %+v", p)
		}
		return nil
	})
	want[1].AdminDown = false
	near.Set(4, want)
	near.is(t, "six", bgp.BFDUp)
	if n := near.get("four").Flaps + near.get("six").Flaps; n != 0 {
		t.Errorf("%d flaps before anything failed", n)
	}

	// A kill is silence: it takes the detection time, not less and not much more.
	for _, name := range []string{"four", "six"} {
		near.becomes(t, name, func(s bgp.BFDState) bool { return s.State == bgp.BFDUp && s.DetectTime < 3*slow })
	}
	killed(t, near, frr.BFDD.Kill)
}

// killed ends the other end by force and checks when that is noticed.
func killed(t *testing.T, near *watched, kill func() error) {
	t.Helper()
	before := near.all()
	at := time.Now()
	if err := kill(); err != nil {
		t.Fatal(err)
	}
	for name, b := range before {
		s := near.is(t, name, bgp.BFDDown)
		if !s.Failed || s.Diag != bgp.BFDDiagDetectExpired {
			t.Errorf("%s: %+v", name, s)
		}
		// Up to one interval before its death it said nothing, and the machine is
		// shared.
		took := s.Since.Sub(at)
		t.Logf("%s: noticed after %s, detection time %s", name, took.Round(ms), b.DetectTime)
		if took < b.DetectTime-b.RemoteInterval-10*ms || took > b.DetectTime+500*ms {
			t.Errorf("%s: noticed after %s, detection time %s", name, took, b.DetectTime)
		}
	}
}

func frrConf(t *testing.T, f *daemons.FRR, peer, line string) {
	t.Helper()
	if _, err := f.VtyshBFD("configure terminal", "bfd", peer, line); err != nil {
		t.Fatal(err)
	}
}

func birdConf(interval string, peers ...string) string {
	s := `
router id 192.0.2.2;
protocol device { }
protocol bfd {
  interface "v0" { min rx interval ` + interval + `; min tx interval ` + interval + `; idle tx interval 1 s; multiplier 6; };
`
	for _, p := range peers {
		s += "  neighbor " + p + ";\n"
	}
	return s + "}\n"
}

const (
	birdFour = `10.0.0.1 dev "v0" local 10.0.0.2`
	birdSix  = `fd00:1::1 dev "v0" local fd00:1::2`
)

func TestBIRD(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "bird", "birdc")
	b := farHost(t, nearAddresses, farAddresses)
	bird, err := daemons.StartBIRD(b, birdConf("200 ms", birdFour, birdSix))
	if err != nil {
		t.Fatal(err)
	}
	near := watch(t, nil)
	near.Set(1, patient())
	shows := func(addr, state, interval string) {
		t.Helper()
		nstest.Eventually(t, 10*time.Second, func() error {
			out, err := bird.Birdc("show", "bfd", "sessions")
			if err != nil {
				return err
			}
			for l := range strings.Lines(out) {
				if f := strings.Fields(l); len(f) >= 6 && f[0] == addr {
					if f[2] == state && f[4] == interval {
						return nil
					}
					return errors.New(l)
				}
			}
			return errors.New(out)
		})
	}
	for i, name := range []string{"four", "six"} {
		near.is(t, name, bgp.BFDUp)
		s := near.becomes(t, name, func(s bgp.BFDState) bool { return s.DetectTime == 1200*ms })
		if s.Interval != 200*ms || s.RemoteInterval != 200*ms || s.RemoteMultiplier != 6 {
			t.Errorf("%s: %+v", name, s)
		}
		shows(nearSessions()[i].LocalAddress.String(), "Up", "0.200")
	}

	// A change there, a change here.
	if err := bird.Configure(birdConf("300 ms", birdFour, birdSix)); err != nil {
		t.Fatal(err)
	}
	near.becomes(t, "six", func(s bgp.BFDState) bool { return s.DetectTime == 1800*ms && s.Interval == 300*ms })
	want := patient()
	want[1].Interval = 700 * ms
	near.Set(2, want)
	near.becomes(t, "six", func(s bgp.BFDState) bool { return s.DetectTime == 6*700*ms })
	shows("fd00:1::1", "Up", "0.700")
	near.Set(3, patient())
	shows("fd00:1::1", "Up", "0.300")

	// Admin down here. BIRD itself never says AdminDown: a session it does not want
	// any more falls silent.
	want = patient()
	want[0].AdminDown = true
	near.Set(4, want)
	shows("10.0.0.1", "Down", "1.000")
	near.Set(5, patient())
	near.is(t, "four", bgp.BFDUp)
	if n := near.get("four").Flaps + near.get("six").Flaps; n != 0 {
		t.Errorf("%d flaps before anything failed", n)
	}
	if err := bird.Configure(birdConf("300 ms", birdSix)); err != nil {
		t.Fatal(err)
	}
	if s := near.is(t, "four", bgp.BFDDown); s.Diag != bgp.BFDDiagDetectExpired {
		t.Errorf("removed there: %+v", s)
	}
	if err := bird.Configure(birdConf("300 ms", birdFour, birdSix)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"four", "six"} {
		near.becomes(t, name, func(s bgp.BFDState) bool { return s.State == bgp.BFDUp && s.DetectTime == 1800*ms })
	}
	killed(t, near, bird.Process.Kill)
}
