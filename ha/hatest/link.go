package hatest

import (
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// WireGuard's times (kernel drivers/net/wireguard/messages.h).
const (
	rekeyAfter  = 120 * time.Second // the initiator renews the session
	rejectAfter = 180 * time.Second // and after this there is none
	retryEvery  = 5*time.Second + 334*time.Millisecond
	newShake    = 15 * time.Second // data was sent and nothing came back
	passive     = 10 * time.Second // data came and nothing was sent: keepalive

	sizeData      = 96
	sizeKeepalive = 32
	sizeInit      = 148
	sizeResponse  = 92
)

// link is the WireGuard tunnel between a host and a site: what the kernel at the
// host knows of it, and what is true. Packets are not played one by one: between
// two changes counters follow from the time that has passed.
type link struct {
	w      *world
	host   *host
	site   *site
	backup bool
	luck   dice

	cutOut, cutIn int  // faults that lose what is sent that way
	present       bool // the peer is on the device
	parked        bool // its endpoint is wg.Parked
	heard         bool // its endpoint is known, by configuration or from it

	session bool          // both ends have the keys of one session
	shook   time.Duration // when its handshake completed
	token   int64         // of that, by the wall clock then
	rx, tx  uint64
	at      time.Duration // up to which rx is told
	silent  time.Duration // in has been without out since
	in      bool          // packets of the site arrive
	out     bool          // packets to the site arrive

	works bool // both ways
	since time.Duration
	gen   uint32 // of works and of the process: what was planned for another one is void

	bfdUp           bool
	bfdFlaps, discr uint32
	bgpUp           bool
	attrs           *bgp.Attrs

	probeID string
	probeAt time.Duration
	every   time.Duration // between its probes; 0: none
	fails   int
	freed   time.Duration // it was suppressed until then
	offTill time.Duration // an operator took the site out until then
	verdict string        // what the core says of the site
	flaps   []time.Duration
}

func newLink(w *world, h *host, s *site, backup bool) *link {
	l := &link{w: w, host: h, site: s, backup: backup, luck: w.s.dice("link", s.id<<8|h.id), heard: s.kind != kindRoam}
	l.attrs = &bgp.Attrs{ASPath: []bgp.ASN{bgp.ASN(4200000000 + s.id)}, LocalPref: 200}
	l.probeID = s.name + "/beat"
	if s.kind == kindProbe {
		l.probeID = s.name + "/echo"
	}
	h.links = append(h.links, l)
	return l
}

// here says whether the site dials this host.
func (l *link) here() bool { return l.site.kind != kindRoam || l.site.at == l.host.id }

// update works out what follows from a change of anything that the tunnel
// depends on.
func (l *link) update() {
	l.settle()
	l.out = l.host.up && l.site.up && l.cutOut == 0
	l.in = l.host.up && l.site.up && l.cutIn == 0 && l.here()
	l.session = l.session && l.present && l.site.up && l.w.now-l.shook < rejectAfter
	if !l.in || l.out {
		l.silent = l.w.now
	}
	l.become(l.in && l.out && l.session && !l.parked)
	switch {
	case l.works || !l.in || !l.present:
	case l.parked:
		l.expect(l.siteSpeaks(), func() { l.parked = false; l.host.learnEndpoint(l); l.update() })
	case l.out && !l.session:
		l.expect(l.tries(), l.shake)
	}
}

// expect lets something happen unless the tunnel changes before.
func (l *link) expect(d time.Duration, do func()) {
	l.gen++
	gen := l.gen
	l.w.after(d, func() {
		if l.gen == gen {
			do()
		}
	})
}

// siteSpeaks is how long it takes until the site sends anything.
func (l *link) siteSpeaks() time.Duration {
	if l.site.talks {
		return l.luck.between(0, time.Second)
	}
	return l.luck.between(0, siteKeeps)
}

// tries is how long it takes until one end starts a handshake: who sends without
// a session tries every 5 s; who believes in a session that the other end does not
// have finds out 15 s after its first data, or when the session is to be renewed.
func (l *link) tries() time.Duration {
	switch {
	case l.site.kind != kindRoam && (l.host.beats(l) || l.site.talks):
		return l.luck.between(0, retryEvery)
	case l.site.talks:
		return newShake + l.luck.between(0, retryEvery-5*time.Second)
	case l.site.kind != kindRoam:
		return l.luck.between(0, siteKeeps+retryEvery)
	}
	return l.luck.between(rekeyAfter-5*time.Second, rekeyAfter+15*time.Second)
}

// shake completes a handshake.
func (l *link) shake() {
	l.settle()
	if !l.in || !l.out || !l.present {
		return
	}
	l.session, l.heard, l.parked = true, true, false
	l.host.learnEndpoint(l)
	l.renew(l.w.now)
	l.update()
}

func (l *link) renew(at time.Duration) {
	l.shook = at
	l.token = epoch.Add(at + l.host.wall).UnixNano()
	l.rx += sizeResponse + sizeKeepalive
	l.tx += sizeInit
}

// settle brings the counters up to now.
func (l *link) settle() {
	now := l.w.now
	switch {
	case l.works:
		for l.shook+rekeyAfter <= now {
			l.renew(l.shook + rekeyAfter)
		}
		n := (now - l.at) / passive // the answers to heartbeats, at least
		l.rx += uint64(n) * sizeKeepalive
		l.at += n * passive
		return
	case l.in && l.present:
		// The site hears nothing. What it owes and what it sends by itself arrives, and
		// once it misses answers, its handshakes.
		gap := siteKeeps
		size := uint64(sizeKeepalive)
		if l.site.talks {
			gap, size = time.Second, sizeData
		}
		if until := min(now, l.shook+rejectAfter); until > l.at {
			l.rx += uint64((until-l.at)/gap) * size
		}
		if l.site.talks || now >= l.shook+rejectAfter {
			from := max(l.at, l.silent+newShake)
			if now > from {
				l.rx += uint64((now-from+retryEvery-1)/retryEvery) * sizeInit
			}
		}
	}
	l.at = now
}

// become notes whether the tunnel works.
func (l *link) become(works bool) {
	if works == l.works {
		return
	}
	l.works, l.since = works, l.w.now
	l.at = l.w.now
	l.gen++
	l.w.note(traceLink, uint64(l.host.id), uint64(l.site.id), b2u(works))
	l.w.check.linkChanged(l)
	l.sessions()
}

// sessions lets BFD, BGP and WireGuard's own timer follow what became of the
// tunnel.
func (l *link) sessions() {
	p := l.host.proc
	if p == nil || l.site.kind == kindProbe {
		return
	}
	follow := func(d time.Duration, do func()) {
		works, since := l.works, l.since
		l.w.after(d, func() {
			if l.host.proc == p && l.works == works && l.since == since {
				do()
			}
		})
	}
	switch {
	case l.site.kind == kindRoam && !l.works:
		follow(newShake+time.Second, l.steal)
	case l.site.kind == kindBeat || l.site.kind == kindRoam:
	case l.works:
		follow(l.luck.between(time.Second, 3*time.Second), func() { l.setBFD(true) })
		if l.site.kind == kindBGP {
			follow(l.luck.between(time.Second, 5*time.Second), func() { l.setBGP(true, "") })
		}
	default:
		follow(bfdDetect-l.luck.between(0, bfdDetect/3), func() { l.setBFD(false) })
		if l.site.kind == kindBGP {
			follow(holdSite-l.luck.between(0, holdSite/3), func() { l.setBGP(false, "hold-timer-expired") })
		}
	}
}

// steal is WireGuard's handshake after 15 s without an answer: a site that has
// left for another host is taken back if this one did not let go of it.
func (l *link) steal() {
	if l.parked || !l.present || !l.out || l.here() || !l.host.beats(l) {
		return
	}
	from := l.site.at
	l.site.at = l.host.id
	for _, o := range l.site.links {
		if o.host.id == from {
			o.session = false
			o.update()
		}
	}
	l.session = true
	l.renew(l.w.now)
	l.update()
}

func (l *link) setBFD(up bool) {
	if l.bfdUp == up {
		return
	}
	l.bfdUp = up
	st := bgp.BFDState{Name: l.site.name, State: bgp.BFDUp, RemoteState: bgp.BFDUp, Since: l.w.time(), LocalDiscr: l.discr}
	if !up {
		l.bfdFlaps++
		st.State, st.RemoteState, st.Failed, st.Diag = bgp.BFDDown, bgp.BFDDown, true, bgp.BFDDiagDetectExpired
		if l.in {
			st.Diag = bgp.BFDDiagNeighborDown
		}
	}
	st.Flaps = l.bfdFlaps
	l.host.put(ha.BFDObserved{BFDState: st})
}

// setBGP lets the site's session come up or go down, and with it what it brings.
func (l *link) setBGP(up bool, reason string) {
	if l.bgpUp == up {
		return
	}
	l.bgpUp = up
	w := l.w
	st := bgp.NeighborState{Name: l.site.name, State: bgp.StateActive, Since: w.time(), Reason: reason, Address: l.site.inner()}
	if up {
		st.State, st.EndOfRIB4, st.EndOfRIB6, st.RouterID = bgp.StateEstablished, true, true, l.site.inner()
	}
	l.host.put(ha.NeighborObserved{NeighborState: st})
	changes := make([]bgp.PathChange, 0, len(l.site.prefixes))
	for _, p := range l.site.prefixes {
		c := bgp.PathChange{Path: bgp.Path{Prefix: w.prefixes[p], Neighbor: l.site.name}, Withdrawn: !up}
		if up {
			c.Path.NextHop, c.Path.Attrs, c.Path.Since = l.site.inner(), l.attrs, w.time()
		}
		changes = append(changes, c)
	}
	l.host.put(ha.PathsChanged{Changes: changes})
}

// flush is the speaker's answer to one more bgp.Neighbor.Flush.
func (l *link) flush() {
	l.setBGP(false, "flush")
	if l.works {
		l.sessions()
	}
}

// state is what a reading of the interface says.
func (l *link) state() wg.PeerState {
	l.settle()
	st := wg.PeerState{Key: l.site.key(), Handshake: l.token, Rx: l.rx, Tx: l.tx}
	switch {
	case l.parked:
		st.Endpoint = wg.Parked
	case l.heard:
		st.Endpoint = l.site.outer()
	}
	return st
}

// erase is what becomes of the peer when the kernel forgets it.
func (l *link) erase() {
	l.present, l.parked, l.session, l.heard = false, false, false, l.site.kind != kindRoam
	l.rx, l.tx, l.token = 0, 0, 0
	l.update()
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
