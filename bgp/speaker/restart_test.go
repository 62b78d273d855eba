package speaker

import (
	"fmt"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// helperCaps are the capabilities of a neighbor that helps us restart.
func helperCaps(asn uint32) []packet.ParameterCapabilityInterface {
	return []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(asn),
		packet.NewCapGracefulRestart(false, false, 60, []*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, true)}),
	}
}

// gracefulOf returns the graceful restart capability that a peer was offered.
func gracefulOf(t *testing.T, p *rawPeer) *packet.CapGracefulRestart {
	t.Helper()
	for _, o := range p.open.OptParams {
		if c, ok := o.(*packet.OptionParameterCapability); ok {
			for _, x := range c.Capability {
				if g, ok := x.(*packet.CapGracefulRestart); ok {
					return g
				}
			}
		}
	}
	t.Fatal("no graceful restart was offered")
	return nil
}

func restartingPair(t *testing.T) (*Speaker, []bgp.Neighbor) {
	s, _ := start(t, Config{})
	n, other := neighbor("n", "127.0.0.2", 65101, "g"), neighbor("other", "127.0.0.3", 65102, "g")
	for _, x := range []*bgp.Neighbor{&n, &other} {
		x.GracefulRestart, x.IPv6, x.Restarting = true, false, true
	}
	return s, []bgp.Neighbor{n, other}
}

func released(ns []bgp.Neighbor) []bgp.Neighbor {
	out := make([]bgp.Neighbor, len(ns))
	for i := range ns {
		out[i] = ns[i]
		out[i].Restarting = false
	}
	return out
}

// RFC 4724 section 4.1: Restart State and Forwarding State are set, and nothing,
// above all no End-of-RIB, is sent before there is everything to send, even though
// every neighbor has sent its own.
func TestRestartingSpeakerSaysNothingUntilItIsReleased(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, ns := restartingPair(t)
	apply(t, s, ns, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: helperCaps(65101)})
	o := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102, caps: helperCaps(65102)})
	if g := gracefulOf(t, p); g.Flags&0x08 == 0 || len(g.Tuples) != 1 || g.Tuples[0].Flags&0x80 == 0 {
		t.Errorf("offered %+v, want Restart State and Forwarding State", g)
	}
	for _, x := range []*rawPeer{p, o} {
		if err := x.send(packet.NewEndOfRib(packet.RF_IPv4_UC)); err != nil {
			t.Fatal(err)
		}
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		for _, st := range s.States() {
			if !st.EndOfRIB4 {
				return fmt.Errorf("no End-of-RIB from %s", st.Name)
			}
		}
		return nil
	})
	ann := []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"}), announcement("10.2.0.0/16", nil, bgp.Export{Group: "g"})}
	apply(t, s, ns, ann[:1])
	if n := len(p.table()) + p.ends(); n != 0 {
		t.Fatalf("%d messages came before the release", n)
	}
	apply(t, s, released(ns), ann)
	want := seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 0, localPref: -1}.String()
	for _, x := range []*rawPeer{p, o} {
		x.expect(t, map[string]string{"10.1.0.0/16": want, "10.2.0.0/16": want})
		nstest.Eventually(t, 3*time.Second, func() error {
			if x.ends() == 0 {
				return fmt.Errorf("no End-of-RIB")
			}
			return nil
		})
	}
	// GoBGP itself is silent for some time still; what changes must get through.
	apply(t, s, released(ns), ann[1:])
	p.expect(t, map[string]string{"10.2.0.0/16": want})
	apply(t, s, released(ns), ann)
	p.expect(t, map[string]string{"10.1.0.0/16": want, "10.2.0.0/16": want})
}

// A neighbor that comes after the release has waited too long: nothing is a
// restart to it, and it is told at once.
func TestNeighborThatComesAfterTheReleaseIsToldAtOnce(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, ns := restartingPair(t)
	ann := []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "g"})}
	apply(t, s, ns, ann)
	apply(t, s, released(ns), ann)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: helperCaps(65101)})
	if g := gracefulOf(t, p); g.Flags&0x08 != 0 {
		t.Error("Restart State is set")
	}
	p.expect(t, map[string]string{"10.1.0.0/16": seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 0, localPref: -1}.String()})
}

// AC-16, r08: a neighbor whose hold timer runs out shows no sign of a restart.
func TestHoldTimerEndsPathsInSpiteOfGracefulRestart(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	n := neighbor("n", "127.0.0.2", 65101, "g")
	n.GracefulRestart, n.IPv6, n.HoldTime = true, false, 3*time.Second
	apply(t, s, []bgp.Neighbor{n}, nil)
	p := dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101, caps: helperCaps(65101), mute: true})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	rec.has(t, "n 192.168.0.0/24")
	nstest.Eventually(t, 10*time.Second, func() error {
		if st := rec.state("n"); st.Reason != "hold-timer-expired" {
			return fmt.Errorf("reason %q", st.Reason)
		}
		return nil
	})
	rec.has(t)
}
