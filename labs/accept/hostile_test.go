package accept

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// rawSite is what makes a static site one whose BGP the test speaks itself.
func rawSite(name string, asn, block int) gwlab.Site {
	return gwlab.Site{
		Name: name, Keepalive: 5,
		TOML: fmt.Sprintf("allow = [\"10.%d.0.0/16 le 24\"]\n", block), Tables: fmt.Sprintf("[site.neighbor]\nasn = %d\npassive = true\n", asn),
	}
}

// rawUpdate is an UPDATE with these attributes.
func rawUpdate(prefix netip.Prefix, attrs ...[]byte) []byte {
	return rawbgp.UpdateMessage(nil, bytes.Join(attrs, nil), rawbgp.Prefix(prefix))
}

// rawSession opens a session from a site by hand.
func rawSession(t *testing.T, s *gwlab.SiteHost, local, remote netip.Addr, asn uint32) *rawbgp.Peer {
	t.Helper()
	var p *rawbgp.Peer
	nstest.Eventually(t, 30*time.Second, func() error {
		return s.Host.Do(func() (err error) {
			p, err = rawbgp.Dial(rawbgp.Config{Local: local, Remote: remote, ASN: asn, IPv4Only: true})
			return err
		})
	})
	t.Cleanup(p.Close)
	return p
}

// malformed sends broken UPDATEs from a site (s13): those that RFC 7606 treats
// as a withdrawal cost the prefix only, the others that session only.
func malformed(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, name string, local netip.Addr, asn uint32) {
	s := l.Site(name)
	prefix := netip.PrefixFrom(s.Net4.Addr(), 24)
	hop := local.As4()
	origin := []byte{0x40, 1, 1, 0}
	asPath := []byte{0x40, 2, 6, 2, 1, 0, 0, byte(asn >> 8), byte(asn)}
	nextHop := append([]byte{0x40, 3, 4}, hop[:]...)
	good := rawUpdate(prefix, origin, asPath, nextHop)
	others := map[string]time.Time{}
	for _, n := range []string{"paris", "berlin", "mute", "tgw/1"} {
		nstest.Eventually(t, 30*time.Second, func() error { return sessionState(l, g, n, "Established") })
		others[n] = ask[api.NeighborList](t, l, g, "neighbor", n).Neighbors[0].Since.Time
	}
	send := func(c *rawbgp.Peer, b []byte) {
		t.Helper()
		if err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	c := rawSession(t, s, local, hub4, asn)
	since := func() time.Time { return ask[api.NeighborList](t, l, g, "neighbor", name).Neighbors[0].Since.Time }
	send(c, good)
	nstest.Eventually(t, 10*time.Second, func() error { return tgwHops(l, prefix, insideTGW4) })
	up := since()
	for what, bad := range map[string][]byte{
		"ORIGIN of value 9":          rawUpdate(prefix, []byte{0x40, 1, 1, 9}, asPath, nextHop),
		"no NEXT_HOP":                rawUpdate(prefix, origin, asPath),
		"NEXT_HOP of 3 octets":       rawUpdate(prefix, origin, asPath, []byte{0x40, 3, 3, 1, 2, 3}),
		"communities of 5 octets":    rawUpdate(prefix, origin, asPath, nextHop, []byte{0xc0, 8, 5, 1, 2, 3, 4, 5}),
		"MED of 3 octets":            rawUpdate(prefix, origin, asPath, nextHop, []byte{0x80, 4, 3, 1, 2, 3}),
		"AS_PATH segment of type 77": rawUpdate(prefix, origin, []byte{0x40, 2, 6, 77, 1, 0, 0, byte(asn >> 8), byte(asn)}, nextHop),
	} {
		send(c, bad)
		nstest.Eventually(t, 10*time.Second, func() error {
			if err := tgwHops(l, prefix); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
		if now := since(); !now.Equal(up) {
			t.Errorf("%s: session since %v, was %v, want it to stand (RFC 7606)", what, now, up)
			c = rawSession(t, s, local, hub4, asn)
			up = since()
		}
		send(c, good)
		nstest.Eventually(t, 10*time.Second, func() error { return tgwHops(l, prefix, insideTGW4) })
	}
	// These killed earlier releases of GoBGP; the session may end, nothing else.
	for what, bad := range map[string][]byte{
		"AS4_PATH before AS_PATH":        rawUpdate(prefix, origin, nextHop, []byte{0xc0, 17, 6, 2, 1, 0, 0, byte(asn >> 8), byte(asn)}, asPath),
		"empty MP_REACH":                 rawUpdate(prefix, origin, asPath, []byte{0x80, 14, 0}),
		"attribute beyond the end":       rawbgp.Message(rawbgp.Update, 0, 0, 0, 4, 0x40, 1, 200, 0),
		"marker and length of nonsense":  append(bytes.Repeat([]byte{0}, 16), 0, 5, 2),
		"message of an unknown type":     rawbgp.Message(99),
		"AS_PATH segment without an ASN": rawUpdate(prefix, origin, []byte{0x40, 2, 2, 2, 0}, nextHop),
	} {
		_ = c.Write(bad) // the session may have ended by now
		_ = c.Write(good)
		stays(t, 300*time.Millisecond, func() error {
			if !g.Process.Running() {
				return fmt.Errorf("%s: the daemon ended: %w", what, g.Process.Err())
			}
			return nil
		})
	}
	c.Close()
	for n, was := range others {
		if now := ask[api.NeighborList](t, l, g, "neighbor", n).Neighbors[0].Since.Time; !now.Equal(was) {
			t.Errorf("session of %s: since %v, was %v, want it untouched", n, now, was)
		}
	}
	t.Log("figure: s13 6 malformed UPDATEs withdrew one prefix each, 6 killers killed nobody")
}
