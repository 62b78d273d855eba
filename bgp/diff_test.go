package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func set(rng *rand.Rand) []Announcement {
	var out []Announcement
	for i := range 20 {
		if rng.IntN(2) == 0 {
			continue
		}
		out = append(out, Announcement{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16),
			Attrs:  &Attrs{ASPath: []ASN{ASN(rng.IntN(2))}, MED: rng.Uint32()}, To: []Export{{Group: "g", MED: uint32(rng.IntN(2))}},
		})
	}
	return out
}

func TestDiffAnnouncementsLeadsFromHaveToWant(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 500 {
		have, want := set(rng), set(rng)
		toSet, gone := DiffAnnouncements(have, want)
		got := map[netip.Prefix]*Announcement{}
		for i := range have {
			got[have[i].Prefix] = &have[i]
		}
		for _, k := range gone {
			delete(got, have[k].Prefix)
		}
		for _, k := range toSet {
			if o := got[want[k].Prefix]; o != nil && o.Equal(&want[k]) {
				t.Fatalf("round %d: %s is set although equal", round, want[k].Prefix)
			}
			got[want[k].Prefix] = &want[k]
		}
		if len(got) != len(want) {
			t.Fatalf("round %d: got %d announcements, want %d", round, len(got), len(want))
		}
		for i := range want {
			if o := got[want[i].Prefix]; o == nil || !o.Equal(&want[i]) {
				t.Fatalf("round %d: %s: got %+v, want %+v", round, want[i].Prefix, o, want[i])
			}
		}
	}
}

func TestEqualSetsCostNoAllocation(t *testing.T) {
	a, b := set(rand.New(rand.NewPCG(3, 4))), set(rand.New(rand.NewPCG(3, 4)))
	if n := testing.AllocsPerRun(10, func() { DiffAnnouncements(a, b) }); n != 0 {
		t.Errorf("allocations: got %v, want 0", n)
	}
}

func TestNeighborChangesAreClassified(t *testing.T) {
	base := Neighbor{Name: "n", Address: netip.MustParseAddr("10.0.0.1"), RemoteASN: 65101, Device: "wg0", IPv4: true, Import: &ImportPolicy{LocalPref: 1}}
	for _, c := range []struct {
		name string
		edit func(n *Neighbor)
		want NeighborChange
	}{
		{"nothing", func(n *Neighbor) {}, 0},
		{"equal policy elsewhere in memory", func(n *Neighbor) { n.Import = &ImportPolicy{LocalPref: 1} }, 0},
		{"description", func(n *Neighbor) { n.Description = "x" }, ChangeCosmetic},
		{"region", func(n *Neighbor) { n.Region = "us" }, ChangeCosmetic},
		{"device of an unbound session", func(n *Neighbor) { n.Device = "wg1" }, ChangeCosmetic},
		{"policy", func(n *Neighbor) { n.Import = nil }, ChangeImport},
		{"group", func(n *Neighbor) { n.Group = "x" }, ChangeExport},
		{"next hop", func(n *Neighbor) { n.NextHop6 = netip.MustParseAddr("fd00::1") }, ChangeExport},
		{"hold time", func(n *Neighbor) { n.HoldTime = time.Minute }, ChangeNextSession},
		{"limit", func(n *Neighbor) { n.MaxPrefixes = 5 }, ChangeMaxPrefixes},
		{"ASN", func(n *Neighbor) { n.RemoteASN = 1 }, ChangeReset},
		{"address", func(n *Neighbor) { n.Address = netip.MustParseAddr("10.0.0.2") }, ChangeReset},
		{"password", func(n *Neighbor) { n.Password = "x" }, ChangeReset},
		{"bound", func(n *Neighbor) { n.BindDevice = true }, ChangeReset},
		{"family", func(n *Neighbor) { n.IPv6 = true }, ChangeReset},
		{"description and TTL", func(n *Neighbor) { n.Description, n.MultihopTTL = "x", 2 }, ChangeCosmetic | ChangeReset},
	} {
		n := base
		c.edit(&n)
		if got := base.Compare(&n); got != c.want {
			t.Errorf("%s: got %b, want %b", c.name, got, c.want)
		}
	}
}

func TestDiffNeighborsByName(t *testing.T) {
	mk := func(names ...string) (out []Neighbor) {
		for _, n := range names {
			out = append(out, Neighbor{Name: n})
		}
		return out
	}
	have, want := mk("a", "b", "d"), mk("b", "c", "d")
	want[2].Group = "x"
	var got []string
	for _, d := range DiffNeighbors(have, want) {
		switch {
		case d.Have == nil:
			got = append(got, "+"+d.Want.Name)
		case d.Want == nil:
			got = append(got, "-"+d.Have.Name)
		default:
			got = append(got, fmt.Sprintf("~%s %b", d.Want.Name, d.Change))
		}
	}
	if w := []string{"-a", "+c", "~d 100"}; !slices.Equal(got, w) {
		t.Errorf("got %v, want %v", got, w)
	}
}
