package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v4/api"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// visitors is the template of neighbors from 127.0.3.0/24.
func visitors(asn bgp.ASN, most uint32) bgp.Neighbor {
	n := neighbor("lab", "127.0.3.0", asn, "lab")
	n.Address, n.Range, n.MaxSessions, n.Passive = netip.Addr{}, pfx("127.0.3.0/24"), most, false
	return n
}

// told is what every visitor hears of 10.8.0.0/16.
const told = "nh 127.0.0.1 as [65000] med 0 lp -1 comm [] large []"

// stillOpen is an error while the session stands.
func (p *rawPeer) stillOpen() error {
	if p.closed() == nil {
		return errors.New("the session stands")
	}
	return nil
}

// enginePeers are the addresses of GoBGP's neighbors.
func enginePeers(t *testing.T, s *Speaker) (out []string) {
	t.Helper()
	if err := s.server.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
		out = append(out, p.GetState().GetNeighborAddress())
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// nothingLeft waits until neither we nor GoBGP know a session but these.
func nothingLeft(t *testing.T, s *Speaker, names ...string) {
	t.Helper()
	nstest.Eventually(t, 15*time.Second, func() error {
		s.mu.Lock()
		var got []string
		for name := range s.byName {
			got = append(got, name)
		}
		known := len(s.byAddr)
		s.mu.Unlock()
		slices.Sort(got)
		if !slices.Equal(got, names) {
			return fmt.Errorf("records: got %v, want %v", got, names)
		}
		if n := len(enginePeers(t, s)); n != known {
			return fmt.Errorf("GoBGP has %d neighbors, want %d", n, known)
		}
		return nil
	})
}

func TestRangeTakesWhoeverComesAndForgetsWhoLeaves(t *testing.T) {
	s, rec := start(t, Config{OpenWait: time.Second})
	other := neighbor("other", "127.0.4.1", 65104, "lab")
	ann := []bgp.Announcement{announcement("10.8.0.0/16", nil, bgp.Export{Group: "lab"})}
	apply(t, s, []bgp.Neighbor{visitors(0, 2), other}, ann)
	fixed := dialRaw(t, rawConf{local: "127.0.4.1", asn: 65104})
	fixed.expect(t, map[string]string{"10.8.0.0/16": told})
	since := rec.state("other").Since

	a := dialRaw(t, rawConf{local: "127.0.3.1", asn: 65201})
	b := dialRaw(t, rawConf{local: "127.0.3.2", asn: 65202})
	for _, p := range []*rawPeer{a, b} {
		p.expect(t, map[string]string{"10.8.0.0/16": told})
	}
	a.update(t, []uint32{65201}, "127.0.3.1", "10.9.1.0/24")
	b.update(t, []uint32{65202}, "127.0.3.2", "10.9.2.0/24")
	rec.has(t, "lab/127.0.3.1 10.9.1.0/24", "lab/127.0.3.2 10.9.2.0/24")
	if st := rec.state("lab/127.0.3.1"); st.RemoteASN != 65201 || st.Dynamic != "lab" || st.State != bgp.StateEstablished {
		t.Errorf("state: got %+v", st)
	}

	t.Run("the third is too many", func(t *testing.T) {
		if p, err := tryRaw(rawConf{local: "127.0.3.3", asn: 65203}); err == nil {
			nstest.Eventually(t, 5*time.Second, p.stillOpen)
		}
		nothingLeft(t, s, "lab", "lab/127.0.3.1", "lab/127.0.3.2", "other")
		if r := rec.state("lab").Reason; r != reasonMaxSessions {
			t.Errorf("reason: got %q, want %q", r, reasonMaxSessions)
		}
	})
	t.Run("nobody from outside", func(t *testing.T) {
		if _, err := tryRaw(rawConf{local: "127.0.5.1", asn: 65203}); err == nil {
			t.Error("127.0.5.1 was let in")
		}
	})
	t.Run("who leaves is forgotten", func(t *testing.T) {
		_ = a.conn.Close()
		rec.has(t, "lab/127.0.3.2 10.9.2.0/24")
		nothingLeft(t, s, "lab", "lab/127.0.3.2", "other")
		if st := rec.state("lab/127.0.3.1"); !st.Gone {
			t.Errorf("state: got %+v, want it gone", st)
		}
	})
	t.Run("who says nothing is forgotten", func(t *testing.T) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.3.7")}}
		c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", testPort))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		nstest.Eventually(t, 5*time.Second, func() error {
			if s.session("lab/127.0.3.7") == nil {
				return errors.New("not seen yet")
			}
			return nil
		})
		nothingLeft(t, s, "lab", "lab/127.0.3.2", "other")
	})
	t.Run("our own ASN is refused", func(t *testing.T) {
		if p, err := tryRaw(rawConf{local: "127.0.3.8", asn: 65000}); err == nil {
			nstest.Eventually(t, 5*time.Second, p.stillOpen)
		}
		nothingLeft(t, s, "lab", "lab/127.0.3.2", "other")
	})
	t.Run("what may be learned changes without a reset", func(t *testing.T) {
		v := visitors(0, 2)
		v.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.7.0.0/16")}}}
		apply(t, s, []bgp.Neighbor{v, other}, ann)
		rec.has(t)
		if err := b.closed(); err != nil {
			t.Errorf("session: %v", err)
		}
		apply(t, s, []bgp.Neighbor{visitors(0, 2), other}, ann)
		rec.has(t, "lab/127.0.3.2 10.9.2.0/24")
	})
	t.Run("the range goes and takes all along", func(t *testing.T) {
		apply(t, s, []bgp.Neighbor{other}, ann)
		nstest.Eventually(t, 5*time.Second, b.stillOpen)
		rec.has(t)
		nothingLeft(t, s, "other")
		if _, err := tryRaw(rawConf{local: "127.0.3.2", asn: 65202}); err == nil {
			t.Error("127.0.3.2 was let in without a range")
		}
		apply(t, s, []bgp.Neighbor{visitors(65202, 2), other}, ann) // once more, for one ASN
		c := dialRaw(t, rawConf{local: "127.0.3.2", asn: 65202})
		c.expect(t, map[string]string{"10.8.0.0/16": told})
		if _, err := tryRaw(rawConf{local: "127.0.3.1", asn: 65201}); err == nil {
			t.Error("AS 65201 was let in, want 65202 only")
		}
	})
	if err := fixed.closed(); err != nil || rec.state("other").Since != since {
		t.Errorf("the fixed neighbor was touched: %v, since %v, was %v", err, rec.state("other").Since, since)
	}
}

func TestVisitorOverItsLimitIsPaused(t *testing.T) {
	s, rec := start(t, Config{MaxPrefixRetry: 2 * time.Second})
	v := visitors(0, 2)
	v.MaxPrefixes = 3
	apply(t, s, []bgp.Neighbor{v}, nil)
	p := dialRaw(t, rawConf{local: "127.0.3.1", asn: 65201})
	p.update(t, []uint32{65201}, "127.0.3.1", numbered(0, 4)...)
	p.ceased(t, 2)
	rec.has(t)
	nstest.Eventually(t, 5*time.Second, func() error {
		if st := rec.state("lab/127.0.3.1"); st.Reason != reasonMaxPrefix || st.IdleUntil.IsZero() {
			return fmt.Errorf("state: got %+v, want it paused", st)
		}
		return nil
	})
	nothingLeft(t, s, "lab") // when the pause is over
	q := dialRaw(t, rawConf{local: "127.0.3.1", asn: 65201})
	q.update(t, []uint32{65201}, "127.0.3.1", numbered(0, 3)...)
	rec.has(t, "lab/127.0.3.1 30.0.0.0/32", "lab/127.0.3.1 30.0.0.1/32", "lab/127.0.3.1 30.0.0.2/32")
}
