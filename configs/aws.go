package configs

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// awsDoc is how AWS is asked.
type awsDoc struct {
	meta
	Region       string        `toml:"region" class:"live"`
	PollInterval time.Duration `toml:"poll-interval" class:"live" span:"1m..1h"`
}

func (a *awsDoc) setDefaults() { a.PollInterval = time.Minute }

// AWS is how AWS is asked for Connect peers.
type AWS struct {
	Region       string // empty: the environment's or the instance's
	PollInterval time.Duration
}

func (a *awsDoc) build() AWS { return AWS{a.Region, a.PollInterval} }

// defaultTGWASN is what AWS gives a Transit Gateway when nothing is said.
const defaultTGWASN = 64512

var (
	awsRegion   = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	connectPeer = regexp.MustCompile(`^tgw-connect-peer-[0-9a-f]{8,17}$`)
)

func (l *loader) checkAWS(a *awsDoc) {
	if a.Region != "" && a.ok("region") && !awsRegion.MatchString(a.Region) {
		l.wrong(&a.meta, "region", quote(a.Region)+" is no region", "write it as in \"eu-central-1\", or leave it out")
	}
}

// discovers reports whether AWS says where the entry's tunnels lead.
func (c *connectDoc) discovers() bool { return c.Discover || c.Peer != "" }

func (l *loader) checkDiscover(c *connectDoc) {
	if c.Peer != "" && c.ok("peer") && !connectPeer.MatchString(c.Peer) {
		l.wrong(&c.meta, "peer", quote(c.Peer)+" is no ID of a Connect peer", "copy it: peer = \"tgw-connect-peer-0123456789abcdef0\"")
	}
	if !c.discovers() {
		return
	}
	if c.Discover && c.Peer != "" {
		l.wrong(&c.meta, "peer", "with discover = true every Connect peer of this host is used", "remove one of them")
	}
	l.saidByAWS(&c.meta, "discover and peer", map[string]bool{
		"local": c.Local.IsValid(), "remote": c.Remote.IsValid(), "inside": len(c.Inside) > 0, "tgw-asn": c.TGWASN != defaultTGWASN,
	})
	if c.Discover && c.Device != "" {
		l.wrong(&c.meta, "device", "there can be several Connect peers, and each needs an interface of its own", "remove it, or name one Connect peer with peer")
	}
	for _, o := range l.doc.Connect {
		if o == c {
			break
		}
		switch {
		case c.Discover && o.Discover:
			l.wrong(&c.meta, "discover", "tgw-connect "+o.Name+" ("+where(o.at("discover"))+") takes every Connect peer of this host", "keep one of them")
		case c.Peer != "" && c.Peer == o.Peer:
			l.wrong(&c.meta, "peer", "tgw-connect "+o.Name+" ("+where(o.at("peer"))+") has it already", "remove one of them")
		}
	}
}

// saidByAWS refuses keys that say something, as "" and the default do not.
func (l *loader) saidByAWS(m *meta, by string, say map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(say)) {
		if say[key] && m.has(key) {
			l.wrong(m, key, "AWS says it", "remove it, or "+by)
		}
	}
}

func (c *connectDoc) discovery(asn uint32, inVRF bool) ha.Discovery {
	return ha.Discovery{
		Entry:    tgwconnect.Entry{Name: c.Name, PeerID: c.Peer, ASN: asn},
		Connect:  tgwconnect.ConnectPeer{Device: c.Device, LocalASN: asn, MTU: c.MTU, Backend: tgwconnect.Backend(c.Backend)},
		Neighbor: c.session(inVRF),
	}
}
