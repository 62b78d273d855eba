package wg

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func testKey(n int) (k Key) {
	k[0], k[1], k[31] = byte(n>>8), byte(n), 1
	return k
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestResolveOrder(t *testing.T) {
	p := pfx("10.1.0.0/16")
	t0 := time.Unix(1000, 0)
	cl := func(name string, key int, mod func(*Claim)) Claim {
		c := Claim{Prefix: p, Peer: testKey(key), Name: name, Since: t0}
		if mod != nil {
			mod(&c)
		}
		return c
	}
	configured := func(c *Claim) { c.Configured = true }
	older := func(c *Claim) { c.Since = t0.Add(-time.Hour) }
	group := func(g string, rank int) func(*Claim) { return func(c *Claim) { c.Group, c.Rank = g, rank } }
	for _, tc := range []struct {
		name   string
		claims []Claim
		held   Key
		want   string
		losers []string
	}{
		{"alone", []Claim{cl("a", 1, nil)}, Key{}, "a", nil},
		{"configured beats learned and held", []Claim{cl("a", 1, older), cl("b", 2, configured)}, testKey(1), "b", []string{"a"}},
		{"holder keeps it", []Claim{cl("a", 1, older), cl("b", 2, nil)}, testKey(2), "b", []string{"a"}},
		{"older wins", []Claim{cl("a", 1, nil), cl("b", 2, older)}, Key{}, "b", []string{"a"}},
		{"name decides", []Claim{cl("b", 1, nil), cl("a", 2, nil)}, Key{}, "a", []string{"b"}},
		{"key decides", []Claim{cl("a", 2, nil), cl("a", 1, nil)}, Key{}, "a", []string{"a"}},
		{"rank inside a group before all", []Claim{cl("a", 1, group("g", 2)), cl("b", 2, group("g", 1))}, testKey(1), "b", nil},
		{"group keeps what a member holds", []Claim{cl("a", 1, group("g", 1)), cl("b", 2, group("g", 2)), cl("c", 3, older)}, testKey(2), "a", []string{"c"}},
		{"same peer twice is no conflict", []Claim{cl("a", 1, nil), cl("a", 1, configured)}, Key{}, "a", nil},
		{"two groups do not share", []Claim{cl("a", 1, group("g", 1)), cl("b", 2, group("h", 0))}, Key{}, "a", []string{"b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			held := func(netip.Prefix) (Key, bool) { return tc.held, !tc.held.IsZero() }
			owners, conflicts := Resolve(tc.claims, held)
			if len(owners) != 1 || owners[0].Name != tc.want {
				t.Errorf("owner: want %s, got %+v", tc.want, owners)
			}
			var losers []string
			for _, c := range conflicts {
				losers = append(losers, c.Name)
				if c.Winner != tc.want || c.Reason != ConflictOverlap {
					t.Errorf("conflict: want winner %s reason %s, got %+v", tc.want, ConflictOverlap, c)
				}
			}
			if !slices.Equal(losers, tc.losers) {
				t.Errorf("losers: want %v, got %v", tc.losers, losers)
			}
		})
	}
}

// randomClaims makes few prefixes and many contenders.
func randomClaims(r *rand.Rand) []Claim {
	var out []Claim
	for range 1 + r.IntN(40) {
		k := r.IntN(8)
		c := Claim{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(3))}), 16),
			Peer:   testKey(k), Name: fmt.Sprint("s", k), Configured: r.IntN(3) == 0,
			Since: time.Unix(int64(r.IntN(4)), 0),
		}
		if k < 5 {
			c.Group, c.Rank = fmt.Sprint("g", k%2), r.IntN(3)
		}
		out = append(out, c)
	}
	return out
}

func TestResolveIsTheSameForAnyOrder(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		claims := randomClaims(r)
		holder := testKey(r.IntN(8))
		held := func(netip.Prefix) (Key, bool) { return holder, true }
		owners, conflicts := Resolve(claims, held)
		r.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
		owners2, conflicts2 := Resolve(claims, held)
		if !slices.Equal(owners, owners2) || !slices.Equal(conflicts, conflicts2) {
			t.Fatalf("seed %d: order matters:\n%v\n%v\n%v\n%v", seed, owners, owners2, conflicts, conflicts2)
		}
		// Once decided and applied, the decision stands.
		byPrefix := map[netip.Prefix]Key{}
		for _, o := range owners {
			byPrefix[o.Prefix] = o.Peer
		}
		again, _ := Resolve(claims, func(p netip.Prefix) (Key, bool) { k, ok := byPrefix[p]; return k, ok })
		for _, o := range again {
			had := false
			for _, c := range claims {
				had = had || c.Prefix == o.Prefix && c.Peer == holder
			}
			if !had && o.Peer != byPrefix[o.Prefix] {
				t.Fatalf("seed %d: %s went from %s to %s by being applied", seed, o.Prefix, byPrefix[o.Prefix], o.Peer)
			}
		}
	}
}

func BenchmarkResolve40kSorted(b *testing.B) {
	claims := make([]Claim, 40000)
	for i := range claims {
		claims[i] = Claim{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Peer: testKey(i / 4)}
	}
	b.ReportAllocs()
	for b.Loop() {
		Resolve(claims, nil)
	}
}
