package fib

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// Options are fixed for the life of a FIB.
type Options struct {
	Logger *slog.Logger // nil: silent
	// MonitorBuffer is the receive buffer of the event socket in bytes, 0: 4 MiB.
	MonitorBuffer int
	// NextHopBase is the first id of our next-hop objects, 0: derived from the
	// table. Two gateways in one namespace need ranges a hundred thousand apart.
	NextHopBase uint32
	// VRF is where the gateway lives; its nftables table is named after it.
	VRF string
}

// FIB is the kernel's forwarding table as far as it is ours. Methods may be
// called from any goroutine; it works in the network namespace of the thread
// that called New.
type FIB struct {
	log  *slog.Logger
	opts Options
	mon  *monitor
	nft  *nft

	count   Counters
	buckets uint16 // of the groups we make, 0: the kernel has no resilient ones

	losing atomic.Int32 // Lose waits for mu

	mu    sync.Mutex
	conn  *conn
	frame frame
	past  []frame // earlier frames of this process, to be swept
	vrf   int32   // index of the frame's VRF device, 0: none

	want     []bgp.Route
	lost     []bgp.NextHop
	lostGen  uint64 // see Lose
	complete bool
	gen      uint64

	t           *tables
	cells       []cell
	spare       []cell // the cells before, reused
	strays      []stray
	foreignOwn  []kroute // routes of others in our table
	foreignMain []kroute // routes in main, which is consulted before ours
	errs        map[int32]error
	puts        []put // of the present batch
	regroups    []regroup

	sources    bool // a wanted route has a preferred source
	known      bool // a readback succeeded and nothing contradicts it
	rulesDirty bool
	mainDirty  bool
	unfinished bool // the last write left something to do
	suspect    bool // an answer shows that the mirror is wrong
	refused    bool // a next hop was refused in this write
	last       bgp.RoutesApplied
}

// frame is where the routes live.
type frame struct {
	table    uint32
	vrf      string
	protocol uint8
	pref     uint32
	mark     uint32
}

// rules says whether policy rules must lead to the table.
func (f frame) rules() bool {
	return f.vrf == "" && f.table != unix.RT_TABLE_MAIN && f.table != unix.RT_TABLE_UNSPEC
}

// New opens the sockets and starts listening. It changes nothing in the kernel.
func New(o Options) (*FIB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	f := &FIB{log: o.Logger.With("edge", "fib"), opts: o, conn: c, errs: map[int32]error{}}
	if f.buckets, err = c.probeBuckets(); err != nil {
		c.close()
		return nil, err
	}
	if f.buckets == 0 {
		f.log.Info("the kernel has no resilient next-hop groups: losing one next hop of several moves flows between the others too")
	}
	if f.mon, err = newMonitor(c.pid, o.MonitorBuffer, &f.count); err != nil {
		c.close()
		return nil, err
	}
	if f.nft, err = newNFT(f.log, o.VRF); err != nil {
		f.mon.close()
		c.close()
		return nil, err
	}
	return f, nil
}

// Close stops listening. Routes, rules and objects stay where they are.
func (f *FIB) Close() error {
	f.mon.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.close()
	return f.nft.close()
}

// Events says "look again": somebody else changed something of ours, or a
// device or route changed that decides about one. Answer with Resync, or with
// the next Apply. Missed and doubled signals do no harm.
func (f *FIB) Events() <-chan struct{} { return f.mon.events }

// Underlay says "look again" where packets go that no specific route leads: a
// default route of any table, a device, an address or a rule changed. The kernel
// tells of a device before it takes the routes away that went by it.
func (f *FIB) Underlay() <-chan struct{} { return f.mon.underlay }

// Apply makes the kernel hold the wanted set and reports what is now true. The
// routes of want are kept and must not be changed afterwards; plans that share
// NextHops slices between routes are compared fastest. What is already so is
// not written.
func (f *FIB) Apply(ctx context.Context, gen uint64, want bgp.FIB) bgp.RoutesApplied {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reframe(want)
	f.gen = gen
	if gen > f.lostGen {
		f.lost = want.Lost
		f.unfinished = f.known && f.t.mark(f.lost) || f.unfinished
	}
	if want.Complete != f.complete {
		f.complete, f.unfinished = want.Complete, true
	}
	return f.apply(ctx, want.Routes)
}

// Resync forgets what it believes, reads the kernel back and repairs what
// differs from the last wanted set. Before the first Apply it does nothing.
func (f *FIB) Resync(ctx context.Context) bgp.RoutesApplied {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frame == (frame{}) {
		return bgp.RoutesApplied{}
	}
	f.known = false
	return f.apply(ctx, f.want)
}

// Repair is the answer to Events: it looks again only at what the events since
// the last look were about. It is Resync at a fraction of the price.
func (f *FIB) Repair(ctx context.Context) bgp.RoutesApplied {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frame == (frame{}) {
		return bgp.RoutesApplied{}
	}
	return f.apply(ctx, f.want)
}

// reframe notes where the wanted routes live.
func (f *FIB) reframe(want bgp.FIB) {
	fr := frame{want.Table, want.VRF, want.Protocol, want.RulePref, want.Mark}
	if fr.protocol == 0 {
		fr.protocol = unix.RTPROT_BGP
	}
	if fr == f.frame {
		return
	}
	if f.frame != (frame{}) && f.frame.table != fr.table {
		f.past = append(f.past, f.frame)
	}
	f.past = slices.DeleteFunc(f.past, func(p frame) bool { return p.table == fr.table })
	f.frame = fr
	f.want, f.cells, f.strays, f.known = nil, nil, nil, false
	f.mon.setTable(fr, f.idBase())
}

func (f *FIB) idBase() uint32 {
	if f.opts.NextHopBase != 0 {
		return f.opts.NextHopBase
	}
	return baseFor(f.frame.table)
}

func (f *FIB) apply(ctx context.Context, routes []bgp.Route) bgp.RoutesApplied {
	err := f.converge(ctx, routes)
	if err != nil {
		f.known = false
		f.log.Error("routes not applied", "gen", f.gen, "err", err)
		f.last = bgp.RoutesApplied{Gen: f.gen, Err: err.Error()}
	}
	f.last.Gen = f.gen
	return f.last
}

// converge reads back if needed, merges and writes. When an answer contradicts
// the mirror it does so once more, then leaves the rest for the next look.
func (f *FIB) converge(ctx context.Context, routes []bgp.Route) error {
	if err := f.check(routes); err != nil {
		return err
	}
	for pass := range 2 {
		f.takeDirt()
		if !f.known {
			if err := f.readback(ctx); err != nil {
				return err
			}
			f.known = true
		}
		if f.mainDirty {
			if err := f.readMain(ctx); err != nil {
				return err
			}
			f.unfinished = true
			f.reduceAgain()
		}
		if f.adopt(routes) {
			f.unfinished = true
		}
		f.mon.setWant(f.want, f.addressesMatter(), f.namesDevices())
		if f.rulesDirty {
			if err := f.ensureRules(ctx); err != nil {
				return err
			}
			f.rulesDirty = false
		}
		if !f.unfinished {
			return nil
		}
		f.suspect = false
		if err := f.write(ctx); err != nil {
			return err
		}
		f.unfinished = f.suspect || len(f.errs) > 0
		f.mon.setWant(f.want, f.addressesMatter(), f.namesDevices())
		if !f.suspect {
			break
		}
		f.known = false
		f.log.Info("kernel differs from what was believed, reading it back", "pass", pass)
	}
	if f.complete && len(f.past) > 0 {
		if err := f.sweepPast(ctx); err != nil {
			return err
		}
	}
	f.last = f.report()
	return nil
}

// takeDirt fetches what the monitor saw since the last look.
func (f *FIB) takeDirt() {
	d := f.mon.take()
	f.known = f.known && d&dirtAll == 0
	f.rulesDirty = f.rulesDirty || d&dirtRules != 0
	f.mainDirty = f.mainDirty || d&dirtMain != 0
}

// reduceAgain works out again what sets come down to that depend on a lookup.
func (f *FIB) reduceAgain() {
	for i := range f.t.sets {
		s := &f.t.sets[i]
		if slices.ContainsFunc(s.nhs, deviceless) {
			f.t.reduce(s)
		}
	}
}

func deviceless(n bgp.NextHop) bool { return n.Device == "" }

// namesDevices says whether no next hop depends on a lookup.
func (f *FIB) namesDevices() bool {
	return !slices.ContainsFunc(f.t.sets, func(s set) bool { return slices.ContainsFunc(s.nhs, deviceless) })
}

// addressesMatter says whether a local address that comes or goes may decide
// about a route: as preferred source, or because something was refused.
func (f *FIB) addressesMatter() bool {
	return f.sources || len(f.errs) > 0 || slices.ContainsFunc(f.t.sets, func(s set) bool {
		return s.content < 0 && s.status == bgp.RouteFailed
	})
}

// check refuses a set that breaks the contract, which would make the merge
// silently wrong. What was in the last set at the same place is in order.
func (f *FIB) check(routes []bgp.Route) error {
	if sameRoutes(f.want, routes) {
		return nil
	}
	j := 0
	for i := range routes {
		r := &routes[i]
		if j < len(f.want) && f.want[j].Prefix == r.Prefix && f.want[j].Metric == r.Metric && (i == 0 || j > 0 && f.want[j-1].Prefix == routes[i-1].Prefix && f.want[j-1].Metric == routes[i-1].Metric) {
			j++
			continue
		}
		if !r.Prefix.IsValid() || r.Prefix.Masked() != r.Prefix || r.Prefix.Addr().Is4In6() {
			return fmt.Errorf("wanted route %d: bad prefix %s", i, r.Prefix)
		}
		if i > 0 && compareKey(&routes[i-1], r.Prefix, metricOf(r)) >= 0 {
			return fmt.Errorf("wanted routes are not sorted at %s metric %d", r.Prefix, r.Metric)
		}
		for j < len(f.want) && compareKey(&f.want[j], r.Prefix, metricOf(r)) <= 0 {
			j++
		}
	}
	return nil
}

// Counters count since New.
type Counters struct {
	Writes    atomic.Uint64 // requests that change the kernel
	Batches   atomic.Uint64 // sendmsg calls they took
	Errors    atomic.Uint64 // requests the kernel refused
	Resyncs   atomic.Uint64 // complete readbacks
	Overflows atomic.Uint64 // event buffer overflows (ENOBUFS)
	Events    atomic.Uint64 // events that mattered
	SourceOps atomic.Uint64 // nftables set elements written
}

// Counters returns live counters for reading.
func (f *FIB) Counters() *Counters { return &f.count }
