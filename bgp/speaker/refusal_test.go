package speaker

import (
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
)

func TestRefusalsAreReadFromTheKernelsTable(t *testing.T) {
	const text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPMinTTLDrop\n" +
		"TcpExt: 9 1 2 3 4\nIpExt: InNoRoutes TCPMD5Failure\nIpExt: 7 8\n"
	want := bgp.Refusals{MD5Missing: 1, MD5Unexpected: 2, MD5Wrong: 3, LowTTL: 4}
	if got := parseRefusals(text); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "TcpExt: TCPMD5Failure\n", "TcpExt:\nTcpExt: 1 2\n", "TcpExt: A TCPMD5Failure\nTcpExt: 1\n", "\n\n"} {
		if got := parseRefusals(bad); got != (bgp.Refusals{}) {
			t.Errorf("%q: got %+v, want nothing", bad, got)
		}
	}
}

func TestRefusalsCountFromTheLossOfASession(t *testing.T) {
	now := bgp.Refusals{MD5Wrong: 10, LowTTL: 5}
	reads := 0
	s := &Speaker{cfg: Config{Refusals: func() bgp.Refusals { reads++; return now }}, byName: map[string]*session{"a": {up: true}, "b": {up: true}}}
	s.countRefusals()
	if reads != 0 {
		t.Errorf("read %d times while all sessions are up, want 0", reads)
	}
	s.byName["a"].up = false
	s.countRefusals()
	now.MD5Wrong += 3
	s.countRefusals()
	if got, want := s.byName["a"].state.Refused, (bgp.Refusals{MD5Wrong: 3}); got != want {
		t.Errorf("session that is down: got %+v, want %+v", got, want)
	}
	if got := s.byName["b"].state.Refused; got != (bgp.Refusals{}) {
		t.Errorf("session that is up: got %+v, want nothing", got)
	}
	s.byName["a"].up = true
	s.countRefusals()
	if got := s.byName["a"].state.Refused; got != (bgp.Refusals{}) {
		t.Errorf("session that came up: got %+v, want nothing", got)
	}
}
