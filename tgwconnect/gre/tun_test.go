package gre

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

func TestTUNQueueBridgesAPauseOfTheProcess(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	d, err := openTUN("tun-q")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	l, err := netlink.LinkByName("tun-q")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Attrs().TxQLen; got != queueLength {
		t.Errorf("length of the queue: got %d, want %d", got, queueLength)
	}
}
