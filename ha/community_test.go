package ha

import (
	"slices"
	"testing"

	"github.com/wgbgp/wgbgp/bgp"
)

const (
	askLow   bgp.Community = 65010<<16 | 50
	askFar   bgp.Community = 65010<<16 | 3
	askHide  bgp.Community = 65010<<16 | 80
	askOther bgp.Community = 65010<<16 | 99
)

// asking is a configuration with actions; sites named in trusted may use them.
func asking(trusted []string, sites ...Site) *Config {
	cfg := config(sites...)
	cfg.Actions = []CommunityAction{
		{Community: askFar, Prepend: 3}, {Community: askLow, LocalPref: 50}, {Community: askHide, NoAnnounce: []string{"tgw"}},
	}
	for i := range cfg.Neighbors {
		n := &cfg.Neighbors[i]
		n.Actions, n.AcceptBlackhole = slices.Contains(trusted, n.Name), slices.Contains(trusted, n.Name)
	}
	cfg.Neighbors = append(cfg.Neighbors, bgp.Neighbor{Name: "z-fleet", Kind: bgp.KindFleet, Group: "fleet", IPv4: true, Export: true})
	return cfg
}

func (w *world) tagged(neighbor, prefix string, tags ...bgp.Community) {
	w.step(PathsChanged{[]bgp.PathChange{{Path: bgp.Path{
		Prefix: pfx(prefix), Neighbor: neighbor, Since: w.now,
		Attrs: &bgp.Attrs{ASPath: []bgp.ASN{64999}, LocalPref: 200, Communities: tags},
	}}}})
}

func askingWorld(t *testing.T, trusted ...string) *world {
	a, b := site("a", 1), site("b", 2)
	a.Group, b.Group = "g", "g"
	w := newWorld(t, asking(trusted, a, b))
	w.session("a", true)
	w.session("b", true)
	return w
}

func TestActionsAreOnlyForThoseWhoMayAsk(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		var names []string
		if trusted {
			names = []string{"a"}
		}
		w := askingWorld(t, names...)
		w.tagged("a", "10.1.0.0/16", askLow)
		w.tagged("b", "10.1.0.0/16")
		w.tagged("a", "10.2.0.0/16", askFar, askOther)
		w.tagged("a", "10.3.0.0/16", askHide)
		p := w.settle()
		want := "a"
		if trusted {
			want = "b"
		}
		if got := holder(p, "10.1.0.0/16"); got != want {
			t.Errorf("trusted %t, local preference: %s has it, want %s", trusted, got, want)
		}
		x, _ := export(p, "10.2.0.0/16", "tgw")
		y, _ := export(p, "10.2.0.0/16", "sites")
		if x.Prepend != map[bool]uint8{true: 3}[trusted] || y.Prepend != 0 {
			t.Errorf("trusted %t, prepend: %d toward the TGW, %d toward sites", trusted, x.Prepend, y.Prepend)
		}
		h, ok := heldFrom(p, "10.3.0.0/16", "tgw")
		if told := slices.Contains(toldTo(p, "10.3.0.0/16"), "tgw"); told == trusted || ok != trusted {
			t.Errorf("trusted %t, no-announce: told %t, withheld %+v", trusted, told, h)
		}
		if trusted && (h.Reason != ReasonCommunity || h.Detail != "65010:80: not to tgw" || h.Site != "a") {
			t.Errorf("no-announce: %+v", h)
		}
		if got := toldTo(p, "10.3.0.0/16"); !slices.Contains(got, "sites") || !slices.Contains(got, "fleet") {
			t.Errorf("no-announce: others are told too, got %v", got)
		}
	}
}

// RFC 1997, RFC 7999 section 3.2: whoever asks that others are not told is heeded.
func TestWellKnownCommunitiesAreAlwaysHeeded(t *testing.T) {
	w := askingWorld(t)
	w.tagged("a", "10.1.0.0/16", bgp.NoAdvertise)
	w.tagged("a", "10.2.0.0/16", bgp.NoExport)
	w.tagged("a", "10.3.0.1/32", bgp.Blackhole)
	p := w.settle()
	for prefix, want := range map[string][]string{"10.1.0.0/16": nil, "10.2.0.0/16": {"fleet"}, "10.3.0.1/32": nil} {
		if got := toldTo(p, prefix); !slices.Equal(got, want) || withheld(p, prefix) != ReasonCommunity {
			t.Errorf("%s: told to %v, withheld %q, want %v", prefix, got, withheld(p, prefix), want)
		}
		if routed(p, prefix) == "" {
			t.Errorf("%s: the site may be reached", prefix)
		}
	}
}

// RFC 7999: an address is dropped here on request of a neighbor that may ask, and
// never a whole network.
func TestBlackholeDropsASingleAddressOnRequest(t *testing.T) {
	w := askingWorld(t, "a")
	w.tagged("a", "10.3.0.1/32")
	if p := w.settle(); routed(p, "10.3.0.1/32") == "" || !announced(p, "10.3.0.1/32") {
		t.Fatalf("at first:\n%s", text(p))
	}
	w.tagged("a", "10.3.0.1/32", bgp.Blackhole)
	w.tagged("a", "10.4.0.0/24", bgp.Blackhole)
	p := w.settle()
	if routed(p, "10.3.0.1/32") != "" || !sunk(p, "10.3.0.1/32") || announced(p, "10.3.0.1/32") || withheld(p, "10.3.0.1/32") != ReasonCommunity {
		t.Errorf("tagged:\n%s", text(p))
	}
	if routed(p, "10.4.0.0/24") == "" {
		t.Errorf("a network is not dropped:\n%s", text(p))
	}
	w.tagged("a", "10.3.0.1/32")
	if p = w.settle(); routed(p, "10.3.0.1/32") == "" || !announced(p, "10.3.0.1/32") {
		t.Errorf("no longer tagged:\n%s", text(p))
	}
	w.tagged("b", "10.5.0.1/32", bgp.Blackhole)
	if p = w.settle(); routed(p, "10.5.0.1/32") == "" {
		t.Errorf("b may not ask:\n%s", text(p))
	}
}

// RFC 8326: the path is used only while there is no other, and others are told so.
func TestGracefulShutdownIsTheLastChoice(t *testing.T) {
	w := askingWorld(t, "a")
	w.tagged("a", "10.1.0.0/16", bgp.GracefulShutdown, askLow)
	p := w.settle()
	if x, _ := export(p, "10.1.0.0/16", "tgw"); holder(p, "10.1.0.0/16") != "a" || x.MED != 200 || x.Prepend != 3 {
		t.Errorf("alone: %+v\n%s", x, text(p))
	}
	w.tagged("b", "10.1.0.0/16")
	p = w.settle()
	if x, _ := export(p, "10.1.0.0/16", "tgw"); holder(p, "10.1.0.0/16") != "b" || x.MED != 50 || x.Prepend != 0 {
		t.Errorf("with another one: %+v\n%s", x, text(p))
	}
}

// A reload judges what was received anew.
func TestReloadChangesWhatIsHeeded(t *testing.T) {
	w := askingWorld(t)
	w.tagged("a", "10.1.0.0/16", askLow)
	w.tagged("b", "10.1.0.0/16")
	if p := w.settle(); holder(p, "10.1.0.0/16") != "a" {
		t.Fatalf("equal in cost:\n%s", text(p))
	}
	before := text(w.settle())
	a, b := site("a", 1), site("b", 2)
	a.Group, b.Group = "g", "g"
	w.c.Reconfigure(w.now, asking([]string{"a"}, a, b))
	if p := w.settle(); holder(p, "10.1.0.0/16") != "b" {
		t.Errorf("a may ask now:\n%s", text(p))
	}
	w.c.Reconfigure(w.now, asking(nil, a, b))
	if after := text(w.settle()); after != before {
		t.Errorf("a may not ask any more: want\n%s\ngot\n%s", before, after)
	}
}
