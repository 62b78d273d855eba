package daemons

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/wg"
)

func twoHosts(t *testing.T) (a, b *netlab.Host) {
	t.Helper()
	if m := Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(false); err != nil {
			t.Error(err)
		}
	})
	if a, err = lab.Host("a"); err != nil {
		t.Fatal(err)
	}
	if b, err = lab.Host("b"); err != nil {
		t.Fatal(err)
	}
	if err := netlab.Link(netlab.End{Host: a, Device: "eth0", Addresses: []string{"192.0.2.1/24"}},
		netlab.End{Host: b, Device: "eth0", Addresses: []string{"192.0.2.2/24"}}); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestFRRAndBIRDTalkToEachOther(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	a, b := twoHosts(t)
	frr, err := StartFRR(a, `
router bgp 65001
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 192.0.2.2 remote-as 65002
 neighbor 192.0.2.2 timers connect 1
 address-family ipv4 unicast
  network 10.1.0.0/16
`)
	if err != nil {
		t.Fatal(err)
	}
	bird, err := StartBIRD(b, `
router id 192.0.2.2;
protocol device { }
protocol kernel { ipv4 { export all; }; }
protocol static { ipv4; route 10.2.0.0/16 blackhole; }
protocol bgp frr {
  local 192.0.2.2 as 65002;
  neighbor 192.0.2.1 as 65001;
  connect delay time 1;
  ipv4 { import all; export all; };
}
`)
	if err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		if out, err := a.Run("ip", "route", "show", "10.2.0.0/16"); err != nil || !strings.Contains(out, "192.0.2.2") {
			return fmt.Errorf("on FRR's host: %q, %w", out, err)
		}
		if out, err := b.Run("ip", "route", "show", "10.1.0.0/16"); err != nil || !strings.Contains(out, "192.0.2.1") {
			return fmt.Errorf("on BIRD's host: %q, %w", out, err)
		}
		return nil
	})

	// Both take changes while they run.
	if _, err := frr.Vtysh("configure terminal", "router bgp 65001", "address-family ipv4 unicast", "network 10.11.0.0/16"); err != nil {
		t.Error(err)
	}
	if out, err := frr.Vtysh("show bgp nonsense"); err == nil {
		t.Errorf("a wrong command: got %q and no error", out)
	}
	nstest.Eventually(t, 20*time.Second, func() error {
		if out, err := bird.Birdc("show", "route", "10.11.0.0/16"); err != nil || !strings.Contains(out, "AS65001") {
			return fmt.Errorf("BIRD: %q, %w", out, err)
		}
		return nil
	})
}

func TestWireGuardTunnelCarriesPackets(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	a, b := twoHosts(t)
	privateA, publicA := newKey(t)
	privateB, publicB := newKey(t)
	inner := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd09::/64")}
	if _, err := StartWireGuard(a, "wg0", WireGuardConfig(privateA, 51820, WireGuardPeer{PublicKey: publicB, AllowedIPs: inner}), 0, "10.9.0.1/24", "fd09::1/64"); err != nil {
		t.Fatal(err)
	}
	// The same device name on another host: sockets must not meet.
	if _, err := StartWireGuard(b, "wg0", WireGuardConfig(privateB, 0, WireGuardPeer{PublicKey: publicA, Endpoint: "192.0.2.1:51820", AllowedIPs: inner, Keepalive: 1}), 0, "10.9.0.2/24", "fd09::2/64"); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error {
		for _, dst := range []string{"10.9.0.2", "fd09::2"} {
			if _, err := a.Run("ping", "-c1", "-W1", dst); err != nil {
				return err
			}
		}
		return nil
	})
	if out, err := a.Run("wg", "show", "wg0", "latest-handshakes"); err != nil || !strings.Contains(out, publicB) {
		t.Errorf("wg show: got %q, %v", out, err)
	}
}

func newKey(t *testing.T) (private, public string) {
	t.Helper()
	var b [wg.KeyLen]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	k := wg.NewPrivateKey(b)
	raw := k.Reveal()
	return base64.StdEncoding.EncodeToString(raw[:]), k.Public().String()
}

func TestDaemonThatEndsIsReportedWithItsLog(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	a, _ := twoHosts(t)
	_, err := StartBIRD(a, "this is no configuration")
	if err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("got %v, want BIRD's own words", err)
	}
	if errors.Is(err, netlab.ErrNotPermitted) {
		t.Error("wrong reason")
	}
}
