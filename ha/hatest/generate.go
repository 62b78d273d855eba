package hatest

import (
	"slices"
	"strings"
	"time"
)

// Small is a world for many seeds: one to three regions, two to five hosts, up to
// a dozen sites and some thirty faults in half an hour.
func Small(seed uint64) *Scenario {
	s := &Scenario{Seed: seed, Length: 40 * time.Minute, Poll: time.Second}
	d := s.dice("world", 0)
	s.Regions = 1 + d.below(3)
	s.Hosts = max(2, s.Regions) + d.below(3)
	s.Sites = 3 + d.below(10)
	s.Faults = faults(s, 10+d.below(30), time.Minute, 30*time.Minute)
	return s
}

// Big is the world of the figures in README.md, 10,000 sites at 8 hosts in 3
// regions, for a time with so many faults.
func Big(seed uint64, length time.Duration, n int) *Scenario {
	s := &Scenario{Seed: seed, Regions: 3, Hosts: 8, Sites: 10000, Length: length, Poll: 5 * time.Second, Large: true}
	s.Faults = faults(s, n, min(10*time.Minute, length/4), length-min(30*time.Minute, length/4))
	return s
}

// faults draws faults between two instants.
func faults(s *Scenario, n int, from, to time.Duration) []Fault {
	d := s.dice("faults", 0)
	var out []Fault
	for len(out) < n {
		f := Fault{At: d.between(from, to).Round(time.Millisecond), Host: d.below(s.Hosts), Peer: d.below(s.Hosts), Site: d.below(s.Sites)}
		f.For = d.between(100*time.Millisecond, 20*time.Second).Round(time.Millisecond)
		if d.oneIn(3) {
			f.For *= 10
		}
		kinds := []Kind{
			CutSite, CutSite, CutSite, CutSite, CutFleet, CutFleet, CutTGW, Power, Kill, Kill, Stall, EdgeFail, EdgePart, EdgeSlow, Lose, Clock,
			Unreadable, SiteDown, Roam, Roam, Reset, ResetFleet, Drain, Disable,
		}
		if s.Large { // nearly all of them are of sites, as in life
			kinds = append(kinds[:0], CutSite)
			if d.oneIn(100) {
				kinds = []Kind{CutFleet, CutTGW, Power, Kill, Stall, EdgePart, EdgeSlow, Clock, Unreadable, Reset, ResetFleet, Drain}
			} else if d.oneIn(4) {
				kinds = []Kind{SiteDown, Disable}
			}
		}
		f.Kind = kinds[d.below(len(kinds))]
		switch f.Kind {
		case CutSite, CutFleet:
			f.Way = []string{"", "", WayOut, WayIn}[d.below(4)]
		case EdgeFail, EdgePart, EdgeSlow:
			f.Part = []string{PartWireGuard, PartRoutes, PartBGP}[d.below(3)]
		case Clock:
			if f.For *= 100; d.oneIn(2) {
				f.For = -f.For
			}
		}
		f.clean(s)
		out = append(out, f)
		if f.Kind == CutSite && d.oneIn(12) { // a flapping line
			every := d.between(5*time.Second, 40*time.Second).Round(time.Second)
			for n := range 24 {
				g := f
				g.At += time.Duration(n+1) * every
				g.For = every / 2
				out = append(out, g)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return int(a.At - b.At) })
	return out[:n]
}

// clean takes out what the kind of the fault does not name, and has faults of
// tunnels meet one that exists.
func (f *Fault) clean(s *Scenario) {
	g := Fault{At: f.At, For: f.For, Kind: f.Kind}
	for _, c := range fields[f.Kind] {
		switch c {
		case 'h':
			g.Host = f.Host
			if tunnels := s.layout(f.Site).hosts; strings.Contains(fields[f.Kind], "s") {
				g.Host = tunnels[f.Host%len(tunnels)]
			}
		case 'p':
			g.Peer = f.Peer
		case 's':
			g.Site = f.Site
		case 'w':
			g.Way = f.Way
		case 'e':
			g.Part = f.Part
		}
	}
	*f = g
}
