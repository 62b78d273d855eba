package hatest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Scenario is a world and what goes wrong in it. Everything else follows.
type Scenario struct {
	Seed                  uint64
	Regions, Hosts, Sites int // hosts are dealt to regions in turn
	Length                time.Duration
	// Poll is the time between two readings of a WireGuard interface.
	Poll time.Duration
	// Large leaves out what costs most: shadow cores and unordered reports.
	Large  bool
	Only   Invariant // check no other; 0: all
	Faults []Fault   // by At
}

// Kind is what goes wrong.
type Kind string

// Kinds of fault. Each lasts for Fault.For and then ends by itself.
const (
	CutSite    Kind = "cut-site"    // packets between Host and Site are lost (Way)
	CutFleet   Kind = "cut-fleet"   // packets between Host and Peer are lost (Way)
	CutTGW     Kind = "cut-tgw"     // packets between Host and its Transit Gateway are lost
	Power      Kind = "power"       // Host loses its power, and with it all that the kernel held
	Kill       Kind = "kill"        // the process of Host is killed; it starts again after For
	Stall      Kind = "stall"       // the loop of Host does not turn
	EdgeFail   Kind = "edge-fail"   // an edge of Host (Part) fails as a whole
	EdgePart   Kind = "edge-part"   // an edge of Host (Part) fails in single things
	EdgeSlow   Kind = "edge-slow"   // an edge of Host (Part) takes seconds
	Lose       Kind = "lose"        // reports of the edges of Host are lost
	Clock      Kind = "clock"       // the wall clock of Host jumps by For
	Unreadable Kind = "unreadable"  // the WireGuard interface of Host can not be read
	SiteDown   Kind = "site-down"   // Site loses its power
	Roam       Kind = "roam"        // Site, which roams, dials Host from now on
	Reset      Kind = "reset"       // Host's sessions to its Transit Gateway are closed
	ResetFleet Kind = "reset-fleet" // the session of Host and Peer is closed
	Drain      Kind = "drain"       // Host leaves in an orderly way and is back after For
	Disable    Kind = "disable"     // an operator takes Site out at Host
)

// Parts and ways of faults.
const (
	PartWireGuard = "wireguard"
	PartRoutes    = "routes"
	PartBGP       = "bgp"

	WayOut = "out" // only what Host sends is lost
	WayIn  = "in"  // only what Host would receive
)

// Fault is one thing that goes wrong. Fields that its kind does not name are
// zero.
type Fault struct {
	At, For          time.Duration
	Kind             Kind
	Host, Peer, Site int
	Way, Part        string
}

// fields says what a kind of fault is about.
var fields = map[Kind]string{
	CutSite: "hsw", CutFleet: "hpw", CutTGW: "h", Power: "h", Kill: "h", Stall: "h", EdgeFail: "he", EdgePart: "he",
	EdgeSlow: "he", Lose: "h", Clock: "h", Unreadable: "h", SiteDown: "s", Roam: "hs", Reset: "h", ResetFleet: "hp",
	Drain: "h", Disable: "hs",
}

// String is the line that ParseScenario reads.
func (f Fault) String() string {
	s := fmt.Sprintf("%v %s", f.At, f.Kind)
	for _, c := range fields[f.Kind] {
		switch c {
		case 'h':
			s += " host=" + strconv.Itoa(f.Host)
		case 'p':
			s += " peer=" + strconv.Itoa(f.Peer)
		case 's':
			s += " site=" + strconv.Itoa(f.Site)
		case 'w':
			if f.Way != "" {
				s += " way=" + f.Way
			}
		case 'e':
			s += " part=" + f.Part
		}
	}
	if f.For != 0 {
		s += " for=" + f.For.String()
	}
	return s
}

// String is the text that ParseScenario reads: the world in one line, then one
// line for each fault.
func (s *Scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world seed=%d regions=%d hosts=%d sites=%d length=%v poll=%v", s.Seed, s.Regions, s.Hosts, s.Sites, s.Length, s.Poll)
	if s.Large {
		b.WriteString(" large=true")
	}
	if s.Only != 0 {
		fmt.Fprintf(&b, " only=%d", s.Only)
	}
	b.WriteByte('\n')
	for _, f := range s.Faults {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// ParseScenario reads what Scenario.String prints. Empty lines and lines that
// begin with # are ignored.
func ParseScenario(text string) (*Scenario, error) {
	var s *Scenario
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		err := error(nil)
		switch {
		case s == nil && words[0] == "world":
			s = &Scenario{}
			err = s.set(words[1:])
		case s == nil:
			err = fmt.Errorf("the first line must be the world")
		default:
			err = s.fault(words)
		}
		if err != nil {
			return nil, fmt.Errorf("scenario line %d: %w", n+1, err)
		}
	}
	if s == nil {
		return nil, fmt.Errorf("scenario: no world")
	}
	return s, s.check()
}

func (s *Scenario) set(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "seed":
			s.Seed, err = strconv.ParseUint(value, 10, 64)
		case "regions":
			s.Regions, err = strconv.Atoi(value)
		case "hosts":
			s.Hosts, err = strconv.Atoi(value)
		case "sites":
			s.Sites, err = strconv.Atoi(value)
		case "length":
			s.Length, err = time.ParseDuration(value)
		case "poll":
			s.Poll, err = time.ParseDuration(value)
		case "large":
			s.Large, err = strconv.ParseBool(value)
		case "only":
			var n int
			n, err = strconv.Atoi(value)
			s.Only = Invariant(n)
		default:
			err = fmt.Errorf("unknown word %q", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Scenario) fault(words []string) error {
	at, err := time.ParseDuration(words[0])
	if err != nil || len(words) < 2 {
		return fmt.Errorf("a fault is TIME KIND KEY=VALUE..., got %q", strings.Join(words, " "))
	}
	f := Fault{At: at, Kind: Kind(words[1])}
	if fields[f.Kind] == "" {
		return fmt.Errorf("unknown kind of fault %q", words[1])
	}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "host":
			f.Host, err = strconv.Atoi(value)
		case "peer":
			f.Peer, err = strconv.Atoi(value)
		case "site":
			f.Site, err = strconv.Atoi(value)
		case "way":
			f.Way = value
		case "part":
			f.Part = value
		case "for":
			f.For, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown word %q", w)
		}
		if err != nil {
			return err
		}
	}
	s.Faults = append(s.Faults, f)
	return nil
}

func (s *Scenario) check() error {
	if s.Regions < 1 || s.Hosts < s.Regions || s.Hosts > 32 || s.Sites < 1 || s.Sites > 1<<14 || s.Length <= 0 || s.Poll <= 0 {
		return fmt.Errorf("scenario: the world needs 1 region, as many hosts (to 32), 1 site (to %d), a length and a poll", 1<<14)
	}
	for _, f := range s.Faults {
		if f.Host < 0 || f.Host >= s.Hosts || f.Peer < 0 || f.Peer >= s.Hosts || f.Site < 0 || f.Site >= s.Sites {
			return fmt.Errorf("scenario: %s: no such host or site", f)
		}
	}
	return nil
}
