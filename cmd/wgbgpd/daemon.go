package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/version"
)

// logger writes to w as the configuration asks.
func logger(cfg *configs.Config, level *slog.LevelVar, w io.Writer) *slog.Logger {
	level.Set(cfg.Log.Level)
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// serve runs the daemon until a signal ends it. The warnings are those of the
// configuration.
func serve(file string, cfg *configs.Config, warnings configs.Problems, stderr io.Writer) error {
	var level slog.LevelVar
	log := logger(cfg, &level, stderr)
	for _, w := range warnings {
		log.Warn("config", "reason", w.Code, "detail", w.String())
	}
	journal := &journal{log: log, out: api.NewEventLog(4096)}
	in := newInbox()
	g, err := newGateway(cfg, in, journal, log)
	if err != nil {
		return err
	}
	l := &loop{
		log: log, inbox: in, events: journal, config: cfg, asks: make(chan func(time.Time)),
		core: ha.New(time.Now(), cfg.Core), beat: watchdog(),
	}
	for _, e := range g.edges() {
		l.edges = append(l.edges, e)
	}
	b := &backend{loop: l, gateway: g, file: file, level: &level, started: time.Now(), loaded: time.Now()}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := g.speaker.Start(ctx); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return l.run(ctx) })
	tasks.Go(func() error { return g.observe(ctx) })
	tasks.Go(func() error { return g.probes.Run(ctx) })
	for _, e := range g.edges() {
		tasks.Go(func() error { return e.run(ctx) })
	}
	server := api.NewServer(b, api.Options{SocketPath: cfg.API.Socket, Mode: cfg.API.Mode, Group: cfg.API.Group, Log: log})
	tasks.Go(func() error { return server.Serve(ctx) })
	tasks.Go(func() error { return signals(ctx, stop, l, b, g.fatal) })

	journal.system("start", version.Get().Version)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	err = tasks.Wait()
	g.close(err == nil)
	journal.system("stop", "")
	return err
}

// signals follows the operator: SIGHUP reloads, SIGTERM and SIGINT leave in
// order, a second one at once.
func signals(ctx context.Context, stop context.CancelFunc, l *loop, b *backend, fatal <-chan error) error {
	reload, end := make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(reload)
	defer signal.Stop(end)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-fatal:
			return err
		case <-reload:
			_, _ = b.Reload(ctx)
		case <-end:
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			l.leave(ctx, end)
			return nil
		}
	}
}

// watchdog returns what the loop calls on every turn: it tells systemd that the
// daemon decides, at most twice per interval that systemd waits for.
func watchdog() func() {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return func() {}
	}
	var last time.Time
	return func() {
		if now := time.Now(); now.Sub(last) >= interval/2 {
			last = now
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
	}
}
