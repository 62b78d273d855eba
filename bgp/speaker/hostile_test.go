package speaker

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// crashers are messages that killed earlier releases of GoBGP.
func crashers() map[string][]byte {
	frame := func(typ byte, body ...byte) []byte {
		b := make([]byte, 19, 19+len(body))
		for i := range 16 {
			b[i] = 0xFF
		}
		binary.BigEndian.PutUint16(b[16:], uint16(19+len(body)))
		b[18] = typ
		return append(b, body...)
	}
	update := func(attrs []byte, nlri ...byte) []byte {
		body := []byte{0, 0, byte(len(attrs) >> 8), byte(len(attrs))}
		return frame(2, append(append(body, attrs...), nlri...)...)
	}
	origin, nextHop := []byte{0x40, 1, 1, 0}, []byte{0x40, 3, 4, 127, 0, 0, 2}
	asPath := []byte{0x40, 2, 6, 2, 1, 0, 0, 0xFE, 0x4D}
	as4 := []byte{0xC0, 17, 6, 2, 1, 0, 0, 0xFE, 0x4D}
	cat := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	return map[string][]byte{
		"unknown message type":             frame(99),
		"type zero":                        frame(0),
		"AS4_PATH before AS_PATH":          update(cat(origin, nextHop, as4, asPath), 24, 192, 168, 1),
		"AS4_PATH without AS_PATH":         update(cat(origin, nextHop, as4), 24, 192, 168, 1),
		"NEXT_HOP of no length":            update(cat(origin, asPath, []byte{0x40, 3, 0}), 24, 192, 168, 1),
		"NEXT_HOP of 16 octets":            update(cat(origin, asPath, append([]byte{0x40, 3, 16}, make([]byte, 16)...)), 24, 192, 168, 1),
		"unknown well-known attribute":     update(cat(origin, asPath, nextHop, []byte{0x40, 200, 1, 0}), 24, 192, 168, 1),
		"family that was not negotiated":   update(cat(origin, asPath, []byte{0x80, 14, 9, 0, 25, 70, 0, 0, 1, 2, 3, 4}), 24, 192, 168, 1),
		"withdrawal of unnegotiated":       update([]byte{0x80, 15, 5, 0, 1, 128, 8, 1}),
		"prefix longer than its family":    update(cat(origin, asPath, nextHop), 64, 1, 2, 3, 4, 5, 6, 7, 8),
		"AS_PATH segment without ASNs":     update(cat(origin, []byte{0x40, 2, 2, 2, 0}, nextHop), 24, 192, 168, 1),
		"AS_PATH segment of unknown type":  update(cat(origin, []byte{0x40, 2, 6, 9, 1, 0, 0, 0, 1}, nextHop), 24, 192, 168, 1),
		"no attributes but NLRI":           update(nil, 24, 192, 168, 1),
		"OPEN in an established session":   frame(1, 4, 0, 1, 0, 90, 1, 2, 3, 4, 0),
		"route refresh of unknown family":  frame(5, 0, 77, 0, 77),
		"short route refresh":              frame(5, 0),
		"notification without code":        frame(3),
		"large community of wrong length":  update(cat(origin, asPath, nextHop, []byte{0xC0, 32, 5, 1, 2, 3, 4, 5}), 24, 192, 168, 1),
		"empty MP_REACH":                   update(cat(origin, asPath, []byte{0x80, 14, 0})),
		"IPv6 next hop of 5 octets":        update(cat(origin, asPath, []byte{0x80, 14, 11, 0, 2, 1, 5, 1, 2, 3, 4, 5, 0, 0})),
		"attribute length beyond the end":  update([]byte{0x40, 1, 200, 0}, 24, 192, 168, 1),
		"attributes twice":                 update(cat(origin, origin, asPath, asPath, nextHop), 24, 192, 168, 1),
		"AGGREGATOR of wrong length":       update(cat(origin, asPath, nextHop, []byte{0xC0, 7, 3, 1, 2, 3}), 24, 192, 168, 1),
		"confederation segment from eBGP":  update(cat(origin, []byte{0x40, 2, 6, 3, 1, 0, 0, 0, 1}, nextHop), 24, 192, 168, 1),
		"marker of zeros":                  append(make([]byte, 16), 0, 19, 4),
		"length below the header":          append(frame(4)[:16], 0, 5, 4),
		"length of 4096 and nothing after": append(frame(4)[:16], 0x10, 0, 2),
	}
}

func TestHostileSiteTakesNobodyDown(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	good := neighbor("good", "127.0.0.3", 65102, "sites")
	bad := neighbor("bad", "127.0.0.2", 65101, "sites")
	bad.Import = &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("192.168.0.0/16"), LE: 32}}, EnforceFirstAS: true}
	// GoBGP waits 5 s in Idle after each loss, so hostility comes from many addresses.
	ns := []bgp.Neighbor{bad, good}
	const extra = 250
	for i := range extra {
		n := bad
		n.Address = netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
		n.Name = "bad-" + n.Address.String()
		ns = append(ns, n)
	}
	apply(t, s, ns, []bgp.Announcement{announcement("10.1.0.0/16", nil, bgp.Export{Group: "sites"})})
	g := dialRaw(t, rawConf{local: "127.0.0.3", asn: 65102})
	g.update(t, []uint32{65102}, "127.0.0.3", "172.16.0.0/24")
	rec.has(t, "good 172.16.0.0/24")

	next := 0
	var last error
	session := func() (*rawPeer, string) {
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // Idle time of GoBGP
			a := netip.AddrFrom4([4]byte{127, 0, 1, byte(next%extra + 1)})
			next++
			p, err := tryRaw(rawConf{local: a.String(), asn: 65101})
			if err == nil {
				t.Cleanup(func() { _ = p.conn.Close() })
				return p, "bad-" + a.String()
			}
			last = err
		}
		t.Fatalf("no hostile session comes up any more: %v", last)
		return nil, ""
	}
	// digested waits until the speaker has read everything sent so far: either it
	// took a valid path sent behind it or it ended the session, which it says.
	marks := 0
	digested := func(p *rawPeer, from string) (alive bool) {
		mark := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(100 + marks/250%100), byte(marks % 250)}), 32)
		marks++
		p.update(t, []uint32{65101}, "127.0.0.2", mark.String())
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) { // finer than the round trip
			rec.mu.Lock()
			_, ok := rec.paths[from+" "+mark.String()]
			rec.mu.Unlock()
			if ok {
				return true
			}
			if p.closed() != nil {
				return false
			}
		}
		return false // framing is lost: the speaker waits for the rest of a message
	}
	seeds := [][]byte{}
	for name, msg := range crashers() {
		p, from := session()
		_, _ = p.conn.Write(msg)
		seeds = append(seeds, msg)
		digested(p, from)
		if err := g.closed(); err != nil {
			t.Fatalf("%s: the good neighbor's session ended: %v", name, err)
		}
		_ = p.conn.Close()
	}
	// A valid message is the best seed: most of its mutations get far.
	nh, _ := packet.NewPathAttributeNextHop(netip.MustParseAddr("127.0.0.2"))
	valid, _ := packet.NewBGPUpdateMessage(nlris([]string{"192.168.3.0/24"}), []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(0), packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAs4PathParam(2, []uint32{65101, 3})}),
		nh, packet.NewPathAttributeCommunities([]uint32{1, 2}), packet.NewPathAttributeLargeCommunities([]*packet.LargeCommunity{packet.NewLargeCommunity(1, 2, 3)}),
	}, nlris([]string{"192.168.1.0/24", "192.168.2.0/24"})).Serialize()
	for range 200 {
		seeds = append(seeds, valid)
	}

	rng := rand.New(rand.NewPCG(7606, 4271)) // seeded: a failure can be repeated
	p, from := session()
	sent, sessions := 0, 1
	deadline := time.Now().Add(2 * time.Minute)
	for sent < 2000 && time.Now().Before(deadline) {
		m := append([]byte(nil), seeds[rng.IntN(len(seeds))]...)
		for range 1 + rng.IntN(3) {
			if i := 19 + rng.IntN(max(1, len(m)-19)); i < len(m) { // framing stays whole mostly
				m[i] = byte(rng.IntN(256))
			}
		}
		if _, err := p.conn.Write(m); err == nil {
			sent++
		}
		if !digested(p, from) {
			_ = p.conn.Close()
			p, from = session()
			sessions++
		}
	}
	t.Logf("%d mutated messages over %d sessions", sent, sessions)
	if sent < 2000 {
		t.Errorf("sent %d mutated messages, want 2000", sent)
	}
	if err := g.closed(); err != nil {
		t.Errorf("the good neighbor's session ended: %v", err)
	}
	apply(t, s, ns, []bgp.Announcement{announcement("10.2.0.0/16", nil, bgp.Export{Group: "sites"})})
	g.expect(t, map[string]string{"10.2.0.0/16": seen{nextHop: "127.0.0.1", as: []uint32{65000}, med: 0, localPref: -1}.String()})
	for _, n := range ns {
		paths, _ := s.AdjIn(n.Name)
		for _, p := range paths {
			if n.Name != "good" && !pfx("192.168.0.0/16").Contains(p.Prefix.Addr()) {
				t.Errorf("%s taught %s, which its allow-list does not hold", n.Name, p.Prefix)
			}
		}
	}
}

// FuzzImport feeds bytes through the parser, our decoding and import policy.
func FuzzImport(f *testing.F) {
	for _, m := range crashers() {
		f.Add(m)
	}
	ip := &bgp.ImportPolicy{Allow: []bgp.PrefixRule{{Prefix: pfx("10.0.0.0/8"), LE: 32}, {Prefix: pfx("fd00::/8"), LE: 128}}, EnforceFirstAS: true, LocalPref: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := packet.ParseBGPMessage(b)
		if err != nil || m == nil {
			return
		}
		u, ok := m.Body.(*packet.BGPUpdate)
		if !ok {
			return
		}
		s := &Speaker{pool: pool{}, out: newOutbox()}
		n := &session{
			spec: bgp.Neighbor{Name: "n", RemoteASN: 65101, Import: ip}, frame: bgp.ImportFrame{LocalASNs: []bgp.ASN{65000}, RemoteASN: 65101},
			adjIn: map[netip.Prefix]entry{}, refused: map[netip.Prefix]denial{},
		}
		var paths []*apiutil.Path
		add := func(list []packet.PathNLRI, gone bool) {
			for _, x := range list {
				paths = append(paths, &apiutil.Path{Nlri: x.NLRI, Attrs: u.PathAttributes, Withdrawal: gone})
			}
		}
		add(u.NLRI, false)
		for _, a := range u.PathAttributes {
			if r, ok := a.(*packet.PathAttributeMpReachNLRI); ok {
				add(r.Value, false)
			}
		}
		add(u.WithdrawnRoutes, true)
		var buf []byte
		for _, p := range paths {
			if r, ok := decode(p); ok {
				buf = s.learn(n, r, time.Unix(1, 0), buf)
			}
		}
		refs := 0
		for p, e := range n.adjIn {
			if p != p.Masked() || ip.Evaluate(n.frame, p, e.shared.nextHop, e.shared.attrs.ASPath) != "" || e.shared.attrs.LocalPref != 200 {
				t.Errorf("accepted %s with %+v", p, e.shared.attrs)
			}
			if _, both := n.refused[p]; both {
				t.Errorf("%s is accepted and refused", p)
			}
		}
		for _, sh := range s.pool {
			refs += sh.refs
		}
		if refs != len(n.adjIn) {
			t.Errorf("attribute references: got %d, want %d", refs, len(n.adjIn))
		}
		var want [2]tally
		for p := range n.adjIn {
			want[familyOf(p)].own++
		}
		for p, r := range n.refused {
			if r.echo {
				want[familyOf(p)].echo++
			} else {
				want[familyOf(p)].own++
			}
		}
		if n.count != want {
			t.Errorf("counts by family: got %+v, want %+v", n.count, want)
		}
		s.flush(n)
		if len(s.pool) != 0 {
			t.Errorf("attributes left after flush: %d", len(s.pool))
		}
	})
}
