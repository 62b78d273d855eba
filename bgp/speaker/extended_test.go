package speaker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestIPv4WithIPv6NextHopsOnlyToWhoTakesThem(t *testing.T) {
	s, rec := start(t, Config{})
	n := neighbor("n", "::1", 65101, "g")
	n.LocalAddress, n.NextHop6 = netip.MustParseAddr("::1"), netip.Addr{}
	to := bgp.Export{Group: "g"}
	two := []bgp.Announcement{announcement("10.1.0.0/16", nil, to), announcement("2001:db8:1::/48", nil, to)}
	three := append(two[:2:2], announcement("2001:db8:2::/48", nil, to))
	apply(t, s, []bgp.Neighbor{n}, two)
	caps := []packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapMultiProtocol(packet.RF_IPv6_UC), packet.NewCapFourOctetASNumber(65101),
	}
	const told = "nh ::1 as [65000] med 0 lp -1 comm [] large []"
	noIPv4 := func(want bool) {
		t.Helper()
		nstest.Eventually(t, 5*time.Second, func() error {
			if got := rec.state("n").NoIPv4; got != want {
				return fmt.Errorf("NoIPv4: got %v, want %v", got, want)
			}
			return nil
		})
	}
	with := dialRaw(t, rawConf{local: "::1", remote: "::1", asn: 65101, caps: append(caps[:3:3], packet.NewCapExtendedNexthop(
		[]*packet.CapExtendedNexthopTuple{packet.NewCapExtendedNexthopTuple(packet.RF_IPv4_UC, packet.AFI_IP6)}))})
	with.expect(t, map[string]string{"10.1.0.0/16": told, "2001:db8:1::/48": told})
	noIPv4(false)
	_ = with.conn.Close()

	// What one session could do says nothing about the next.
	without := dialRaw(t, rawConf{local: "::1", remote: "::1", asn: 65101, caps: caps})
	without.expect(t, map[string]string{"2001:db8:1::/48": told})
	noIPv4(true)
	apply(t, s, []bgp.Neighbor{n}, three) // once the last has come, so has what went before
	without.expect(t, map[string]string{"2001:db8:1::/48": told, "2001:db8:2::/48": told})
}
