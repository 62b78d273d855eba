package speaker

import (
	"fmt"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// BFD found the neighbor dead: graceful restart must not keep what it sent
// (AC-24), the other neighbor notices nothing, and the session may come back.
func TestFlushEndsTheSessionInSpiteOfGracefulRestart(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	n, other := neighbor("n", "127.0.0.2", 65101, "g"), neighbor("other", "127.0.0.3", 65102, "g")
	n.GracefulRestart, n.IPv6 = true, false
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	conf := rawConf{local: "127.0.0.2", asn: 65101, caps: []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(65101),
		packet.NewCapGracefulRestart(false, false, 60, []*packet.CapGracefulRestartTuple{packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, true)}),
	}}
	p, o := dialRaw(t, conf), dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.0.0/24")
	rec.has(t, "n 192.168.0.0/24")
	n.Flush = 1
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	rec.has(t)
	p.ceased(t, packet.BGP_ERROR_SUB_ADMINISTRATIVE_RESET)
	p = dialRaw(t, conf)
	p.update(t, []uint32{65101}, "127.0.0.2", "192.168.1.0/24")
	rec.has(t, "n 192.168.1.0/24")
	// What was flushed is not flushed again, nor when the counter starts anew.
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	n.Flush = 0
	apply(t, s, []bgp.Neighbor{n, other}, nil)
	nstest.Eventually(t, 3*time.Second, func() error {
		if st := rec.state("n"); st.State != bgp.StateEstablished {
			return fmt.Errorf("state %s", st.State)
		}
		return nil
	})
	for name, c := range map[string]*rawPeer{"n": p, "other": o} {
		if err := c.closed(); err != nil {
			t.Errorf("session of %s ended: %v", name, err)
		}
	}
	rec.has(t, "n 192.168.1.0/24")
}
