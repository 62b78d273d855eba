package traffic

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// pair makes two hosts a (10.0.0.1, fd00:1::1) and b (.2, ::2) with a router
// between them, so that b's absence is reported by ICMP.
func pair(t *testing.T) (a, b *netlab.Host) {
	t.Helper()
	na, nb := nstest.New(t, "a"), nstest.New(t, "b")
	nstest.Veth(t, na, "eth0", []string{"10.0.0.1/24", "fd00:1::1/64"}, nb, "eth0", []string{"10.0.0.2/24", "fd00:1::2/64"})
	return na.Host(), nb.Host()
}

func start(t *testing.T, cfg Config) *Stream {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		if !s.Flowing(100 * time.Millisecond) {
			return errors.New("nothing arrives")
		}
		return nil
	})
	return s
}

func TestUndisturbedStreamLosesNothing(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	a, b := pair(t)
	for _, c := range []struct {
		name     string
		src, dst string
		rate     int
	}{
		{"IPv4", "10.0.0.1", "10.0.0.2", 1000},
		{"IPv6", "fd00:1::1", "fd00:1::2", 1000},
		{"10 kHz", "10.0.0.1", "10.0.0.2", 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Config{Name: c.name, From: a, To: b, Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), Rate: c.rate, Flows: 8})
			before, began := cpuTime(t), time.Now()
			time.Sleep(time.Second) // the time that is measured
			used, took := cpuTime(t)-before, time.Since(began)
			r := s.Stop(100 * time.Millisecond)
			if r.Lost != 0 || len(r.Outages) != 0 || len(r.Errors) != 0 || r.Duplicates != 0 {
				t.Errorf("got %s, want no loss", r)
			}
			// Up to the last packet, as the machine may have paused after it.
			last := s.log.packets[r.Sent-1].sent
			if want := int(last.Seconds() * float64(c.rate)); r.Sent < want*9/10 || r.Sent > want*11/10+1 {
				t.Errorf("sent %d packets in %s, want about %d", r.Sent, last, want)
			}
			t.Logf("%s; delay median %s, p99 %s, max %s; %.1f %% of a core", r, r.DelayMedian, r.Delay99, r.DelayMax, 100*used.Seconds()/took.Seconds())
		})
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestOutageHasTheLengthOfTheCut(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	nstest.Need(t, "nft")
	a, b := pair(t)
	s := start(t, Config{Name: "cut", From: a, To: b, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Rate: 1000})
	cut := time.Now()
	if err := b.RunAll("nft add table ip t", "nft add chain ip t c { type filter hook prerouting priority -300 ; }", "nft add rule ip t c drop"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the length of the outage that is to be found
	if err := b.RunAll("nft delete table ip t"); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	nstest.Eventually(t, 5*time.Second, func() error {
		if s.Latest().Before(healed) {
			return errors.New("nothing sent after the cut has arrived")
		}
		return nil
	})
	if r := s.Report(s.start, cut); r.Lost != 0 {
		t.Errorf("before the cut: got %s, want no loss", r)
	}
	r := s.Stop(100 * time.Millisecond)
	o, ok := r.Longest()
	if !ok || len(r.Outages) != 1 {
		t.Fatalf("got outages %v, want one", r.Outages)
	}
	if o.Gap < 290*time.Millisecond || o.Gap > healed.Sub(cut)+20*time.Millisecond {
		t.Errorf("gap: got %s, want between 300ms and %s", o.Gap, healed.Sub(cut))
	}
	if o.From.Before(cut) || o.To.After(healed.Add(20*time.Millisecond)) {
		t.Errorf("outage from %s to %s, want it within the cut from %s to %s", o.From, o.To, cut, healed)
	}
	if r.Lost != o.Lost || r.Lost != int(o.Last-o.First)+1 || !o.Ended {
		t.Errorf("lost %d in all, %d in the outage of packets %d to %d; want them equal", r.Lost, o.Lost, o.First, o.Last)
	}
}

func TestRefusedPacketsAreCountedByErrorNumber(t *testing.T) {
	if !nstest.Isolate(t) {
		return
	}
	a, b := pair(t)
	s := start(t, Config{Name: "refused", From: a, To: b, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Rate: 1000})
	if err := a.RunAll("ip route add unreachable 10.0.0.2/32"); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 5*time.Second, func() error {
		if s.Report(time.Time{}, time.Time{}).Errors[syscall.EHOSTUNREACH] < 10 {
			return errors.New("no EHOSTUNREACH counted")
		}
		return nil
	})
	r := s.Stop(0)
	if r.Lost == 0 {
		t.Errorf("got %s, want the refused packets among the lost", r)
	}
}

func TestOrderIsJudgedWithinAFlow(t *testing.T) {
	l := newLedger(2)
	for range 6 {
		l.sent(0)
	}
	for _, n := range []uint64{1, 0, 4, 3, 2, 2, 5} { // 2 comes after 4, its flow's next; then once more
		l.received(n, 0)
	}
	if l.overtaken != 1 || l.duplicates != 1 {
		t.Errorf("got %d overtaken and %d duplicates, want 1 and 1", l.overtaken, l.duplicates)
	}
}

// ledger arithmetic without a network: two flows, the odd one loses.
func TestOutagesAreFoundPerFlow(t *testing.T) {
	ms := time.Millisecond
	arrivedUnless := func(lost ...int) []packet {
		ps := make([]packet, 20)
		for n := range ps {
			ps[n] = packet{time.Duration(n) * ms, time.Duration(n)*ms + ms/2}
		}
		for _, n := range lost {
			ps[n].arrived = never
		}
		return ps
	}
	began := time.Unix(1000, 0)
	for _, c := range []struct {
		name    string
		packets []packet
		lo, hi  int
		want    []Outage
	}{
		{"none", arrivedUnless(), 0, 20, nil},
		{"one run of the odd flow", arrivedUnless(5, 7, 9), 0, 20, []Outage{
			{Flow: 1, First: 5, Last: 9, From: began.Add(5 * ms), To: began.Add(9 * ms), Lost: 3, Gap: 8 * ms, Ended: true},
		}},
		{"two runs", arrivedUnless(5, 9), 0, 20, []Outage{
			{Flow: 1, First: 5, Last: 5, From: began.Add(5 * ms), To: began.Add(5 * ms), Lost: 1, Gap: 4 * ms, Ended: true},
			{Flow: 1, First: 9, Last: 9, From: began.Add(9 * ms), To: began.Add(9 * ms), Lost: 1, Gap: 4 * ms, Ended: true},
		}},
		{"not ended", arrivedUnless(17, 19), 0, 20, []Outage{
			{Flow: 1, First: 17, Last: 19, From: began.Add(17 * ms), To: began.Add(19 * ms), Lost: 2, Gap: 4 * ms},
		}},
		{"from the start", arrivedUnless(1, 3), 0, 20, []Outage{
			{Flow: 1, First: 1, Last: 3, From: began.Add(ms), To: began.Add(3 * ms), Lost: 2, Gap: 4 * ms, Ended: true},
		}},
		{"period that ends within", arrivedUnless(5, 7, 9), 4, 8, []Outage{
			{Flow: 1, First: 5, Last: 7, From: began.Add(5 * ms), To: began.Add(7 * ms), Lost: 2, Gap: 8 * ms, Ended: true},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Stream{cfg: Config{Flows: 2}, start: began, log: newLedger(2)}
			s.log.packets = c.packets
			r := s.Report(began.Add(time.Duration(c.lo)*ms), began.Add(time.Duration(c.hi)*ms))
			if len(r.Outages) != len(c.want) {
				t.Fatalf("got %+v, want %+v", r.Outages, c.want)
			}
			for i := range c.want {
				if r.Outages[i] != c.want[i] {
					t.Errorf("outage %d: got %+v, want %+v", i, r.Outages[i], c.want[i])
				}
			}
		})
	}
}
