package hostile

import (
	"encoding/binary"

	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// Where GoBGP v4.8.0 differs from RFC 7606 in a way that can not be mended from
// outside of it. None costs more than the path concerned. A file of the corpus
// says it in its "quirk:" line; for mutations they are recognised here.
const (
	// The UPDATE is dropped before its NLRI is read: an older path of the same
	// prefix stays until the next UPDATE about it. RFC 7606 section 4 wants it
	// withdrawn.
	quirkOverrun = "attribute beyond the end: nothing is withdrawn"
	// RFC 4271 section 4.3 wants them ignored.
	quirkFlagBits = "reserved bits in the flags: treat-as-withdraw"
	// RFC 7606 sections 7.5, 7.9 and 7.10 want the attribute dropped unseen when
	// it comes from an external neighbor.
	quirkInternal = "malformed attribute that has no meaning on eBGP: treat-as-withdraw"
	// RFC 6793 section 6 wants them dropped between speakers of four octets.
	quirkAS4Path = "AS4_PATH of a speaker of four-octet ASNs: merged, or treat-as-withdraw"
	// Likewise; without an AGGREGATOR it costs the session.
	quirkAS4Aggregator = "AS4_AGGREGATOR of a speaker of four-octet ASNs: session reset"
)

// quirk names the one that a message meets, or "".
func quirk(m []byte) string {
	if len(m) < rawbgp.HeaderLen+4 || m[18] != rawbgp.Update {
		return ""
	}
	b := m[rawbgp.HeaderLen:]
	from := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < from+2 {
		return ""
	}
	to := from + 2 + int(binary.BigEndian.Uint16(b[from:]))
	if len(b) < to {
		return ""
	}
	found, reset := "", false
	for rest := b[from+2 : to]; len(rest) > 0; {
		flags := rest[0]
		typ, v, next, ok := attribute(rest)
		rest = next
		switch {
		case !ok && !reset:
			return quirkOverrun
		case typ == as4Aggregator:
			reset = true
		case (typ == localPref || typ == originatorID) && len(v) != 4, typ == clusterList && len(v)%4 != 0:
			found = quirkInternal
		case flags&0x0f != 0:
			found = quirkFlagBits
		case typ == as4Path:
			found = quirkAS4Path
		}
	}
	if reset {
		return quirkAS4Aggregator
	}
	return found
}
