package daemons

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// StartWireGuard makes a WireGuard interface with Debian's wireguard-go and sets
// it up with wg(8). config is in the form of `wg setconf` ([Interface],
// [Peer]). Routes are the caller's.
func StartWireGuard(h *netlab.Host, device, config string, mtu int, addresses ...string) (*netlab.Process, error) {
	conf, err := h.File("wireguard/"+device+".conf", config)
	if err != nil {
		return nil, err
	}
	p, err := h.StartEnv("wireguard-go-"+device, []string{"WG_PROCESS_FOREGROUND=1", "LOG_LEVEL=error"}, "wireguard-go", "-f", device)
	if err != nil {
		return nil, err
	}
	if err := waitFor(p, func() error { _, err := h.Run("wg", "show", device); return err }); err != nil {
		return nil, err
	}
	if _, err := h.Run("wg", "setconf", device, conf); err != nil {
		return nil, err
	}
	for _, a := range addresses {
		args := []string{"ip", "addr", "add", a, "dev", device}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		if _, err := h.Run(args...); err != nil {
			return nil, err
		}
	}
	if mtu == 0 {
		mtu = 1420
	}
	return p, h.RunAll(fmt.Sprintf("ip link set dev %s txqueuelen 5000 mtu %d up", device, mtu))
}

// WireGuardPeer is one peer in the form of `wg setconf`.
type WireGuardPeer struct {
	PublicKey, PresharedKey string // base64
	Endpoint                string // host:port, empty: none
	AllowedIPs              []netip.Prefix
	Keepalive               int // seconds
}

// WireGuardConfig writes a configuration for `wg setconf`.
func WireGuardConfig(privateKey string, listenPort int, peers ...WireGuardPeer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\n", privateKey)
	if listenPort != 0 {
		fmt.Fprintf(&b, "ListenPort = %d\n", listenPort)
	}
	for _, p := range peers {
		fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %s\n", p.PublicKey)
		for _, kv := range [][2]string{
			{"PresharedKey", p.PresharedKey},
			{"Endpoint", p.Endpoint},
			{"AllowedIPs", join(p.AllowedIPs)},
		} {
			if kv[1] != "" {
				fmt.Fprintf(&b, "%s = %s\n", kv[0], kv[1])
			}
		}
		if p.Keepalive != 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", p.Keepalive)
		}
	}
	return b.String()
}

func join(ps []netip.Prefix) string {
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// Missing lists which of the programs this package runs are not installed.
func Missing() []string {
	var missing []string
	for _, p := range []string{frrDir + "/zebra", frrDir + "/bgpd", "/usr/bin/vtysh", "/usr/sbin/bird", "/usr/bin/wireguard-go", "/usr/bin/wg"} {
		if _, err := os.Stat(p); err != nil {
			missing = append(missing, p)
		}
	}
	return missing
}
