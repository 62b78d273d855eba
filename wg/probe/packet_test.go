package probe

import (
	"net/netip"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var sample = echo{slot: 7, round: 70000, cookie: 0x1122334455667788}

func ip4(proto byte, dst netip.Addr, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[9] = 0x45, proto
	d := dst.As4()
	copy(b[16:], d[:])
	return append(b, payload...)
}

func ip6(next byte, dst netip.Addr, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6] = 0x60, next
	d := dst.As16()
	copy(b[24:], d[:])
	return append(b, payload...)
}

// TestRequestIsWhatOthersUnderstand reads our request with x/net/icmp.
func TestRequestIsWhatOthersUnderstand(t *testing.T) {
	b := make([]byte, echoLen)
	putEcho(b, false, 0xabcd, sample)
	m, err := icmp.ParseMessage(1, b)
	if err != nil || m.Type != ipv4.ICMPTypeEcho || m.Body.(*icmp.Echo).ID != 0xabcd {
		t.Errorf("got %+v, %v; want an echo request with our identifier", m, err)
	}
	want, err := m.Marshal(nil)
	if err != nil || string(want) != string(b) {
		t.Errorf("got % x, want % x (checksum)", b, want)
	}
	putEcho(b, true, 0xabcd, sample)
	if m, err = icmp.ParseMessage(58, b); err != nil || m.Type != ipv6.ICMPTypeEchoRequest {
		t.Errorf("got %+v, %v; want an ICMPv6 echo request", m, err)
	}
}

func TestParseRecognisesOnlyOurPackets(t *testing.T) {
	dst4, dst6 := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")
	us := netip.MustParseAddr("10.0.0.1")
	req4, req6 := make([]byte, echoLen), make([]byte, echoLen)
	putEcho(req4, false, 5, sample)
	putEcho(req6, true, 5, sample)
	typed := func(b []byte, typ byte) []byte {
		c := append([]byte(nil), b...)
		c[0] = typ
		return c
	}
	err4 := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, ip4(1, dst4, req4)...)
	err6 := append([]byte{1, 3, 0, 0, 0, 0, 0, 0}, ip6(58, dst6, req6)...)
	for _, c := range []struct {
		name string
		b    []byte
		v6   bool
		id   uint16
		want answer
		ok   bool
	}{
		{"reply", ip4(1, us, typed(req4, 0)), false, 5, answer{echo: sample}, true},
		{"reply v6", typed(req6, 129), true, 5, answer{echo: sample}, true},
		{"other identifier", ip4(1, us, typed(req4, 0)), false, 6, answer{}, false},
		{"request", ip4(1, us, req4), false, 5, answer{}, false},
		{"cut reply", ip4(1, us, typed(req4, 0)[:echoLen-1]), false, 5, answer{}, false},
		{"unreachable", ip4(1, us, err4), false, 5, answer{sample, true, dst4}, true},
		{"time exceeded", ip4(1, us, typed(err4, 11)), false, 5, answer{sample, true, dst4}, true},
		{"unreachable v6", err6, true, 5, answer{sample, true, dst6}, true},
		{"quote of 8 bytes", ip4(1, us, err4[:8+20+8]), false, 5, answer{}, false},
		{"error about UDP", ip4(1, us, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, ip4(17, dst4, req4)...)), false, 5, answer{}, false},
		{"empty", nil, false, 5, answer{}, false},
		{"header length beyond the packet", []byte{0x4f, 19: 0}, false, 5, answer{}, false},
	} {
		parse := parse4
		if c.v6 {
			parse = parse6
		}
		got, ok := parse(c.b, c.id)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v %v, want %+v %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	req := make([]byte, echoLen)
	putEcho(req, false, 5, sample)
	req[0] = 0
	f.Add(ip4(1, netip.MustParseAddr("10.0.0.1"), req), uint16(5))
	req[0] = 8
	f.Add(ip4(1, netip.MustParseAddr("10.0.0.1"), append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, ip4(1, netip.MustParseAddr("10.0.0.9"), req)...)), uint16(5))
	req[0] = 129
	f.Add(append([]byte(nil), req...), uint16(5))
	req[0] = 128
	f.Add(append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, ip6(58, netip.MustParseAddr("fd00::9"), req)...), uint16(5))
	f.Fuzz(func(t *testing.T, b []byte, id uint16) {
		a, ok := parse4(b, id)
		if ok && len(b) < 20+echoLen {
			t.Errorf("%+v from %d bytes", a, len(b))
		}
		if a.unreachable && !a.dst.Is4() {
			t.Errorf("unreachable without destination: %+v", a)
		}
		a, ok = parse6(b, id)
		if ok && len(b) < echoLen {
			t.Errorf("%+v from %d bytes", a, len(b))
		}
		if a.unreachable && !a.dst.Is6() {
			t.Errorf("unreachable without destination: %+v", a)
		}
	})
}
