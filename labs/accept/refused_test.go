package accept

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
)

// passwordAndTTL closes the session with BIRD by a wrong password and by a TTL
// that is too small, and wants it back with the right ones (s07).
func passwordAndTTL(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost) {
	s := l.Site("berlin")
	const last = "neighbor 172.20.1.1 as 65010;"
	bird := func(option string) {
		t.Helper()
		if err := s.BIRD.Configure(strings.Replace(l.BIRDText(s), last, last+" "+option, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(line string) {
		t.Helper()
		rewrite(t, g, func(c string) string {
			return inSite(c, "berlin", func(b string) string {
				b = withoutLine(withoutLine(b, "password"), "ttl-security")
				return strings.Replace(b, "[site.neighbor]", "[site.neighbor]\n"+line, 1)
			})
		})
		reload(t, l, g)
	}
	if _, err := g.Host.File("berlin.md5", "correct horse\n"); err != nil {
		t.Fatal(err)
	}
	password := fmt.Sprintf("password = %q", "file:"+g.Host.Dir()+"/berlin.md5")
	for _, tt := range []struct{ what, ours, wrong, right, hint string }{
		{"password", password, `password "battery staple";`, `password "correct horse";`, "TCP MD5"},
		{"TTL", "ttl-security = true", "", "ttl security yes;", "TTL 255"},
	} {
		bird(tt.wrong)
		ours(tt.ours)
		nstest.Eventually(t, 20*time.Second, func() error { return tgwHops(l, s.Net4) })
		stays(t, 4*time.Second, func() error {
			n, err := tryAsk[api.NeighborList](l, g, "neighbor", "berlin")
			if err == nil && n.Neighbors[0].State == "Established" {
				err = fmt.Errorf("wrong %s: the session is Established", tt.what)
			}
			return err
		})
		out, _, code, err := l.CLI(g, "check")
		line := ""
		for l := range strings.Lines(out) {
			if strings.Contains(l, "neighbor berlin") {
				line = l
			}
		}
		if err != nil || code != 5 || line == "" {
			t.Errorf("wrong %s: check: exit %d, %v, want 5 and the neighbor named:\n%s", tt.what, code, err, out)
		}
		n := ask[api.NeighborList](t, l, g, "neighbor", "berlin").Neighbors[0]
		if !strings.Contains(line, tt.hint) {
			t.Errorf("wrong %s: check says %q, want the hint %q", tt.what, line, tt.hint)
		}
		t.Logf("figure: s07 wrong %s: state %s, last loss %q, hint %q", tt.what, n.State, n.LossReason, n.Hint)
		bird(tt.right)
		nstest.Eventually(t, 40*time.Second, func() error { return sessionState(l, g, "berlin", "Established") })
		nstest.Eventually(t, 10*time.Second, func() error { return tgwHops(l, s.Net4, insideTGW4) })
	}
}

// stays wants try to hold all the time.
func stays(t *testing.T, d time.Duration, try func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // between looks
		if err := try(); err != nil {
			t.Fatal(err)
		}
	}
}

// maxPrefix lets paris send one prefix too many (s11).
func maxPrefix(t *testing.T, l *gwlab.Lab, g *gwlab.GatewayHost, wire *capture) {
	s := l.Site("paris")
	rewrite(t, g, func(c string) string {
		return inSite(c, "paris", func(b string) string { return strings.Replace(b, "\naddress", "\nmax-prefixes = 3\naddress", 1) })
	})
	reload(t, l, g)
	// FRR sends back what it was told: more than the limit, and not counted.
	stays(t, time.Second, func() error {
		n, err := tryAsk[api.NeighborList](l, g, "neighbor", "paris")
		if err == nil && (n.Neighbors[0].State != "Established" || n.Neighbors[0].Received <= 3) {
			err = fmt.Errorf("neighbor paris: got %s with %d received, want Established with more than 3", n.Neighbors[0].State, n.Neighbors[0].Received)
		}
		return err
	})
	since := map[string]time.Time{}
	for _, name := range []string{"berlin", "mute", "tgw/1"} {
		since[name] = ask[api.NeighborList](t, l, g, "neighbor", name).Neighbors[0].Since.Time
	}
	begun := time.Now()
	more := []string{"configure terminal", "router bgp 65101", "address-family ipv4 unicast"}
	for i := range 3 { // with its own one: limit 3, plus 1
		more = append(more, fmt.Sprintf("network 10.101.%d.0/24", 10+i))
	}
	if _, err := s.FRR.Vtysh(more...); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error {
		n, err := tryAsk[api.NeighborList](l, g, "neighbor", "paris")
		if err == nil && (n.Neighbors[0].State == "Established" || n.Neighbors[0].LossReason != "max-prefix") {
			err = fmt.Errorf("neighbor paris: got %s, %q, want the session ended by max-prefix", n.Neighbors[0].State, n.Neighbors[0].LossReason)
		}
		return err
	})
	nstest.Eventually(t, 10*time.Second, func() error { return tgwHops(l, s.Net4) })
	nstest.Eventually(t, 5*time.Second, func() error {
		for _, m := range wire.messages() {
			if m.typ == bgpNotification && m.src == hub4 && m.at.After(begun) && len(m.body) >= 2 && m.body[0] == 6 && m.body[1] == 1 {
				return nil
			}
		}
		return errors.New("on the wire: want NOTIFICATION Cease, Maximum Number of Prefixes Reached (6/1)")
	})
	if !strings.Contains(g.Process.Tail(100), "max-prefix") {
		t.Error("log: want the word max-prefix")
	}
	for name, was := range since {
		if now := ask[api.NeighborList](t, l, g, "neighbor", name).Neighbors[0].Since.Time; !now.Equal(was) {
			t.Errorf("session of %s: since %v, was %v, want it untouched", name, now, was)
		}
	}
	if err := tgwHops(l, l.Site("berlin").Net4, insideTGW4); err != nil {
		t.Error(err)
	}
	if err := tgwHops(l, netip.MustParsePrefix("10.101.10.0/24")); err != nil {
		t.Error(err)
	}
}
