// Package speaker is the BGP edge: it embeds GoBGP v4 and is the only importer
// of it.
//
// Apply takes the whole wanted set of neighbors and announcements and changes
// only the difference; what neighbors send comes back through a Sink. GoBGP is
// used as a protocol engine, never as a router: its import policy refuses every
// learned path, so that nothing learned can leak or hide an announcement, and
// its export policy refuses every announcement that is not addressed to the
// neighbor's group. Learned paths are read before policy and judged by
// bgp.ImportPolicy. Start reading at Speaker.Apply, then policy.go (how a
// neighbor is told exactly its share) and adjin.go (what a neighbor sent).
package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/wgbgp/wgbgp/bgp"
)

// Config is fixed for the life of a Speaker.
type Config struct {
	ASN        bgp.ASN
	RouterID   netip.Addr   // IPv4
	ListenPort int          // 0: 179 (RFC 4271 section 8), -1: no listener
	Listen     []netip.Addr // empty: every address of the host
	// ListenDevice is a VRF that the listener is bound to: it hears only
	// neighbors inside, and leaves the port of other VRFs to others.
	ListenDevice string
	Logger       *slog.Logger // nil: discard
	Sink         Sink         // nil: nobody is told

	// CallTimeout bounds one call into GoBGP, which ignores contexts. 0: 10 s.
	CallTimeout time.Duration
	// OnWedged is told, once per occurrence, that a call into GoBGP did not
	// return in time; the process should then be restarted. May be nil.
	OnWedged func(call string)
	// OnLosing is told that a neighbor's session ends and that its paths are about to
	// be taken back; Sink follows. May be nil.
	OnLosing func(neighbor string)
	// MaxPrefixRetry is the first pause after a neighbor exceeded its limit; it
	// doubles up to 30 times that. 0: 30 s, hence at most 15 minutes.
	MaxPrefixRetry time.Duration
	// OpenWait is how long a connection may stay without the neighbor's OPEN and
	// KEEPALIVE before it is given up; 0: 15 s. GoBGP waits four minutes (RFC
	// 4271 section 8.2.2) and closes every new connection meanwhile.
	OpenWait time.Duration
	// Refusals reads the kernel's counters of segments dropped for TCP MD5 and TTL
	// security. Nil: from /proc.
	Refusals func() bgp.Refusals
}

// Sink receives what neighbors do. All methods are called from one goroutine
// of the speaker. A slow sink delays nobody: changes to one prefix that it has
// not taken yet are merged into the newest.
type Sink interface {
	Paths(changes []bgp.PathChange) // sorted by neighbor, then prefix
	Neighbor(bgp.NeighborState)     // after the paths it refers to
	Rejected(bgp.Rejected)          // a path that is newly refused, or for another reason
}

// Speaker is one BGP speaker. Its methods may be called from any goroutine.
type Speaker struct {
	cfg    Config
	log    *slog.Logger
	server *server.BgpServer
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// op serialises everything that changes GoBGP. It guards the next fields
	// and is never taken by the watcher.
	op      sync.Mutex
	started bool
	stopped bool
	asked   []bgp.Announcement        // as last applied without failures: the quick compare
	have    []bgp.Announcement        // what GoBGP holds, sorted by prefix
	wanted  []bgp.Neighbor            // as last asked, sorted by name
	retry   map[string]string         // neighbors that could not be configured, with why
	moved   map[string]struct{}       // neighbors still to be told anew
	model   model                     // what the installed policies say
	silent  map[netip.Prefix]struct{} // withdrawn paths still held by GoBGP, see forget
	use     []bgp.Neighbor            // the usable ones of wanted, sorted by name
	placed  bool                      // the placeholder is among GoBGP's neighbors, see restart.go
	wedge   wedge
	seen    atomic.Uint64 // events taken by the watcher; nobody acts on it, see engineLog

	// mu guards what the watcher writes. It is never held over a call into
	// GoBGP or the sink.
	mu       sync.Mutex
	byName   map[string]*session
	byAddr   map[netip.Addr]*session
	pool     pool
	out      outbox
	visited  bool      // sessions of ranges came or went, see ranges.go
	evicting []visitor // to be taken out of GoBGP
	wrote    time.Time // when announcements were last handed to GoBGP

	mostTold int // most announcements there ever were: no neighbor can send more of them back

	polled string // last neighbor that was, of the timers alone

	kickSink, kickTimer chan struct{}
}

// New makes a speaker; Start runs it.
func New(cfg Config) (*Speaker, error) {
	switch {
	case cfg.ASN == 0 || cfg.ASN == 23456: // RFC 6793 section 9: AS_TRANS is reserved
		return nil, fmt.Errorf("bgp: ASN %d can not be used", cfg.ASN)
	case !cfg.RouterID.Is4() || cfg.RouterID.IsUnspecified():
		return nil, fmt.Errorf("bgp: router ID %s: want an IPv4 address", cfg.RouterID)
	case cfg.ListenPort < -1 || cfg.ListenPort > 65535:
		return nil, fmt.Errorf("bgp: listen port %d out of range", cfg.ListenPort)
	}
	if cfg.ListenPort == 0 {
		cfg.ListenPort = 179
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = 10 * time.Second
	}
	if cfg.MaxPrefixRetry == 0 {
		cfg.MaxPrefixRetry = 30 * time.Second
	}
	if cfg.Refusals == nil {
		cfg.Refusals = readRefusals
	}
	if cfg.OpenWait == 0 {
		cfg.OpenWait = 15 * time.Second
	}
	return &Speaker{
		cfg:       cfg,
		log:       cfg.Logger.With("edge", "bgp"),
		retry:     map[string]string{},
		moved:     map[string]struct{}{},
		model:     newModel(),
		silent:    map[netip.Prefix]struct{}{},
		byName:    map[string]*session{},
		byAddr:    map[netip.Addr]*session{},
		pool:      pool{},
		out:       newOutbox(),
		kickSink:  make(chan struct{}, 1),
		kickTimer: make(chan struct{}, 1),
	}, nil
}

// Start opens the listener and makes the engine ready. Nothing is announced
// and nobody is dialled before the first Apply. It can be called once.
func (s *Speaker) Start(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	if s.started {
		return errors.New("bgp: started twice")
	}
	s.started = true
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn) // its lower levels repeat what we log ourselves
	s.server = server.NewBgpServer(server.LoggerOption(slog.New(engineLog{Handler: s.log.Handler(), level: level, seen: &s.seen, lost: s.losing, expired: s.expired}), level))
	go s.server.Serve() // ends with StopBgp

	global := &api.Global{
		Asn: uint32(s.cfg.ASN), RouterId: s.cfg.RouterID.String(), ListenPort: int32(s.cfg.ListenPort),
		ListenAddresses: s.listenAddresses(), BindToDevice: s.cfg.ListenDevice,
	}
	if err := s.call("StartBgp", func() error {
		return s.server.StartBgp(ctx, &api.StartBgpRequest{Global: global})
	}); err != nil {
		if s.cfg.ListenDevice != "" {
			return fmt.Errorf("bgp: listen on port %d in VRF %s, which must exist: %w", s.cfg.ListenPort, s.cfg.ListenDevice, err)
		}
		return fmt.Errorf("bgp: listen on port %d: %w", s.cfg.ListenPort, err)
	}
	if err := s.installFirstPolicies(); err != nil {
		return fmt.Errorf("bgp: install default deny: %w", err)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	if err := s.watch(ctx); err != nil {
		return fmt.Errorf("bgp: watch neighbors: %w", err)
	}
	s.tasks.Go(func() { s.runSink(ctx) })
	s.tasks.Go(func() { s.runTimers(ctx) })
	return nil
}

// listenAddresses leaves the IPv6 wildcard out on a host without IPv6, where
// opening it would make the whole start fail.
func (s *Speaker) listenAddresses() []string {
	if s.cfg.ListenPort < 0 {
		return nil
	}
	var out []string
	for _, a := range s.cfg.Listen {
		out = append(out, a.String())
	}
	if out == nil {
		out = []string{"0.0.0.0"}
		if l, err := net.Listen("tcp6", "[::]:0"); err == nil {
			_ = l.Close()
			out = append(out, "::")
		}
	}
	return out
}

// Stop ends the tasks of the speaker. Orderly sends every neighbor a Cease
// (RFC 4486), after which it drops our paths at once; otherwise sessions stay
// up until the process exits, so that a helper of graceful restart keeps them.
func (s *Speaker) Stop(orderly bool) error {
	s.op.Lock()
	if !s.started || s.stopped {
		s.op.Unlock()
		return nil
	}
	s.stopped = true
	var err error
	if orderly {
		err = s.call("StopBgp", func() error { return s.server.StopBgp(context.Background(), &api.StopBgpRequest{}) })
	}
	s.op.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.tasks.Wait()
	}
	return err
}

// engineLog passes GoBGP's warnings on as debug messages: what matters to an
// operator is logged by this package with stable keys.
//
// It also carries seen, for the race detector's sake only. GoBGP v4.8.0 has a data
// race that can not be mended from here: when a session with graceful restart
// ends, its goroutine writes the stale flag of every path the neighbor sent
// (AdjRib.StaleAll; a clone shares the flag with its original), while the watcher
// may be turning one of these paths into an event, which reads the flag
// (toPathApiUtil), and no lock is common to both. The watcher ends every event
// with a write to seen and the session's goroutine, which logs the loss before it
// writes, reads it in Enabled: events handled by then are ordered before the
// write and not reported. An event still in the queue at that moment remains a
// true race, on one bool. Nothing in this package reads the flag that GoBGP
// hands out (apiutil.Path.Stale): stale paths are known from the session's end
// and End-of-RIB alone (adjin.go), so the race can not change an outcome.
type engineLog struct {
	slog.Handler
	level slog.Leveler
	seen  *atomic.Uint64
	lost  func(neighbor netip.Addr, reason string) // see Speaker.losing
	// expired is told of a hold timer, see Speaker.expired.
	expired func(neighbor netip.Addr)
	key     netip.Addr // the neighbor that this logger is about, invalid: none
}

// What GoBGP logs, at level info, before it begins to drop what a neighbor sent,
// and as a warning when a hold timer runs out.
const (
	engineExpired  = "hold timer expired"
	engineKey      = "Key"
	engineDown     = "Peer Down"
	engineReason   = "Reason"
	engineGraceful = "graceful-restart"
)

func (h engineLog) Enabled(ctx context.Context, l slog.Level) bool {
	_ = h.seen.Load()
	return h.key.IsValid() && (l == slog.LevelInfo || l == slog.LevelWarn) || h.passes(ctx, l)
}

func (h engineLog) passes(ctx context.Context, l slog.Level) bool {
	return l >= h.level.Level() && h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h engineLog) Handle(ctx context.Context, r slog.Record) error {
	if h.key.IsValid() && r.Message == engineDown {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key != engineReason {
				return true
			}
			h.lost(h.key, a.Value.String())
			return false
		})
	}
	if h.key.IsValid() && r.Message == engineExpired {
		h.expired(h.key)
	}
	if !h.passes(ctx, r.Level) {
		return nil
	}
	r = r.Clone()
	r.Level, r.Message = slog.LevelDebug, "gobgp: "+r.Message
	return h.Handler.Handle(ctx, r)
}

func (h engineLog) WithAttrs(a []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(a)
	for i := range a {
		if a[i].Key == engineKey {
			h.key, _ = netip.ParseAddr(a[i].Value.String())
		}
	}
	return h
}

func (h engineLog) WithGroup(n string) slog.Handler {
	h.Handler = h.Handler.WithGroup(n)
	return h
}
