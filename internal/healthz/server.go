package healthz

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Path is where HTTP answers; everything else is 404.
const Path = "/healthz"

// Config is where to answer whom.
type Config struct {
	HTTP []netip.AddrPort // unspecified addresses mean every address of the family
	TCP  []netip.AddrPort // open while this host forwards, closed otherwise
	From []netip.Prefix   // who may ask; empty: everybody
}

// Options of a Server.
type Options struct {
	Board *Board
	Log   *slog.Logger
	// Retry is the pause after an address could not be listened on; 0: 1 s.
	Retry time.Duration
}

// Server listens as its configuration says and answers from a Board.
type Server struct {
	opt  Options
	kick chan struct{}
	http *http.Server

	mu   sync.Mutex
	cfg  Config
	open map[key]net.Listener
	said map[key]string // last complaint
}

type key struct {
	addr netip.AddrPort
	tcp  bool
}

// limits of one asker: a health check is one small request. An idle connection
// lives longer than the longest interval of Route 53 and Global Accelerator (30 s).
const (
	requestTimeout = 5 * time.Second
	idleTimeout    = 65 * time.Second
	maxHeader      = 8 << 10
	maxConns       = 256 // per address
)

// New makes a server that listens nowhere until Set and Run.
func New(opt Options) *Server {
	if opt.Retry == 0 {
		opt.Retry = time.Second
	}
	s := &Server{opt: opt, kick: make(chan struct{}, 1), open: map[key]net.Listener{}, said: map[key]string{}}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(opt.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Set replaces the configuration. Addresses that stay are not touched.
func (s *Server) Set(cfg Config) {
	s.mu.Lock()
	s.cfg = cfg
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run listens until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	t := time.NewTicker(s.opt.Retry)
	defer t.Stop()
	for {
		s.adjust()
		select {
		case <-ctx.Done():
			s.Set(Config{})
			s.adjust()
			// Serve may not yet have noticed that its listener is closed; Close then closes it again.
			if err := s.http.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		case <-s.kick:
		case <-s.opt.Board.changed:
		case <-t.C: // an address that came late, a verdict that stalled
		}
	}
}

// adjust opens what is wanted and closes what is not.
func (s *Server) adjust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[key]bool{}
	for _, a := range s.cfg.HTTP {
		want[key{a, false}] = true
	}
	if len(s.cfg.TCP) > 0 && s.opt.Board.Get().Forwarding {
		for _, a := range s.cfg.TCP {
			want[key{a, true}] = true
		}
	}
	for k, l := range s.open {
		if !want[k] {
			_ = l.Close()
			delete(s.open, k)
		}
	}
	for k := range want {
		if s.open[k] != nil {
			continue
		}
		l, err := listen(k.addr)
		if err != nil {
			if s.said[k] != err.Error() {
				s.opt.Log.Warn("health check", "edge", "health", "reason", "can not listen", "err", err)
			}
			s.said[k] = err.Error()
			continue
		}
		delete(s.said, k)
		s.open[k] = l
		if l := (&guard{Listener: l, server: s, slots: make(chan struct{}, maxConns)}); k.tcp {
			go accept(l)
		} else {
			go func() { _ = s.http.Serve(l) }()
		}
	}
}

// listen takes "0.0.0.0" as IPv4 only and "::" as IPv6 only, so that both can
// stand beside each other.
func listen(a netip.AddrPort) (net.Listener, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6"
	}
	return net.Listen(network, a.String())
}

// accept greets and hangs up: the connection itself is the answer.
func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

// ServeHTTP answers GET and HEAD of Path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Path {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	v := s.opt.Board.Get()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !v.Forwarding {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(v)
	}
}

// guard lets in who may ask, and not too many at once.
type guard struct {
	net.Listener
	server *Server
	slots  chan struct{}
}

// Accept returns the next welcome connection.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			time.Sleep(10 * time.Millisecond) // out of file descriptors
			continue
		}
		if g.server.welcome(c.RemoteAddr()) {
			select {
			case g.slots <- struct{}{}:
				return &conn{Conn: c, free: sync.OnceFunc(func() { <-g.slots })}, nil
			default:
			}
		}
		_ = c.Close()
	}
}

type conn struct {
	net.Conn
	free func()
}

// Close gives the slot back.
func (c *conn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

func (s *Server) welcome(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	s.mu.Lock()
	from := s.cfg.From
	s.mu.Unlock()
	ip := ap.Addr().Unmap().WithZone("")
	return len(from) == 0 || err == nil && slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(ip) })
}
