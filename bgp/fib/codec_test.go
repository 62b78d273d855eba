package fib

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The bytes of these messages were compared field by field with
// include/uapi/linux/{netlink,rtnetlink,nexthop,fib_rules}.h; little-endian.
func TestMessagesHaveTheKernelsForm(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("golden bytes are little-endian")
	}
	p4, p6 := netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")
	for name, c := range map[string]struct {
		build func(m *messages)
		want  string
	}{
		"IPv4 route by group": {
			func(m *messages) {
				m.newRoute(7, unix.NLM_F_EXCL, &routeMsg{table: 1179, protocol: 186, prefix: p4, metric: 20, typ: unix.RTN_UNICAST, nhid: 0x01020304, source: netip.MustParseAddr("192.0.2.1")})
			},
			"4400000018000106 0700000000000000 02100000 00ba0001 00000000 08000100 0a010000 08000f00 9b040000 08000600 14000000 08001e00 04030201 08000700 c0000201",
		},
		"IPv6 blackhole in a small table": {
			func(m *messages) {
				m.newRoute(1, unix.NLM_F_REPLACE, &routeMsg{table: 100, protocol: 186, prefix: p6, metric: 4000, typ: unix.RTN_BLACKHOLE})
			},
			"3800000018000105 0100000000000000 0a200000 64ba0006 00000000 14000100 20010db8000000000000000000000000 08000600 a00f0000",
		},
		"delete": {
			func(m *messages) { m.delRoute(2, p4, 1179, 186, 20) },
			"3400000019000100 0200000000000000 02100000 00baff00 00000000 08000100 0a010000 08000f00 9b040000 08000600 14000000",
		},
		"next hop": {
			func(m *messages) {
				m.setObject(3, 9, 186, &way{unix.AF_INET, netip.MustParseAddr("192.0.2.1"), 5}, false)
			},
			"3000000068000106 0300000000000000 0200ba00 04000000 08000100 09000000 08000500 05000000 08000600 c0000201",
		},
		"next hop that leads elsewhere": {
			func(m *messages) {
				m.setObject(3, 9, 186, &way{unix.AF_INET, netip.MustParseAddr("192.0.2.1"), 5}, true)
			},
			"3000000068000101 0300000000000000 0200ba00 04000000 08000100 09000000 08000500 05000000 08000600 c0000201",
		},
		"group": {
			func(m *messages) { m.setGroup(4, 10, 186, 0, []member{{9, 1}, {11, 5}}) },
			"3400000068000105 0400000000000000 0000ba00 00000000 08000100 0a000000 14000200 09000000 00000000 0b000000 04000000",
		},
		"rule": {
			func(m *messages) {
				m.rule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, 5, &rule{family: unix.AF_INET, pref: 20000, action: unix.FR_ACT_TO_TBL, table: 254, mark: 0x77, suppress: -1, protocol: 186})
			},
			"3c00000020000106 0500000000000000 02000000 fe000001 00000000 08000600 204e0000 08000a00 77000000 08001000 ffffffff 05001500 ba000000",
		},
	} {
		var m messages
		c.build(&m)
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.b, want) {
			t.Errorf("%s:\ngot  %x\nwant %x", name, m.b, want)
		}
	}
}

func TestWrittenMessagesReadBackEqual(t *testing.T) {
	body := func(m messages) []byte {
		_, b, rest, err := nextMessage(m.b)
		if err != nil || len(rest) != 0 {
			t.Fatalf("rest %d, %v", len(rest), err)
		}
		return b
	}
	for _, p := range []string{"0.0.0.0/0", "10.1.0.0/16", "192.0.2.1/32", "::/0", "2001:db8::/32", "fd00::1/128"} {
		in := routeMsg{table: 1179, protocol: 186, prefix: netip.MustParsePrefix(p), metric: 20, typ: unix.RTN_UNICAST, nhid: 5, source: netip.MustParsePrefix(p).Addr()}
		var m messages
		m.newRoute(1, 0, &in)
		r, err := parseRoute(body(m))
		if err != nil || r.prefix != in.prefix || r.table != in.table || r.protocol != in.protocol || r.metric != in.metric || r.nhid != in.nhid || r.source != in.source || r.typ != in.typ {
			t.Errorf("%s: got %+v, %v", p, r, err)
		}
	}
	for _, in := range (frame{table: 1179, protocol: 186, pref: 20000, mark: 7}).wantedRules(unix.AF_INET6) {
		var m messages
		m.rule(unix.RTM_NEWRULE, 0, 1, &in)
		if got, other, err := parseRule(body(m)); got != in || other || err != nil {
			t.Errorf("rule: got %+v other %v %v, want %+v", got, other, err, in)
		}
	}
	var m messages
	group := []member{{4, 1}, {6, 255}}
	m.setGroup(1, 3, 186, 0, group)
	if n, err := parseNextHop(body(m)); err != nil || n.id != 3 || n.special || !slices.Equal(n.group, group) {
		t.Errorf("group: got %+v, %v", n, err)
	}
}

func TestErrorsCarryTheKernelsWords(t *testing.T) {
	// NLMSG_ERROR, capped, with NLMSGERR_ATTR_MSG "no".
	b := native.AppendUint32(nil, uint32(0xffffffea)) // -EINVAL
	b = append(b, make([]byte, sizeofNlMsghdr)...)
	b = append(b, 7, 0, 1, 0, 'n', 'o', 0, 0)
	errno, text, err := parseError(header{flags: unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS}, b)
	if errno != unix.EINVAL || text != "no" || err != nil {
		t.Errorf("got %v %q %v", errno, text, err)
	}
}

// FuzzDecode feeds arbitrary bytes to every decoder: none may panic, and a
// route that is accepted must be one that can be written again.
func FuzzDecode(f *testing.F) {
	var m messages
	m.newRoute(1, 0, &routeMsg{table: 1179, protocol: 186, prefix: netip.MustParsePrefix("10.1.0.0/16"), metric: 1, typ: 1, nhid: 3})
	m.setGroup(2, 3, 186, 0, []member{{4, 1}, {5, 2}})
	m.rule(unix.RTM_NEWRULE, 0, 3, &rule{family: 2, pref: 4, table: 1179, mark: 3, suppress: 0, protocol: 186})
	f.Add(m.b)
	f.Add([]byte{0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			h, body, rest, err := nextMessage(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("no progress")
			}
			b = rest
			if r, err := parseRoute(body); err == nil {
				if !r.prefix.IsValid() {
					t.Fatalf("accepted an invalid prefix: %+v", r)
				}
				var m messages
				m.newRoute(1, 0, &routeMsg{table: r.table, protocol: r.protocol, prefix: r.prefix, metric: r.metric, typ: r.typ})
			}
			_, _ = parseNextHop(body)
			_, _ = parseLink(body)
			_, _, _ = parseRule(body)
			_, _, _ = parseError(h, body)
		}
	})
}
