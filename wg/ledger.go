package wg

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ConflictOverlap is the reason of a claim that lost to a stranger: two sites
// want one prefix on one device and no redundancy group names both.
const ConflictOverlap = "overlap"

// Claim says that a peer should own a prefix on a device.
type Claim struct {
	Prefix     netip.Prefix // masked
	Peer       Key
	Name       string    // site
	Configured bool      // by the operator; false: learned from the site
	Group      string    // redundancy group; empty: none
	Rank       int       // preference inside the group, lower wins
	Since      time.Time // when the claim was first made
}

// Owner is the outcome for one prefix.
type Owner struct {
	Prefix netip.Prefix
	Peer   Key
	Name   string
}

// Conflict is a claim that was refused.
type Conflict struct {
	Prefix netip.Prefix
	Peer   Key
	Name   string
	Winner string // name of the site that has the prefix
	Reason string // ConflictOverlap
}

// CompareAllowed orders allowed IPs: by address (IPv4 first), then by length,
// so that a covering prefix comes before what it covers.
func CompareAllowed(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// Resolve decides who owns each prefix of one device. WireGuard holds an exact
// prefix for one peer only and gives it to the last that asks; here the order
// is total, so that the same claims in any order have the same outcome:
//
//   - inside a redundancy group Rank decides, then the rules below;
//   - between groups (a claim without a group is a group of its own) configured
//     beats learned, then the group that holds the prefix on the device keeps
//     it, then the older claim, then the smaller name, then the smaller key.
//
// Claims that lose to another group are reported; members of the winner's
// group are not, they are its stand-by. held tells who has the prefix on the
// device now and may be nil. Prefixes of different length do not compete:
// longest match decides between them. The cost is one pass for claims that are
// sorted by prefix, a sort otherwise. Owners come in the order of CompareAllowed,
// conflicts by prefix, name and key.
func Resolve(claims []Claim, held func(netip.Prefix) (Key, bool)) ([]Owner, []Conflict) {
	byPrefix := func(a, b Claim) int { return CompareAllowed(a.Prefix, b.Prefix) }
	if !slices.IsSortedFunc(claims, byPrefix) {
		claims = slices.Clone(claims)
		slices.SortStableFunc(claims, byPrefix)
	}
	owners := make([]Owner, 0, len(claims))
	var conflicts []Conflict
	for i := 0; i < len(claims); {
		j := i + 1
		for j < len(claims) && claims[j].Prefix == claims[i].Prefix {
			j++
		}
		win := claims[i]
		if j-i > 1 {
			win, conflicts = contest(claims[i:j], held, conflicts)
		}
		owners = append(owners, Owner{Prefix: win.Prefix, Peer: win.Peer, Name: win.Name})
		i = j
	}
	return owners, conflicts
}

// party is all claims of one group for one prefix. Its merits are the best of
// its members, so that a change of mind inside the group never loses the
// prefix to a stranger.
type party struct {
	best       contender
	configured bool
	held       bool
	since      time.Time
	name       string
}

type contender struct {
	Claim
	held bool
}

// contest settles several claims for one prefix.
func contest(claims []Claim, held func(netip.Prefix) (Key, bool), conflicts []Conflict) (Claim, []Conflict) {
	var holder Key
	isHeld := false
	if held != nil {
		holder, isHeld = held(claims[0].Prefix)
	}
	merged := mergePeers(claims)
	list := make([]contender, len(merged))
	for i, c := range merged {
		list[i] = contender{c, isHeld && c.Peer == holder}
	}
	slices.SortFunc(list, func(a, b contender) int {
		if c := strings.Compare(partyID(a.Claim), partyID(b.Claim)); c != 0 {
			return c
		}
		return a.inGroup(b)
	})
	var win *party
	for i := 0; i < len(list); {
		p := party{best: list[i], since: list[i].Since, name: list[i].Name}
		id := partyID(list[i].Claim)
		for ; i < len(list) && partyID(list[i].Claim) == id; i++ {
			c := list[i]
			p.configured = p.configured || c.Configured
			p.held = p.held || c.held
			if c.Since.Before(p.since) {
				p.since = c.Since
			}
			p.name = min(p.name, c.Name)
		}
		if win == nil || p.compare(*win) < 0 {
			win = &p
		}
	}
	id := partyID(win.best.Claim)
	first := len(conflicts)
	for _, c := range list {
		if partyID(c.Claim) != id {
			conflicts = append(conflicts, Conflict{
				Prefix: c.Prefix, Peer: c.Peer, Name: c.Name,
				Winner: win.best.Name, Reason: ConflictOverlap,
			})
		}
	}
	slices.SortFunc(conflicts[first:], func(a, b Conflict) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.Peer.Compare(b.Peer)
	})
	return win.best.Claim, conflicts
}

// mergePeers joins several claims of one peer (configured and learned at once).
func mergePeers(claims []Claim) []Claim {
	out := slices.Clone(claims)
	slices.SortFunc(out, func(a, b Claim) int { return a.Peer.Compare(b.Peer) })
	n := 0
	for _, c := range out {
		if n == 0 || out[n-1].Peer != c.Peer {
			out[n] = c
			n++
			continue
		}
		m := &out[n-1]
		m.Configured = m.Configured || c.Configured
		m.Rank = min(m.Rank, c.Rank)
		m.Name = min(m.Name, c.Name)
		if c.Since.Before(m.Since) {
			m.Since = c.Since
		}
		if m.Group == "" || c.Group != "" && c.Group < m.Group {
			m.Group = c.Group
		}
	}
	return out[:n]
}

// partyID separates claims that have nothing in common.
func partyID(c Claim) string {
	if c.Group != "" {
		return "g" + c.Group
	}
	return "p" + string(c.Peer[:])
}

func (c contender) inGroup(o contender) int {
	if c.Rank != o.Rank {
		if c.Rank < o.Rank {
			return -1
		}
		return 1
	}
	a := party{c, c.Configured, c.held, c.Since, c.Name}
	return a.compare(party{o, o.Configured, o.held, o.Since, o.Name})
}

func (p party) compare(o party) int {
	if p.configured != o.configured {
		return first(p.configured)
	}
	if p.held != o.held {
		return first(p.held)
	}
	if c := p.since.Compare(o.since); c != 0 {
		return c
	}
	if c := strings.Compare(p.name, o.name); c != 0 {
		return c
	}
	return p.best.Peer.Compare(o.best.Peer)
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
}
