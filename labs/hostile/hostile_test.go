package hostile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// workers is how many bad neighbors are Established at a time.
const workers = 4

// maxFindings is how many faults are shown at most.
const maxFindings = 10

var (
	casePrefix = netip.MustParsePrefix("10.66.1.0/24") // what the corpus is about
	markPrefix = netip.MustParsePrefix("10.66.254.0/24")
)

// assault is one bad neighbor's session and what it may have taught by now.
type assault struct {
	r     *rig
	who   attacker
	peer  *rawbgp.Peer
	marks uint32
	known map[netip.Prefix]bool // what the daemon should hold; false: in doubt
	past  []string              // what was sent before
}

// open takes the attacker who rested longest.
func (r *rig) open() (*assault, error) {
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		a := &assault{r: r, who: <-r.idle, known: map[netip.Prefix]bool{}}
		last = r.bad.Do(func() (err error) {
			a.peer, err = rawbgp.Dial(rawbgp.Config{Local: a.who.addr, Remote: gateway, ASN: badASN})
			return err
		})
		if last == nil {
			return a, a.settled()
		}
		r.idle <- a.who
		time.Sleep(10 * time.Millisecond) // pause between tries of a bounded wait
	}
	return nil, fmt.Errorf("no hostile session comes up any more: %w", last)
}

// settled waits until the daemon has asked its engine about the session: from
// then on it knows its own address there.
func (a *assault) settled() error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, err := a.r.client.Neighbors(context.Background(), a.who.name)
		if err != nil || n.Neighbors[0].HoldTimeSeconds > 0 {
			return err
		}
		time.Sleep(time.Millisecond) // pause between tries of a bounded wait
	}
	return fmt.Errorf("%s: no hold time", a.who.name)
}

func (a *assault) close() {
	a.peer.Close()
	a.r.idle <- a.who
}

// send sends a message and waits until the daemon has digested it: it took a
// mark sent behind it, or it ended the session. Paths are what it holds of this
// neighbor then.
func (a *assault) send(m []byte) (alive bool, paths []api.Path, err error) {
	a.marks++
	mark := rawbgp.Announce([]uint32{badASN}, badNextHop, a.marks, nil, markPrefix)
	_ = a.peer.Write(m) // a session that has ended by now is seen below
	_ = a.peer.Write(mark)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		ended := a.peer.Err() != nil
		in, err := a.r.client.AdjIn(context.Background(), a.who.name)
		if err != nil {
			return false, nil, err
		}
		for _, p := range in.Paths {
			if p.Prefix == markPrefix && p.Attrs.MED != nil && *p.Attrs.MED == a.marks {
				return true, in.Paths, nil
			}
		}
		if ended {
			return false, nil, nil
		}
		time.Sleep(time.Millisecond) // pause between tries of a bounded wait
	}
	return false, nil, errors.New("neither taken nor refused within 10 s")
}

// reason is the daemon's word for the end of a session. It may come a moment
// after the end.
func (a *assault) reason() string {
	for end := time.Now().Add(time.Second); ; {
		n, err := a.r.client.Neighbors(context.Background(), a.who.name)
		if err != nil {
			return err.Error()
		}
		if n.Neighbors[0].State != "Established" || time.Now().After(end) {
			return n.Neighbors[0].LossReason
		}
		time.Sleep(time.Millisecond) // pause between tries of a bounded wait
	}
}

// stands says that the session does.
func (e Expect) stands() bool { return e == Accept || e == Withdraw || e == Stay }

func has(paths []api.Path, p netip.Prefix) bool {
	return slices.ContainsFunc(paths, func(x api.Path) bool { return x.Prefix == p })
}

func TestHostileNeighbor(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	r := newRig(t)
	corpus, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	before := r.rss(t)
	t.Run("Corpus", func(t *testing.T) {
		sessions := r.each(t, len(corpus), func(a *assault, i int) (bool, error) { return a.one(corpus[i]) })
		t.Logf("figure: s13 %d messages of the corpus over %d sessions; daemon and other sessions unharmed", len(corpus), sessions)
	})
	t.Run("Mutations", func(t *testing.T) {
		seed, err := strconv.ParseUint(os.Getenv(envSeed), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(os.Getenv(envMutations))
		if err != nil {
			t.Fatal(err)
		}
		gen := NewMutator(seed, corpus)
		messages := make([][]byte, n)
		for i := range messages {
			messages[i] = gen.Next()
		}
		begin := time.Now()
		sessions := r.each(t, n, func(a *assault, i int) (bool, error) { return a.judged(messages[i]) })
		t.Logf("figure: s13 %d mutations (seed %d) over %d sessions in %.1f s; daemon and other sessions unharmed", n, seed, sessions, time.Since(begin).Seconds())
	})
	// Still at work: a change reaches the good neighbors.
	ctx := context.Background()
	r.lost.Store(nil)
	for _, disabled := range []bool{true, false} {
		if _, err := r.client.SetSite(ctx, "home", disabled, false); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 10*time.Second, func() error {
			out, err := r.out()
			if err == nil && (r.has.Load() == disabled || strings.Contains(out, ours.String()) == disabled) {
				err = fmt.Errorf("site disabled: %v; good neighbor has its prefix: %v; BIRD: %q", disabled, r.has.Load(), out)
			}
			return err
		})
	}
	// GoBGP takes some 270 KB for each session; the rest must not grow with what
	// was sent.
	const most = 400 // MB
	after := r.rss(t)
	t.Logf("figure: s13 memory of the daemon with %d neighbors: %d MB before, %d MB after", attackers+2, before, after)
	if after > most {
		t.Errorf("memory: got %d MB, before %d MB, want at most %d MB", after, before, most)
	}
}

// each calls fn for 0 to n-1 from several bad neighbors. fn says whether its
// session still stands.
func (r *rig) each(t *testing.T, n int, fn func(a *assault, i int) (alive bool, err error)) (sessions int) {
	var mu sync.Mutex
	next, findings := 0, 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && findings < maxFindings
	}
	found := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		findings += n
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var a *assault
			for {
				i, more := take()
				if !more {
					break
				}
				if a == nil {
					var err error
					if a, err = r.open(); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					sessions++
					mu.Unlock()
				}
				alive, err := fn(a, i)
				if err != nil {
					t.Errorf("message %d: %v", i, err)
					found(1)
				}
				if err := r.unharmed(); err != nil {
					t.Errorf("after message %d: %v", i, err)
					found(maxFindings)
					return
				}
				if !alive {
					a.close()
					a = nil
				}
			}
			if a != nil {
				a.close()
			}
		})
	}
	wg.Wait()
	return sessions
}

// one sends a message of the corpus after its prefix was announced properly.
func (a *assault) one(c Case) (alive bool, err error) {
	fail := func(format string, args ...any) (bool, error) {
		return alive, fmt.Errorf("%s (%s, expect %s): %s\n% x", c.Name, c.Title, c.Expect, fmt.Sprintf(format, args...), c.Message)
	}
	alive, paths, err := a.send(rawbgp.Announce([]uint32{badASN}, badNextHop, 0, nil, casePrefix))
	if err != nil || !alive || !has(paths, casePrefix) {
		return fail("before: alive %v, has %v, %v (%s)", alive, paths, err, a.reason())
	}
	if c.Expect == Lost {
		return false, a.peer.Write(c.Message) // what follows would be taken for the rest of it
	}
	if alive, paths, err = a.send(c.Message); err != nil {
		return fail("%v", err)
	}
	want := c.Expect
	if c.Quirk != "" {
		want = c.Quirk // if it is gone, so is the line
	}
	switch {
	case want.stands() && !alive:
		return fail("the session ended (%s), want it to stand", a.reason())
	case want == Withdraw && has(paths, casePrefix):
		return fail("%s is still there, want it withdrawn", casePrefix)
	case (want == Accept || want == Stay) && !has(paths, casePrefix):
		return fail("%s is gone, want it kept", casePrefix)
	}
	return alive, nil
}

// judged sends a mutation and compares with what the judge says.
func (a *assault) judged(m []byte) (alive bool, err error) {
	j := Judge(m)
	fail := func(format string, args ...any) (bool, error) {
		// What follows would be compared with a wrong picture: the session is over.
		return false, fmt.Errorf("judged %s (%s, doubt %v): %s\n% x\nafter\n%s", j.Expect, j.Why, j.Doubt, fmt.Sprintf(format, args...), m,
			strings.Join(a.past[max(0, len(a.past)-5):], "\n"))
	}
	defer func() {
		a.past = append(a.past, fmt.Sprintf("%s (%s, doubt %v) %s % x", j.Expect, j.Why, j.Doubt, quirk(m), m))
	}()
	if j.Expect == Lost {
		return false, a.peer.Write(m)
	}
	alive, paths, err := a.send(m)
	switch {
	case err != nil:
		return fail("%v", err)
	case !alive && j.Expect.stands() && quirk(m) != quirkAS4Aggregator:
		return fail("the session ended (%s), want it to stand", a.reason())
	case !alive:
		return false, nil
	}
	a.learn(j, quirk(m))
	for _, p := range paths {
		if want, ok := a.known[p.Prefix]; !ok && p.Prefix != markPrefix {
			return fail("%s (AS_PATH %v, next hop %s) is in the RIB, want it refused", p.Prefix, p.Attrs.ASPath, p.NextHop)
		} else if !want {
			delete(a.known, p.Prefix)
			a.known[p.Prefix] = true
		}
	}
	for p, want := range a.known {
		switch there := has(paths, p); {
		case want && !there:
			return fail("%s is not in the RIB, want it accepted", p)
		case !want && !there:
			delete(a.known, p) // the doubt is over
		}
	}
	return alive, nil
}

// learn is what the daemon should have learned from a message.
func (a *assault) learn(j Judgement, quirk string) {
	for _, p := range j.Withdrawn {
		delete(a.known, p)
		if quirk == quirkOverrun {
			a.known[p] = false
		}
	}
	for _, p := range j.Announced {
		_, had := a.known[p]
		switch {
		case quirk == quirkOverrun && had, quirk != "" && j.Expect == Accept:
			a.known[p] = false
		case j.Expect == Any || j.Expect == Reset || j.Expect == Accept && j.Doubt:
			a.known[p] = false
		case j.Expect == Withdraw || !acceptable(j, p):
			delete(a.known, p)
		default:
			a.known[p] = true
		}
	}
	if j.Expect == Any || j.Expect == Reset {
		for _, p := range j.Withdrawn {
			a.known[p] = false
		}
	}
	delete(a.known, markPrefix)
}

// acceptable is the import policy of the bad neighbors.
func acceptable(j Judgement, p netip.Prefix) bool {
	hop := j.NextHop4
	if p.Addr().Is6() {
		hop = j.NextHop6
	}
	return (allowed4.Overlaps(p) && p.Bits() >= allowed4.Bits() || allowed6.Overlaps(p) && p.Bits() >= allowed6.Bits()) &&
		len(j.Path) > 0 && j.Path[0] == badASN && !slices.Contains(j.Path, ourASN) && hop != gateway && hop != netip.MustParseAddr("fd66:9::1")
}
