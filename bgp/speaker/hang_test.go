package speaker

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestConnectionWithoutAnOpenIsGivenUp(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	s, _ := start(t, Config{OpenWait: time.Second})
	n := neighbor("paris", "127.0.0.2", 65101, "sites")
	n.Passive = true
	apply(t, s, []bgp.Neighbor{n}, nil)
	state := func(want func(bgp.NeighborState) bool) func() error {
		return func() error {
			st := s.States()[0]
			if !want(st) {
				return fmt.Errorf("got state %s, reason %q", st.State, st.Reason)
			}
			return nil
		}
	}
	// It connects, takes our OPEN and is silent, as after a crash or behind a
	// tunnel that lost one direction.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	d.SetMultipathTCP(false)
	nstest.Eventually(t, 10*time.Second, func() error {
		c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", testPort))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err = c.Read(make([]byte, 1))
		return err
	})
	nstest.Eventually(t, 10*time.Second, state(func(st bgp.NeighborState) bool { return st.Reason == reasonNoAnswer }))
	dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
	nstest.Eventually(t, 5*time.Second, state(func(st bgp.NeighborState) bool { return st.State == bgp.StateEstablished }))
}
