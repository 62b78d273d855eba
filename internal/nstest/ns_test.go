package nstest

import (
	"strings"
	"testing"
)

func TestIsolatedHostsReachEachOther(t *testing.T) {
	if !Isolate(t) {
		return
	}
	a, b := New(t, "a"), New(t, "b")
	Veth(t, a, "eth0", []string{"10.0.0.1/24", "fd00:1::1/64"}, b, "eth0", []string{"10.0.0.2/24", "fd00:1::2/64"})
	for _, dst := range []string{"10.0.0.2", "fd00:1::2"} {
		out := a.Run(t, "ping", "-c1", "-W2", dst)
		if !strings.Contains(out, "1 received") {
			t.Errorf("ping %s: %s", dst, out)
		}
	}
}
