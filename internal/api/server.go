package api

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSocket is where the daemon listens and the command line asks.
const DefaultSocket = "/run/wgbgpd/wgbgpd.sock"

// Limits of the server. Answers may be large (a RIB), requests are always
// small.
const (
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	maxConns       = 256
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	endTimeout     = 2 * time.Second // for requests under way when Serve ends
)

// timeouts are the limits a test wants to reach without waiting for them.
type timeouts struct {
	body      time.Duration // to read a whole request
	write     time.Duration // to write a whole answer
	event     time.Duration // for one write to an event reader
	keepalive time.Duration // between signs of life to an event reader
}

var defaultTimeouts = timeouts{
	body: 10 * time.Second, write: time.Minute, event: 5 * time.Second, keepalive: 15 * time.Second,
}

// Options are the settings of a server.
type Options struct {
	SocketPath string
	Mode       fs.FileMode // 0: 0660
	Group      string      // group name or number that owns the socket, empty: the daemon's
	Log        *slog.Logger
}

// Server serves a Backend on a unix socket.
type Server struct {
	backend  Backend
	opt      Options
	log      *slog.Logger
	ready    chan struct{}
	once     sync.Once
	streams  atomic.Int32
	timeouts timeouts
}

// NewServer prepares a server; nothing is opened before Serve.
func NewServer(b Backend, o Options) *Server {
	if o.SocketPath == "" {
		o.SocketPath = DefaultSocket
	}
	if o.Mode == 0 {
		o.Mode = 0o660
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, opt: o, log: o.Log, ready: make(chan struct{}), timeouts: defaultTimeouts}
}

// Ready is closed once the socket accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Serve listens until ctx ends, then lets requests under way finish for a
// moment. It fails when another daemon answers on the socket.
func (s *Server) Serve(ctx context.Context) error {
	l, err := listen(s.opt)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	// Event streams end when base does, before Shutdown waits for them.
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       s.timeouts.body,
		WriteTimeout:      s.timeouts.write,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withCaller,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	s.once.Do(func() { close(s.ready) })
	select {
	case err = <-done:
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.Background(), endTimeout)
	defer stop()
	if err := srv.Shutdown(end); err != nil {
		_ = srv.Close()
	}
	<-done
	return nil
}
