package speaker

import (
	"os"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
)

// TCP MD5 and TTL security fail without a word to either end: the kernel drops
// the segments and counts them, for the whole network namespace
// (net/ipv4/proc.c). While a session is down, what was counted since is shown
// with it. It is a hint, not a proof: two such sessions share the counters.

// netstat is where the kernel shows the counters of the caller's namespace.
const netstat = "/proc/thread-self/net/netstat"

// readRefusals reads what the kernel has dropped so far. A kernel without the
// counters, or without TCPMinTTLDrop (before Linux 5.14), shows zeros.
func readRefusals() bgp.Refusals {
	b, err := os.ReadFile(netstat)
	if err != nil {
		return bgp.Refusals{}
	}
	return parseRefusals(string(b))
}

// parseRefusals reads pairs of lines: names, then values.
func parseRefusals(text string) (r bgp.Refusals) {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, v := range f[:min(len(f), len(names))] {
			n, _ := strconv.ParseUint(v, 10, 64)
			switch names[i] {
			case "TCPMD5Failure":
				r.MD5Wrong = n
			case "TCPMD5NotFound":
				r.MD5Missing = n
			case "TCPMD5Unexpected":
				r.MD5Unexpected = n
			case "TCPMinTTLDrop":
				r.LowTTL = n
			}
		}
		names = nil
	}
	return r
}

// countRefusals gives every session that is down what the kernel dropped since.
// Nothing is read while all are up.
func (s *Speaker) countRefusals() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now bgp.Refusals
	read := false
	for _, n := range s.byName {
		if n.up {
			n.state.Refused, n.dropsKnown = bgp.Refusals{}, false
			continue
		}
		if !read {
			now, read = s.cfg.Refusals(), true
		}
		if !n.dropsKnown {
			n.drops, n.dropsKnown = now, true
		}
		n.state.Refused = now.Sub(n.drops)
	}
}
