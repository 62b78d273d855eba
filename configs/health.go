package configs

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/healthz"
)

// healthDoc is what others may ask about this host as a whole.
type healthDoc struct {
	meta
	Listen    []listenAddr   `toml:"listen" class:"live" opt:"set"`
	TCPListen []listenAddr   `toml:"tcp-listen" class:"live" opt:"set"`
	AllowFrom []netip.Prefix `toml:"allow-from" class:"live" opt:"set"`
	Sites     string         `toml:"sites" class:"live" enum:"dialled|all|none"`
	DrainWait time.Duration  `toml:"drain-wait" class:"live" span:"0s..10m"`
}

func (h *healthDoc) setDefaults() { h.Sites = string(ha.CountDialled) }

// Health is the health endpoint and what an orderly leave owes those who ask it.
type Health struct {
	healthz.Config
	// DrainWait is how long everything goes on after the endpoint has begun to fail.
	DrainWait time.Duration
}

// Listens reports whether anybody can ask.
func (h *Health) Listens() bool { return len(h.HTTP)+len(h.TCP) > 0 }

func (h *healthDoc) build() Health {
	out := Health{DrainWait: h.DrainWait, Config: healthz.Config{From: sortedPrefixes(h.AllowFrom)}}
	for _, a := range h.Listen {
		out.HTTP = append(out.HTTP, a.AddrPort)
	}
	for _, a := range h.TCPListen {
		out.TCP = append(out.TCP, a.AddrPort)
	}
	return out
}

func (l *loader) checkHealth(h *healthDoc) {
	type place struct {
		key string
		i   int
	}
	seen := map[netip.AddrPort]place{}
	all := func(key string, addrs []listenAddr) {
		for i, a := range addrs {
			if first, ok := seen[a.AddrPort]; ok && h.ok(key) {
				l.wrong(&h.meta, key, fmt.Sprintf("%s is taken by %s (%s)", a.AddrPort, first.key, where(h.at(first.key, first.i))), "use another port", i)
			}
			seen[a.AddrPort] = place{key, i}
		}
	}
	all("listen", h.Listen)
	all("tcp-listen", h.TCPListen)
	if len(seen) > 0 && len(h.AllowFrom) == 0 && h.ok("allow-from") && slices.ContainsFunc(slices.Concat(h.Listen, h.TCPListen), func(a listenAddr) bool { return a.Addr().IsUnspecified() }) {
		l.warn("W-OPEN", h.problem("allow-from", "everybody who reaches this host may ask whether it forwards", "name the networks of the load balancer's subnets, or rely on a security group"))
	}
}

// listenAddr is "ADDRESS:PORT" or "[ADDRESS]:PORT" to listen on.
type listenAddr struct{ netip.AddrPort }

func (a *listenAddr) parse(s string) error {
	const how = `write it as "0.0.0.0:8080" or "[::]:8080"`
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return refusal{quote(s) + " is no address with a port", how}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return refusal{quote(port) + " is no port", "use 1 to 65535"}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Is4In6() || ip.Zone() != "" {
		return refusal{quote(host) + " is no address to listen on", how}
	}
	if ip.IsMulticast() {
		return refusal{quote(host) + " is a multicast address", how}
	}
	a.AddrPort = netip.AddrPortFrom(ip, uint16(n))
	return nil
}

func (a *listenAddr) text() string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
