package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds the wait for one cell. All partners run at once.
const patience = 40 * time.Second

// run checks every row of a column, all at once; but ShutdownOut, which takes the
// gateway out of service, when all others are through.
func (r *rig) run(p partner) map[Row]Cell {
	var mu sync.Mutex
	cells := map[Row]Cell{}
	checks := r.checks(p)
	try := func(row Row) {
		c := r.try(row, checks[row])
		mu.Lock()
		defer mu.Unlock()
		cells[row] = c
	}
	var wg sync.WaitGroup
	for _, row := range rows {
		if row != ShutdownOut {
			wg.Go(func() { try(row) })
		}
	}
	wg.Wait()
	try(ShutdownOut)
	return cells
}

// try makes one cell; check is nil where the role does not know the row.
func (r *rig) try(row Row, check func() error) Cell {
	if why, absent := r.absent[row]; absent {
		return Cell{Verdict: Absent, Note: why}
	}
	if check == nil {
		return Cell{Verdict: NotFor}
	}
	if err := check(); err != nil {
		return Cell{Verdict: Fails, Note: r.fails[row], Detail: err.Error()}
	}
	return Cell{Verdict: Pass}
}

// checks are the rows that a role has. Each looks at both ends.
func (r *rig) checks(p partner) map[Row]func() error {
	soon := func(try func() error) func() error { return func() error { return eventually(patience, try) } }
	mp := func(l link) func() error {
		within := patience
		if r.fails[MPIPv6] != "" { // once IPv4 is there, IPv6 would be
			within = 5 * time.Second
		}
		return func() error {
			if err := eventually(patience, func() error { return r.exchanged(p, l, false) }); err != nil {
				return err
			}
			return eventually(within, func() error { return r.exchanged(p, l, true) })
		}
	}
	if r.role == roleTGW {
		base, weLimit, theyLimit, asn4 := r.links[0], r.links[1], r.links[2], r.links[3]
		return map[Row]func() error{
			Session:     soon(func() error { return r.established(p, base) }),
			IPv4:        soon(func() error { return r.exchanged(p, base, false) }),
			MPIPv6:      mp(base),
			ASN4:        soon(func() error { return r.exchanged(p, asn4, false) }),
			LimitOurs:   soon(func() error { return r.limited(p, weLimit, ourLimitReason) }),
			LimitTheirs: soon(func() error { return r.limited(p, theyLimit, theirLimitReason) }),
			Refresh:     func() error { return r.refreshed(p, base) },
			ShutdownOut: func() error { return r.honoured(p, base) },
			ShutdownIn:  soon(func() error { return r.lowered(base) }),
		}
	}
	l := r.links
	return map[Row]func() error{
		Session: soon(func() error { return r.established(p, l[linkBase]) }),
		IPv4:    soon(func() error { return r.exchanged(p, l[linkBase], false) }),
		IPv6:    soon(func() error { return r.exchanged(p, l[linkV6], true) }),
		MPIPv6:  mp(l[linkBase]),
		ASN4:    soon(func() error { return r.exchanged(p, l[linkASN4], false) }),
		MD5: func() error {
			if err := eventually(patience, func() error { return r.exchanged(p, l[linkMD5], false) }); err != nil {
				return err
			}
			if n, err := r.neighbor(l[linkWrong]); err != nil || n.State == "Established" {
				return fmt.Errorf("with a wrong password: %s, %w", n.State, err)
			}
			return nil
		},
		TTLSecurity: soon(func() error { return r.exchanged(p, l[linkTTL], false) }),
		LimitOurs:   soon(func() error { return r.limited(p, l[linkOurLimit], ourLimitReason) }),
		LimitTheirs: soon(func() error { return r.limited(p, l[linkTheirLimit], theirLimitReason) }),
		Refresh:     func() error { return r.refreshed(p, l[linkBase]) },
		ShutdownOut: func() error { return r.honoured(p, l[linkBase]) },
		ShutdownIn:  soon(func() error { return r.lowered(l[linkBase]) }),
		BFD:         func() error { return r.silenced(p, l[linkBFD]) },
	}
}

func (r *rig) established(p partner, l link) error {
	n, err := r.neighbor(l)
	if err != nil {
		return err
	}
	up, err := p.up(l)
	if err == nil && (!up || n.State != "Established") {
		err = fmt.Errorf("%s: wgbgpd %s (%s), partner up %v", l.name, n.State, n.LossReason, up)
	}
	return err
}

// exchanged looks for one prefix in each direction, with next hop and AS_PATH.
func (r *rig) exchanged(p partner, l link, six bool) error {
	if err := r.established(p, l); err != nil {
		return err
	}
	mine, yours, hopOurs, hopTheirs := ours4, theirs4, l.ours, l.theirs
	if six {
		mine, yours, hopOurs, hopTheirs = ours6, theirs6, l.ours6, l.their6
	}
	in, err := r.learned(l, yours)
	switch {
	case err != nil:
		return err
	case in.NextHop != hopTheirs && !(six && r.isTheirs(in.NextHop)) || !slices.Equal(in.Attrs.ASPath, []uint32{l.theyAS}):
		return fmt.Errorf("wgbgpd's path to %s: next hop %s, AS_PATH %v, want %s, %d", yours, in.NextHop, in.Attrs.ASPath, hopTheirs, l.theyAS)
	}
	out, err := p.heard(l, mine)
	switch {
	case err != nil:
		return err
	case !sameHop(out.nextHop, hopOurs):
		return fmt.Errorf("the partner's path to %s: next hop %q, want %s", mine, out.nextHop, hopOurs)
	}
	return nil
}

// isTheirs says that it is an IPv6 address of the partner: on one link with many
// addresses some choose another than that of the session.
func (r *rig) isTheirs(a netip.Addr) bool {
	return slices.ContainsFunc(r.links, func(l link) bool { return l.their6 == a })
}

func sameHop(text string, want netip.Addr) bool {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	return err == nil && a.WithZone("") == want
}

// limited waits for the end of a session on which too much was sent. A partner
// that closes with our UPDATEs unread resets the connection, which can cost its
// NOTIFICATION.
func (r *rig) limited(p partner, l link, reason string) error {
	n, err := r.neighbor(l)
	if err != nil {
		return err
	}
	up, err := p.up(l)
	if err == nil && (up || n.State == "Established" || n.LossReason != reason && (reason == ourLimitReason || n.LossReason != "connection-lost" && n.LossReason != "write-failed")) {
		err = fmt.Errorf("%s: %s (partner up: %v), last loss %q, want %q", l.name, n.State, up, n.LossReason, reason)
	}
	return err
}

// Reasons of the end of a session, as wgbgpd tells them.
const (
	ourLimitReason   = "max-prefix"
	theirLimitReason = "notification-received cease/6/1" // RFC 4486
)

// refreshed lets the partner ask, and counts what it is sent.
func (r *rig) refreshed(p partner, l link) error {
	if err := eventually(patience, func() error { return r.exchanged(p, l, false) }); err != nil {
		return err
	}
	before, err := r.neighbor(l)
	if err != nil {
		return err
	}
	if err := p.refresh(l); err != nil {
		return err
	}
	// All prefixes have been sent before; nothing else is new.
	return eventually(patience, func() error {
		// Counters are read from time to time only: an operator's look does not hurry them.
		after, err := r.neighbor(l)
		switch {
		case err != nil:
			return err
		case !after.Since.Time.Equal(before.Since.Time):
			return errors.New("the session started over")
		case after.UpdatesOut <= before.UpdatesOut:
			return fmt.Errorf("UPDATEs sent: %d before, %d after", before.UpdatesOut, after.UpdatesOut)
		}
		return nil
	})
}

// lowest is the LOCAL_PREF that counts as honouring: 0 is recommended, and not
// every policy language can write it.
const lowest = 1

// honoured lets the gateway drain, as a stop of its service does, and looks
// whether the partner prefers others to what then carries GRACEFUL_SHUTDOWN (RFC
// 8326 section 4.3: LOCAL_PREF 0).
func (r *rig) honoured(p partner, l link) error {
	lastChoice := func(h heard) bool { return 0 <= h.localPref && h.localPref <= lowest }
	err := eventually(patience, func() error {
		h, err := p.heard(l, ours4)
		if err == nil && (h.leaving || lastChoice(h)) {
			err = fmt.Errorf("the partner's path before the drain: %+v", h)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.daemon.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err = eventually(patience, func() error {
		h, err := p.heard(l, ours4)
		if err == nil && (!h.leaving || !lastChoice(h)) {
			err = fmt.Errorf("the partner's path during the drain: %+v", h)
		}
		return err
	})
	return errors.Join(err, r.daemon.Signal(syscall.SIGTERM)) // the second ends it at once
}

// lowered is the same for us.
func (r *rig) lowered(l link) error {
	plain, err := r.learned(l, theirs4)
	if err != nil {
		return err
	}
	leaving, err := r.learned(l, theirLeaving)
	switch {
	case err != nil:
		return err
	case plain.Attrs.LocalPref == 0 || leaving.Attrs.LocalPref != 0 || !slices.Contains(leaving.Attrs.Communities, graceful):
		return fmt.Errorf("wgbgpd's paths: local preference %d without, %d with communities %v", plain.Attrs.LocalPref, leaving.Attrs.LocalPref, leaving.Attrs.Communities)
	}
	return nil
}
