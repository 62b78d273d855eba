package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"

	"github.com/wgbgp/wgbgp/internal/api"
)

// Source is the part of the daemon that is asked; api.Backend has it.
type Source interface {
	Status(ctx context.Context) (api.Status, error)
	Sites(ctx context.Context) ([]api.Site, error)
	Peers(ctx context.Context) ([]api.Peer, error)
	Neighbors(ctx context.Context) ([]api.Neighbor, error)
	Discovery(ctx context.Context) (api.Discovery, error)
}

const (
	path     = "/metrics"
	timeout  = 10 * time.Second // of a request, Prometheus' own default
	maxConns = 16
	retry    = time.Second
)

// Serve answers on addr until ctx ends. An address that the host does not have
// (yet) is tried again: metrics are no reason not to forward packets.
func Serve(ctx context.Context, addr netip.AddrPort, src Source, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler(src), ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	for said := ""; ctx.Err() == nil; {
		l, err := net.Listen("tcp", addr.String())
		if err == nil {
			err = server.Serve(netutil.LimitListener(l, maxConns))
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		if err.Error() != said {
			said = err.Error()
			log.Warn("metrics", "err", fmt.Errorf("listen for metrics: %w", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	return nil
}

func handler(src Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		a, err := ask(ctx, src)
		if err != nil {
			http.Error(w, "the daemon does not answer", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		_, _ = io.WriteString(w, Text(a))
	})
	return mux
}

func ask(ctx context.Context, src Source) (a Answers, err error) {
	var errs [5]error
	a.Status, errs[0] = src.Status(ctx)
	a.Sites, errs[1] = src.Sites(ctx)
	a.Peers, errs[2] = src.Peers(ctx)
	a.Neighbors, errs[3] = src.Neighbors(ctx)
	a.Discovery, errs[4] = src.Discovery(ctx)
	return a, errors.Join(errs[:]...)
}
