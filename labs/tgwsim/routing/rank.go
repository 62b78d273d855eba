package routing

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
)

// missingMED is what a path without MED counts as on Connect and VPN. On Direct
// Connect it is 0 [HOW].
const missingMED = 100

// candidate is one way to a prefix that may enter a table.
type candidate struct {
	static     bool
	prefixList string
	blackhole  bool
	via        Via
	attrs      *bgp.Attrs
	ebgp       bool
	peerASN    bgp.ASN
}

// class is the place of a candidate by its kind: static before prefix-list
// reference before what is propagated, in the order of the types [HOW].
func (c *candidate) class() int {
	switch {
	case c.static && c.prefixList == "":
		return 0
	case c.static:
		return 1
	}
	return 2 + slices.Index(typeOrder, c.via.Type)
}

func (c *candidate) med() uint32 {
	switch {
	case c.attrs.HasMED:
		return c.attrs.MED
	case c.via.Type == DirectConnect:
		return 0
	}
	return missingMED
}

// better orders candidates of one prefix: by kind, then AS_PATH length, then
// MED, then eBGP before iBGP [HOW]. Local preference and communities do not count
// [PATHSEL].
func better(a, b *candidate) int {
	ibgp := func(c *candidate) int {
		if c.ebgp {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.class(), b.class()),
		cmp.Compare(len(a.attrs.ASPath), len(b.attrs.ASPath)),
		cmp.Compare(a.med(), b.med()),
		cmp.Compare(ibgp(a), ibgp(b)),
	)
}

// shares says whether b may carry traffic beside the equally good a: ECMP is for
// BGP, across Connect peers and Connect attachments, with the same AS_PATH and
// ASN [CONNECT][HOW]. VPN has it too, if VpnEcmpSupport is on; no VPN is played
// here.
func shares(a, b *candidate) bool {
	return !a.static && a.via.Type == Connect && a.peerASN == b.peerASN && slices.Equal(a.attrs.ASPath, b.attrs.ASPath)
}

// winners are the best candidate and those that share with it. AWS does not
// promise a consistent choice among equal ones that can not share [HOW]; here it
// is the lowest attachment and peer ID.
func winners(all []candidate) []candidate {
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(better(&a, &b), strings.Compare(a.via.Attachment, b.via.Attachment), strings.Compare(a.via.Peer, b.via.Peer))
	})
	best := all[:1]
	for i := 1; i < len(all) && better(&all[0], &all[i]) == 0; i++ {
		if shares(&all[0], &all[i]) {
			best = append(best, all[i])
		}
	}
	return best
}
