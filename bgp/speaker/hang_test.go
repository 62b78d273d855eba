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

// The same the other way round: it takes the connection that we dial, and is silent.
func TestADialledConnectionWithoutAnOpenIsGivenUp(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.2:%d", testPort+1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialled := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case dialled <- c:
			case <-t.Context().Done():
				return
			}
		}
	}()
	s, _ := start(t, Config{OpenWait: time.Second})
	n := neighbor("paris", "127.0.0.2", 65101, "sites")
	n.Passive, n.Port = false, testPort+1
	apply(t, s, []bgp.Neighbor{n}, nil)
	for i := range 2 {
		select {
		case c := <-dialled:
			defer func() { _ = c.Close() }()
		case <-time.After(30 * time.Second):
			t.Fatalf("%d connections, want another one after the silence on it", i)
		}
	}
	if st := s.States()[0]; st.Reason != reasonNoAnswer {
		t.Errorf("reason %q, want %q", st.Reason, reasonNoAnswer)
	}
}
