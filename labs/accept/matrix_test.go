package accept

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// r04-reload-matrix, AC-35: for every key of a configuration, a reload with
// another value costs what reference.toml says and nothing more.
func TestR04_EveryKeyCostsWhatItSays(t *testing.T) {
	t.Parallel() // it waits more than it works
	if !nstest.Isolate(t) {
		return
	}
	m := startMatrix(t)
	begun := time.Now()
	var quiet, costly, refused []*matrixStep
	for _, s := range matrixSteps(t) {
		switch s.class {
		case configs.Restart:
			refused = append(refused, s)
		case configs.SessionReset:
			costly = append(costly, s)
		default:
			quiet = append(quiet, s)
		}
	}
	if t.Failed() {
		return
	}
	for _, s := range refused {
		t.Run("restart_"+s.path, func(t *testing.T) { m.with(t).refuses(s) })
	}
	begunQuiet := time.Now()
	for _, s := range quiet {
		t.Run(string(s.class)+"_"+s.path, func(t *testing.T) { m.with(t).noticesNothing(s) })
	}
	begunCostly := time.Now()
	rounds := matrixRounds(costly)
	for i, round := range rounds {
		t.Run(fmt.Sprintf("session-reset_%d", i+1), func(t *testing.T) { m.with(t).startsOverAlone(round) })
	}
	t.Logf("figure: AC-35 %d keys live or soft-reset in %.1f s, %d session-reset in %d rounds in %.1f s, %d restart refused in %.1f s; %d keys not edited",
		len(quiet), begunCostly.Sub(begunQuiet).Seconds(), len(costly), len(rounds), time.Since(begunCostly).Seconds(),
		len(refused), begunQuiet.Sub(begun).Seconds(), len(notEdited))
}

// with is the matrix for a subtest.
func (m *matrix) with(t *testing.T) *matrix {
	sub := *m
	sub.t = t
	return &sub
}

// refuses: the edit needs a restart, the key is named, and nothing happens.
func (m *matrix) refuses(s *matrixStep) {
	was := m.look()
	s.make(m)
	m.write()
	_, stderr, code, err := m.l.CLI(m.g, "config", "reload")
	if err != nil || code != 6 || !strings.Contains(stderr, s.key) || !strings.Contains(stderr, "restart") {
		m.t.Errorf("config reload: exit %d, %v, want 6 and %s named: %s", code, err, s.key, stderr)
	}
	m.unchanged(was, nil)
	s.undo(m)
	m.write()
}

// noticesNothing: no session, no peer and no announcement is touched.
func (m *matrix) noticesNothing(s *matrixStep) {
	was := m.look()
	s.make(m)
	m.reload()
	stays(m.t, 100*time.Millisecond, func() error { return nil }) // what a reload causes comes within moments
	m.unchanged(was, s.moves)
	if !s.back && len(s.moves) == 0 {
		return
	}
	if len(s.moves) > 0 { // the edit is in force, or what it spares would mean nothing
		nstest.Eventually(m.t, 10*time.Second, func() error {
			if len(m.gone(was.events, s.moves)) == 0 {
				return fmt.Errorf("nothing of %v was withdrawn", s.moves)
			}
			return nil
		})
		m.unchanged(was, s.moves)
	}
	s.undo(m)
	m.reload()
	m.well(15 * time.Second)
	m.unchanged(was, s.moves)
}

// startsOverAlone: of all sessions and peers, those of the edited objects start
// over, and come back with the old value.
func (m *matrix) startsOverAlone(round []*matrixStep) {
	var sessions, sites []string
	over := map[string]string{} // session: path
	hands := map[string]string{}
	for _, s := range round {
		m.t.Log(s.path, s.object, s.to, s.still)
		own, site := s.own()
		for _, name := range own {
			if sessions = append(sessions, name); s.still == "" {
				over[name] = s.path
			}
		}
		if site != "" {
			if sites = append(sites, site); s.still == "" {
				hands[site] = s.path
			}
		}
	}
	was := m.look()
	defer func() {
		if m.t.Failed() { // the next round shall not suffer from this one
			for _, s := range round {
				s.undo(m)
			}
			m.reload()
			m.well(30 * time.Second)
		}
	}()
	for _, s := range round {
		s.make(m)
	}
	m.reload()
	nstest.Eventually(m.t, 10*time.Second, func() error {
		now := m.sessions()
		for name, path := range over {
			if now[name].Equal(was.sessions[name]) {
				return fmt.Errorf("%s: session %s did not start over", path, name)
			}
		}
		return nil
	})
	for _, s := range round {
		if s.table == "tgw-connect" && s.still != "" { // then at least the tunnel is another one
			nstest.Eventually(m.t, 10*time.Second, func() error { return m.tunnelHas(strings.Trim(s.to, `"`)) })
		}
	}
	edited := time.Now()
	for _, s := range round {
		s.undo(m)
	}
	m.reload()
	m.well(30 * time.Second)
	nstest.Eventually(m.t, 20*time.Second, func() error {
		now := m.peers()
		for site, path := range hands {
			if now[site].handshake+1 < uint64(edited.Unix()) {
				return fmt.Errorf("%s: no new handshake with %s: %+v", path, site, now[site])
			}
		}
		return nil
	})
	moves := sites
	for _, name := range sessions {
		if strings.HasPrefix(name, "tgw/") { // the TGW loses all there is
			was.events = -1
		}
		moves = append(moves, name) // the name of its site, if it has one
	}
	for _, name := range sessions {
		delete(was.sessions, name)
	}
	for _, name := range sites {
		delete(was.peers, name)
	}
	m.unchanged(was, moves)
}

// seen is what a session or a peer that starts over, or a route that is withdrawn,
// changes.
type seen struct {
	sessions map[string]time.Time
	peers    map[string]wgPeer
	events   int // of the TGW; -1: what it loses is meant
}

func (m *matrix) look() seen {
	m.t.Helper()
	events, err := m.l.TGWEvents()
	if err != nil {
		m.t.Fatal(err)
	}
	s := seen{m.sessions(), m.peers(), len(events)}
	if err := m.whole(s.sessions); err != nil {
		m.t.Fatalf("before the edit (perhaps the one before it was late): %v", err)
	}
	if len(s.peers) != len(m.l.Sites) {
		m.t.Fatalf("before the edit: wg shows %v, want %d peers", s.peers, len(m.l.Sites))
	}
	return s
}

// unchanged wants the sessions and peers of was, and that the TGW lost nothing but
// what belongs to moves.
func (m *matrix) unchanged(was seen, moves []string) {
	m.t.Helper()
	sessions, peers := m.sessions(), m.peers()
	for _, name := range slices.Sorted(maps.Keys(was.sessions)) {
		if now := sessions[name]; !now.Equal(was.sessions[name]) {
			m.t.Errorf("session %s: Established since %v, was since %v", name, now, was.sessions[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was.peers)) {
		if p, o := peers[name], was.peers[name]; p.rx < o.rx || p.tx < o.tx || p.handshake < o.handshake {
			m.t.Errorf("peer %s: %+v, was %+v: it is another one", name, p, o)
		}
	}
	if was.events < 0 {
		return
	}
	lost, meant := m.gone(was.events, nil), m.gone(was.events, moves)
	if len(lost) != len(meant) && len(moves) > 0 || len(lost) > 0 && len(moves) == 0 {
		m.t.Errorf("withdrawn at the TGW: %v, want nothing but of %v", lost, moves)
	}
}

// gone lists what the TGW lost since an event: of moves, none: of everything.
func (m *matrix) gone(since int, moves []string) (ps []netip.Prefix) {
	m.t.Helper()
	events, err := m.l.TGWEvents()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range events[since:] {
		if e.Prefix.IsValid() && len(e.Via) == 0 && (len(moves) == 0 || m.belongs(e.Prefix, moves)) {
			ps = append(ps, e.Prefix)
		}
	}
	return ps
}

// belongs says whether a prefix is one of those named: sites, or "aggregates".
func (m *matrix) belongs(p netip.Prefix, names []string) bool {
	if slices.Contains(names, "aggregates") && strings.HasPrefix(p.String(), "10.96.") {
		return true
	}
	if slices.Contains(names, "paris") && p == parisMore {
		return true
	}
	for _, s := range m.l.Sites {
		if slices.Contains(names, s.Name) && (p.Overlaps(s.Net4) || p.Overlaps(s.Net6)) && p.Bits() >= s.Net4.Bits() {
			return true
		}
	}
	return false
}
