package bench

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// messages cuts a stream into the bodies of its UPDATEs.
func messages(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n := int(binary.BigEndian.Uint16(b[16:]))
		if n < 23 || n > 4096 || n > len(b) || b[18] != msgUpdate {
			t.Fatalf("message of %d octets, type %d, %d left", n, b[18], len(b))
		}
		out = append(out, b[19:n])
		b = b[n:]
	}
	return out
}

func TestTableHoldsEveryPrefixOnce(t *testing.T) {
	for _, kind := range []tableKind{sharedAttrs, diverseAttrs} {
		const n = 10_000
		tab := newTable(kind, n, netip.MustParseAddr("10.10.0.2"), 65001, 1)
		msgs := messages(t, tab.wire)
		p := &rawPeer{news: map[netip.Prefix]news{}}
		for _, m := range msgs {
			if err := p.update(m, time.Now()); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		if len(p.news) != n || len(tab.prefixes) != n {
			t.Errorf("%s: got %d prefixes on the wire, %d listed, want %d", kind, len(p.news), len(tab.prefixes), n)
		}
		if per := n / len(msgs); kind == sharedAttrs && per < 500 || kind == diverseAttrs && (per < 3 || per > 8) {
			t.Errorf("%s: got %d prefixes in each UPDATE", kind, per)
		}
		if err := p.update(messages(t, appendWithdrawal(nil, false, tab.prefixes[7]))[0], time.Now()); err != nil || p.news[tab.prefixes[7]].there {
			t.Errorf("%s: withdrawal: %v, still there: %v", kind, err, p.news[tab.prefixes[7]].there)
		}
	}
	six := newTable(diverseAttrs, 1000, netip.MustParseAddr("fd10::2"), 65001, 0)
	messages(t, six.wire)
	messages(t, appendWithdrawal(nil, true))
}

// The observer must see routes that spell out their gateway, routes that name an
// object, and the change of an object under its routes.
func TestObserverFollowsObjectsUnderRoutes(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	l, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(false) }()
	h, err := l.Host("observed")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlab.Link(netlab.End{Device: "here", Addresses: []string{"10.10.0.2/24"}},
		netlab.End{Host: h, Device: "eth0", Addresses: []string{"10.10.0.1/24"}}); err != nil {
		t.Fatal(err)
	}
	o, err := observe(h, false)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	two, three := netip.MustParseAddr("10.10.0.2"), netip.MustParseAddr("10.10.0.3")
	step := func(by netip.Addr, n int, lines ...string) {
		t.Helper()
		answer := o.when(by, n)
		if err := h.RunAll(lines...); err != nil {
			t.Fatal(err)
		}
		select {
		case <-answer:
		case <-time.After(10 * time.Second):
			got, all := o.count(by)
			t.Fatalf("after %q: %d routes by %s, %d in all, want %d", lines, got, by, all, n)
		}
	}
	step(two, 1, "ip route add 20.0.0.0/24 via 10.10.0.2 table 1186")
	step(two, 3,
		"ip nexthop add id 1 via 10.10.0.2 dev eth0", "ip nexthop add id 2 via 10.10.0.3 dev eth0", "ip nexthop add id 9 group 1",
		"ip route add 20.0.1.0/24 nhid 9 table 1186", "ip route add 20.0.2.0/24 nhid 1")
	step(three, 1, "ip nexthop replace id 9 group 2")
	step(three, 2, "ip route replace 20.0.0.0/24 via 10.10.0.3 table 1186")
	step(three, 1, "ip route del 20.0.0.0/24 table 1186")
	if o.err != nil {
		t.Error(o.err)
	}
}
