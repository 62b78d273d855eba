package wg

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// model is the simplest WireGuard device: who exists, and who holds a prefix.
type model struct {
	peers  map[Key]bool
	holder map[netip.Prefix]Key
}

func (m *model) do(op Op) error {
	switch op.Kind {
	case OpAddPeer:
		m.peers[op.Peer] = true
	case OpMovePrefix:
		if !m.peers[op.Peer] {
			return fmt.Errorf("prefix %s for a peer that does not exist", op.Prefix)
		}
		m.holder[op.Prefix] = op.Peer
	case OpDelPrefix:
		if m.holder[op.Prefix] == op.Peer {
			delete(m.holder, op.Prefix)
		}
	case OpDelPeer:
		delete(m.peers, op.Peer)
		for p, k := range m.holder {
			if k == op.Peer {
				delete(m.holder, p)
			}
		}
	}
	return nil
}

// world is a random device, who owns what on it, and a random plan.
type world struct {
	want  []Peer
	held  []Held
	model model
	sweep bool
}

func randomWorld(r *rand.Rand) world {
	w := world{model: model{map[Key]bool{}, map[netip.Prefix]Key{}}, sweep: r.IntN(2) == 0}
	prefix := func(i int) netip.Prefix {
		if i%2 == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 8+i).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, byte(i)}), 64)
	}
	const prefixes = 16
	peers := r.IntN(7)
	for k := range peers {
		w.held = append(w.held, Held{Key: testKey(k), By: Ownership(r.IntN(3))})
		w.model.peers[testKey(k)] = true
	}
	for i := range prefixes {
		if peers == 0 || r.IntN(3) == 0 {
			continue
		}
		k := r.IntN(peers)
		w.held[k].AllowedIPs = append(w.held[k].AllowedIPs, HeldIP{prefix(i), Ownership(r.IntN(3))})
		w.model.holder[prefix(i)] = testKey(k)
	}
	wanted := map[int][]netip.Prefix{}
	for k := range 9 {
		if r.IntN(3) > 0 {
			wanted[k] = nil
		}
	}
	for i := range prefixes {
		if k := r.IntN(9); r.IntN(4) > 0 {
			if _, ok := wanted[k]; ok {
				wanted[k] = append(wanted[k], prefix(i))
			}
		}
	}
	for k := range 9 {
		if ips, ok := wanted[k]; ok {
			slices.SortFunc(ips, CompareAllowed)
			w.want = append(w.want, Peer{Key: testKey(k), AllowedIPs: ips})
		}
	}
	return w
}

// checkWorld runs Diff on a world and holds the outcome against the rules.
func checkWorld(w world) error {
	owner := map[netip.Prefix]Key{}
	for _, p := range w.want {
		for _, ip := range p.AllowedIPs {
			owner[ip] = p.Key
		}
	}
	before := map[netip.Prefix]HeldIP{}
	beforePeer := map[Key]Held{}
	for _, h := range w.held {
		beforePeer[h.Key] = h
		for _, ip := range h.AllowedIPs {
			before[ip.Prefix] = ip
		}
	}
	was := map[netip.Prefix]Key{}
	for p, k := range w.model.holder {
		was[p] = k
	}
	for i := range w.held {
		w.held[i].AllowedIPs = slices.Clone(w.held[i].AllowedIPs)
	}
	table := NewTable(w.held)
	d := Diff(w.want, table, DiffOptions{Sweep: w.sweep})
	blocked := map[netip.Prefix]bool{}
	for _, b := range d.Blocked {
		blocked[b.Prefix] = true
	}
	foreign := map[Foreign]bool{}
	for _, f := range d.Foreign {
		foreign[f] = true
	}
	for _, op := range d.Ops {
		if err := w.model.do(op); err != nil {
			return err
		}
		table.Do(op)
		for p, k := range owner {
			if _, had := was[p]; had && !blocked[p] {
				if _, has := w.model.holder[p]; !has {
					return fmt.Errorf("%s was with nobody on its way to %s, after %+v", p, k, op)
				}
			}
		}
	}
	for p, k := range owner { // everything wanted is there, or blocked by a stranger
		if got := w.model.holder[p]; got != k && !blocked[p] {
			return fmt.Errorf("%s: want it at %s, got %s", p, k, got)
		}
		if blocked[p] && before[p].By != Foreigner {
			return fmt.Errorf("%s is blocked, but was not foreign", p)
		}
	}
	for p, ip := range before { // nothing else is, except what may not be removed
		if _, ok := owner[p]; ok && !blocked[p] {
			continue
		}
		h := beforePeer[was[p]]
		peerGoes := !wantsPeer(w.want, h.Key) && (h.By == Ours || h.By == OursBefore && w.sweep)
		stays := !peerGoes && (ip.By == Foreigner || ip.By == OursBefore && !w.sweep)
		if _, got := w.model.holder[p]; got != stays {
			return fmt.Errorf("%s (ownership %d, sweep %v): want present %v, got %v", p, ip.By, w.sweep, stays, got)
		}
		if ip.By == Foreigner && stays && !foreign[Foreign{was[p], p}] && !wantedAt(owner, p, was[p]) {
			return fmt.Errorf("%s is foreign and not reported", p)
		}
	}
	if len(w.model.holder) != len(table.holder) { // Table is the same device
		return fmt.Errorf("table has %d prefixes, model %d", len(table.holder), len(w.model.holder))
	}
	n := 0
	for _, h := range table.Peers() {
		if !w.model.peers[h.Key] {
			return fmt.Errorf("table has peer %s, model not", h.Key)
		}
		for _, ip := range h.AllowedIPs {
			n++
			if w.model.holder[ip.Prefix] != h.Key {
				return fmt.Errorf("table has %s at %s, model at %s", ip.Prefix, h.Key, w.model.holder[ip.Prefix])
			}
		}
	}
	if n != len(table.holder) || len(table.Peers()) != len(w.model.peers) {
		return fmt.Errorf("table is not consistent: %d listed, %d held", n, len(table.holder))
	}
	if again := Diff(w.want, table, DiffOptions{Sweep: w.sweep}); len(again.Ops) != 0 {
		return fmt.Errorf("second pass is not empty: %+v", again.Ops)
	}
	return nil
}

func wantsPeer(want []Peer, k Key) bool {
	return slices.ContainsFunc(want, func(p Peer) bool { return p.Key == k })
}

func wantedAt(owner map[netip.Prefix]Key, p netip.Prefix, k Key) bool {
	o, ok := owner[p]
	return ok && o == k
}

func TestDiffAgainstModel(t *testing.T) {
	for seed := range uint64(20000) {
		if err := checkWorld(randomWorld(rand.New(rand.NewPCG(seed, 7)))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzDiffAgainstModel(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		if err := checkWorld(randomWorld(rand.New(rand.NewPCG(a, b)))); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDiffOfCoveredPrefixMovesOnlyIt(t *testing.T) {
	a, b := testKey(1), testKey(2)
	eight, sixteen := pfx("10.0.0.0/8"), pfx("10.1.0.0/16")
	table := NewTable([]Held{
		{Key: a, By: Ours, AllowedIPs: []HeldIP{{eight, Ours}}},
		{Key: b, By: Ours, AllowedIPs: []HeldIP{{sixteen, Ours}}},
	})
	d := Diff([]Peer{{Key: a, AllowedIPs: []netip.Prefix{eight, sixteen}}, {Key: b}}, table, DiffOptions{})
	want := []Op{{Kind: OpMovePrefix, Peer: a, Prefix: sixteen}}
	if !slices.Equal(d.Ops, want) {
		t.Errorf("want %+v, got %+v", want, d.Ops)
	}
}

func TestDiffOfOnePrefixForTwoPeersIsStable(t *testing.T) {
	p := pfx("10.1.0.0/16")
	want := []Peer{{Key: testKey(1), AllowedIPs: []netip.Prefix{p}}, {Key: testKey(2), AllowedIPs: []netip.Prefix{p}}}
	table := NewTable([]Held{{Key: testKey(1), By: Ours}, {Key: testKey(2), By: Ours, AllowedIPs: []HeldIP{{p, Ours}}}})
	d := Diff(want, table, DiffOptions{Sweep: true})
	if len(d.Ops) != 0 || len(d.Blocked) != 1 || !d.Blocked[0].Overlap || d.Blocked[0].Peer != testKey(1) {
		t.Errorf("want the holder to keep it and the other blocked, got %+v", d)
	}
}

func TestDiffEndpoint(t *testing.T) {
	var (
		home  = netip.MustParseAddrPort("192.0.2.1:51820")
		moved = netip.MustParseAddrPort("192.0.2.2:51820")
		away  = netip.MustParseAddrPort("198.51.100.7:4500")
		one   = Endpoint{"one.example", 51820}
		two   = Endpoint{"two.example", 51820}
	)
	answers := map[Endpoint][]netip.AddrPort{one: {home, netip.MustParseAddrPort("192.0.2.9:51820")}, two: {moved}}
	for _, tc := range []struct {
		name    string
		held    Held
		want    Peer
		written netip.AddrPort
	}{
		{"first", Held{}, Peer{Endpoint: one}, home},
		{"in place", Held{Endpoint: home, EndpointFor: one}, Peer{Endpoint: one}, netip.AddrPort{}},
		{"roamed and live", Held{Endpoint: away, EndpointFor: one}, Peer{Endpoint: one}, netip.AddrPort{}},
		{"roamed and dead", Held{Endpoint: away, EndpointFor: one}, Peer{Endpoint: one, Dead: true}, home},
		{"dead but still in the answer", Held{Endpoint: answers[one][1], EndpointFor: one}, Peer{Endpoint: one, Dead: true}, netip.AddrPort{}},
		{"configured anew", Held{Endpoint: away, EndpointFor: one}, Peer{Endpoint: two}, moved},
		{"adopted", Held{Endpoint: away}, Peer{Endpoint: one}, netip.AddrPort{}},
		{"not resolved", Held{}, Peer{Endpoint: Endpoint{"three.example", 1}}, netip.AddrPort{}},
		{"no longer configured", Held{Endpoint: away, EndpointFor: one}, Peer{}, netip.AddrPort{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.held.Key, tc.want.Key = testKey(1), testKey(1)
			table := NewTable([]Held{tc.held})
			d := Diff([]Peer{tc.want}, table, DiffOptions{Resolve: func(e Endpoint, _ bool) []netip.AddrPort { return answers[e] }})
			var got netip.AddrPort
			for _, op := range d.Ops {
				if op.Kind == OpSetEndpoint {
					got = op.Endpoint
				}
			}
			if got != tc.written {
				t.Errorf("want %v written, got %v (%+v)", tc.written, got, d.Ops)
			}
		})
	}
}

func TestDiffAfterAdoptionSeesConfigChange(t *testing.T) {
	away := netip.MustParseAddrPort("198.51.100.7:4500")
	next := netip.MustParseAddrPort("192.0.2.1:51820")
	resolve := func(e Endpoint, _ bool) []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(e.Host), e.Port)}
	}
	table := NewTable([]Held{{Key: testKey(1), Endpoint: away}})
	Diff([]Peer{{Key: testKey(1), Endpoint: Endpoint{"192.0.2.8", 1}}}, table, DiffOptions{Resolve: resolve})
	d := Diff([]Peer{{Key: testKey(1), Endpoint: Endpoint{"192.0.2.1", 51820}}}, table, DiffOptions{Resolve: resolve})
	if len(d.Ops) != 1 || d.Ops[0].Endpoint != next {
		t.Errorf("want endpoint %v, got %+v", next, d.Ops)
	}
}

func TestDiffAttributes(t *testing.T) {
	psk := NewPresharedKey([KeyLen]byte{1})
	table := NewTable([]Held{{Key: testKey(1), By: Ours, Keepalive: 25 * time.Second}})
	d := Diff([]Peer{{Key: testKey(1), PresharedKey: psk, Keepalive: 5 * time.Second}}, table, DiffOptions{})
	want := []Op{
		{Kind: OpSetPresharedKey, Peer: testKey(1), PresharedKey: psk},
		{Kind: OpSetKeepalive, Peer: testKey(1), Keepalive: 5 * time.Second},
	}
	if !slices.Equal(d.Ops, want) {
		t.Errorf("want %+v, got %+v", want, d.Ops)
	}
}

func BenchmarkDiff10kPeersUnchanged(b *testing.B) {
	var want []Peer
	var held []Held
	for i := range 10000 {
		p := Peer{Key: testKey(i)}
		h := Held{Key: p.Key, By: Ours}
		for j := range 4 {
			ip := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)}), 32)
			p.AllowedIPs = append(p.AllowedIPs, ip)
			h.AllowedIPs = append(h.AllowedIPs, HeldIP{ip, Ours})
		}
		want, held = append(want, p), append(held, h)
	}
	table := NewTable(held)
	b.ReportAllocs()
	for b.Loop() {
		Diff(want, table, DiffOptions{})
	}
}

func testKey(n int) (k Key) {
	k[0], k[1], k[31] = byte(n>>8), byte(n), 1
	return k
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
