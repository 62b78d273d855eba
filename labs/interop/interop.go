// Package interop finds out what wgbgpd and other people's BGP daemons do
// together. Each partner runs against a real wgbgpd in namespaces of its own, in
// every role that it can have; every cell of the matrix is a check of what both
// programs say. The page labs/INTEROP.md is written by it (make interop), and its
// test fails when a cell is no longer what the page says.
//
// Start reading at rows (what is checked), then partner (who can be asked what),
// checks.go and the partners' files.
package interop

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Verdict is the outcome of one check.
type Verdict string

// Verdicts.
const (
	Pass   Verdict = "pass"
	Absent Verdict = "absent" // the partner does not have it
	NotFor Verdict = "n/a"    // not in this role
	Fails  Verdict = "FAILS"
)

// Cell is a verdict with its reason.
type Cell struct {
	Verdict Verdict
	Note    string // of Absent, and of Fails if it is known
	Detail  string // of Fails: what was seen
}

// Row is one thing that is checked.
type Row string

// Rows, in the page's order.
const (
	Session     Row = "session"
	IPv4        Row = "IPv4 unicast"
	IPv6        Row = "IPv6 unicast over an IPv6 session"
	MPIPv6      Row = "IPv6 unicast over an IPv4 session (MP-BGP)"
	ASN4        Row = "four-octet ASNs at both ends"
	MD5         Row = "TCP MD5, and a wrong password is refused"
	TTLSecurity Row = "TTL security (GTSM)"
	LimitOurs   Row = "max-prefix: we limit it"
	LimitTheirs Row = "max-prefix: it limits us"
	Refresh     Row = "route refresh: it asks, we answer"
	ShutdownOut Row = "graceful shutdown: it honours ours"
	ShutdownIn  Row = "graceful shutdown: we honour its"
	BFD         Row = "BFD: silence ends BGP at both ends"
)

var rows = []Row{Session, IPv4, IPv6, MPIPv6, ASN4, MD5, TTLSecurity, LimitOurs, LimitTheirs, Refresh, ShutdownOut, ShutdownIn, BFD}

// What is exchanged. "Leaving" prefixes carry GRACEFUL_SHUTDOWN (RFC 8326). Ours
// all do once the gateway drains.
var (
	ours4        = netip.MustParsePrefix("10.77.0.0/16")
	ours6        = netip.MustParsePrefix("fd77::/48")
	oursMore     = netip.MustParsePrefix("10.79.0.0/16")
	oursThird    = netip.MustParsePrefix("10.78.0.0/16")
	theirs4      = netip.MustParsePrefix("10.60.0.0/16")
	theirs6      = netip.MustParsePrefix("fd60::/48")
	theirLeaving = netip.MustParsePrefix("10.61.0.0/16")
	theirs       = []netip.Prefix{
		theirs4, theirLeaving, netip.MustParsePrefix("10.62.0.0/16"), netip.MustParsePrefix("10.63.0.0/16"), netip.MustParsePrefix("10.64.0.0/16"),
	}
)

const (
	ourASN    = 65010
	theirASN  = 65050
	tgwASN    = 64512
	ourASN4   = 4200000002 // on the session with four-octet ASNs
	theirASN4 = 4200000001
	password  = "correct-horse"

	// limit is what both sides permit on the sessions that are about it. Each is
	// sent two more at least, see FRR's quirk.
	limit = 1

	bfdInterval   = 300 * time.Millisecond
	bfdMultiplier = 3
)

// link is one session between the gateway and a partner.
type link struct {
	name          string // of the neighbor in wgbgpd
	ours, theirs  netip.Addr
	ours6, their6 netip.Addr // next hops for IPv6 over IPv4
	ourAS, theyAS uint32
	v4, v6        bool
	password      string // the partner's
	ourPassword   string
	ttlSecurity   bool
	theirLimit    int // 0: none
	ourLimit      int
	bfd           bool // bfdInterval x bfdMultiplier at both ends
}

// Links of a partner that is a router or a site.
const (
	linkBase = iota
	linkV6
	linkMD5
	linkWrong // wrong password
	linkTTL
	linkOurLimit
	linkTheirLimit
	linkASN4
	linkBFD
	linkCount
)

func siteLinks() []link {
	out := make([]link, linkCount)
	for i := range out {
		a := func(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.50.%d.%d", i+1, host)) }
		b := func(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd50:%d::%d", i+1, host)) }
		out[i] = link{
			name: []string{"base", "ipv6", "md5", "wrong", "ttl", "we-limit", "they-limit", "asn4", "bfd"}[i],
			ours: a(1), theirs: a(2), ours6: b(1), their6: b(2), ourAS: ourASN, theyAS: theirASN, v4: true, ourLimit: 100,
		}
	}
	out[linkBase].v6 = true
	v6 := &out[linkV6]
	v6.ours, v6.theirs, v6.v4, v6.v6 = v6.ours6, v6.their6, false, true
	out[linkMD5].password, out[linkMD5].ourPassword = password, password
	out[linkWrong].password, out[linkWrong].ourPassword = password, "battery staple"
	out[linkTTL].ttlSecurity = true
	out[linkOurLimit].ourLimit = limit
	out[linkTheirLimit].theirLimit = limit
	out[linkASN4].ourAS, out[linkASN4].theyAS = ourASN4, theirASN4
	return out
}

// heard is what a partner knows about one of our prefixes.
type heard struct {
	nextHop   string
	localPref int  // -1: it has none
	leaving   bool // the community is on it
}

// partner is a running daemon of somebody else.
type partner interface {
	// version is what the program says about itself.
	version() (string, error)
	// up reports whether the partner calls the session Established.
	up(l link) (bool, error)
	// heard looks our prefix up among what came by one session.
	heard(l link, p netip.Prefix) (heard, error)
	// refresh makes the partner send ROUTE-REFRESH for IPv4.
	refresh(l link) error
}

// bfdPartner is a partner that does BFD.
type bfdPartner interface {
	// bfdUp reports whether the partner calls the BFD session Up.
	bfdUp(l link) (bool, error)
}

// column is one partner in one role.
type column struct {
	name   string
	role   string // "router" or "TGW"
	needs  []string
	start  func(r *rig) (partner, error)
	absent map[Row]string // rows that the partner can not have, and why
	fails  map[Row]string // rows that are known not to work, and why
	notes  []string       // quirks
}

func (c column) title() string { return c.name + " as " + c.role }

func bullet(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "- %s\n", l)
	}
	return b.String()
}
