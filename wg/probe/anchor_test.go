package probe

import (
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// A probe without a device goes where the kernel leads packets with its mark, and
// not where it leads others: an anchor is outside of every tunnel.
func TestProbeWithoutDeviceFollowsItsMark(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	far(t)
	for _, v := range []string{"-4", "-6"} {
		nstest.Run(t, "ip", v, "rule", "add", "pref", "10", "fwmark", "0x1186", "lookup", "main")
		nstest.Run(t, "ip", v, "rule", "add", "pref", "20", "lookup", "7")
		nstest.Run(t, "ip", v, "route", "add", "unreachable", "default", "table", "7")
	}
	marked4, marked6 := ping("v4", "", "10.7.0.2"), ping("v6", "", "fd07::2")
	marked4.Mark, marked6.Mark = 0x1186, 0x1186
	b := start(t, marked4, marked6, ping("plain", "", "10.7.0.2"))
	b.wait(t, "v4", 3, true, "")
	b.wait(t, "v6", 3, true, "")
	b.wait(t, "plain", 3, false, "unreachable")
	nstest.Run(t, "ip", "link", "del", "wg0")
	b.wait(t, "v4", 3, false, "unreachable")
	b.wait(t, "v6", 3, false, "unreachable")
}
