package accept

import (
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

func TestAC06_TwoHundredPeersOnOneInterface(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l := start(t, gwlab.Spec{Gateways: []gwlab.Gateway{{Name: "gw1"}}, Sites: []gwlab.Site{{Name: "paris"}}})
	reach(t, l, "paris")
	_ = owners(allowedIPs(t, l.Gateways[0], "wg0"))
}
