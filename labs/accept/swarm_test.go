package accept

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.zx2c4.com/wireguard/device"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/swarm"
	"github.com/wgbgp/wgbgp/wg"
)

// echoPeer is a WireGuard peer on a host of a lab, run by wireguard-go without an
// interface: what comes through the tunnel goes back where it came from. Hundreds
// of them fit into a test.
type echoPeer struct {
	dev  *device.Device
	key  wg.Key
	port int
}

// newEchoPeer starts a peer of the gateway with this key and address. It says
// nothing by itself.
func newEchoPeer(t *testing.T, h *netlab.Host, seed, port int, gateway wg.Key) *echoPeer {
	t.Helper()
	var b [wg.KeyLen]byte
	b[0], b[1], b[2] = 0x40, byte(seed>>8), byte(seed)
	private := wg.NewPrivateKey(b)
	raw := private.Reveal()
	dev, err := swarm.Start(func(port uint16) (c *net.UDPConn, err error) {
		err = h.Do(func() error {
			c, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
			return err
		})
		return c, err
	}, base64.StdEncoding.EncodeToString(raw[:]), gateway.String(), uint16(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dev.Close)
	return &echoPeer{dev: dev, key: private.Public(), port: port}
}

func (p *echoPeer) set(t *testing.T, lines string) {
	t.Helper()
	if err := p.dev.IpcSet(lines); err != nil {
		t.Fatal(err)
	}
}

// siteTOML is the peer as a site in the gateway's configuration.
func (p *echoPeer) siteTOML(name string, address netip.Addr, more string, prefixes ...netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, x := range prefixes {
		words[i] = fmt.Sprintf("%q", x)
	}
	return fmt.Sprintf("\n[[site]]\nname = %q\ninterface = \"wg0\"\npublic-key = %q\nendpoint = \"198.19.1.2:%d\"\naddress = [%q]\nprefixes = [%s]\n%s",
		name, p.key, p.port, address, strings.Join(words, ", "), more)
}
