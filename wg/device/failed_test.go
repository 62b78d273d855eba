package device

import (
	"net"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

// An interface that stands is reported as standing although it could not be
// set: whoever reads Index 0 takes every peer for gone.
func TestInterfaceThatCouldNotBeSetIsReportedAsStanding(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := newLab(t)
	p := wg.Peer{Key: private(50).Public(), AllowedIPs: prefixes("10.1.0.0/16")}
	before := l.must(true, p)
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	l.gw.ListenPort = uint16(taken.LocalAddr().(*net.UDPAddr).Port)
	a := l.apply(true, p)
	if a.Err == "" || a.Index != before.Index {
		t.Errorf("got index %d and error %q, want index %d and an error", a.Index, a.Err, before.Index)
	}
}
