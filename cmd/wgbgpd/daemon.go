package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
	"github.com/wgbgp/wgbgp/internal/metrics"
	"github.com/wgbgp/wgbgp/internal/version"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
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
func serve(file string, cfg *configs.Config, stores *stores, warnings configs.Problems, stderr io.Writer) error {
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
	requests := &ec2api.Counters{}
	found := newDiscovery(cfg, in, journal, g.gre.Addresses(), requests, log)
	l := &loop{
		log: log, inbox: in, events: journal, config: cfg, asks: make(chan func(time.Time)),
		core: ha.New(time.Now(), cfg.Core), beat: watchdog(), memory: newMemory(), board: healthz.NewBoard(),
	}
	for _, e := range g.edges() {
		l.edges = append(l.edges, e)
	}
	routes := newAWSRoutes(journal, requests, log)
	l.losses = newLosses(g.fib.Lose, log)
	routes.set(cfg)
	l.edges = append(l.edges, routes)
	door := newEntrance(cfg, l.board, journal.event, requests, log)
	l.leaves = door.leaves
	health := healthz.New(healthz.Options{Board: l.board, Log: log})
	health.Set(cfg.Health.Config)
	dr := &drainer{loop: l, file: filepath.Join(cfg.StateDir, "drain.json"), packets: packetsIn, front: door.runner}
	if err := dr.resume(); err != nil {
		log.Warn("drain", "err", err)
	}
	l.life = newLifeline(cfg.StateDir, l)
	l.life.resume(cfg.Core)
	b := &backend{
		loop: l, restart: make(chan struct{}, 1), discovery: found, drainer: dr, awsRoutes: routes, entrance: door, requests: requests,
		health: health, gateway: g, stores: stores,
		file: file, level: &level, started: time.Now(), loaded: time.Now(),
	}
	b.kept.file = filepath.Join(cfg.StateDir, "orders.json")
	if err := b.kept.resume(l, &b.orders); err != nil {
		log.Warn("orders", "reason", "not-kept", "err", err)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := g.speaker.Start(ctx); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return l.run(ctx) })
	tasks.Go(func() error { return l.losses.run(ctx) })
	tasks.Go(func() error { return g.observe(ctx) })
	tasks.Go(func() error { return g.watchUnderlay(ctx, underlayEvery) })
	tasks.Go(func() error { return g.probes.Run(ctx) })
	tasks.Go(func() error { return g.bfd.Run(ctx) })
	tasks.Go(func() error { return g.fleet.Run(ctx) })
	tasks.Go(func() error { return g.lookout.run(ctx) })
	tasks.Go(func() error { return routes.run(ctx) })
	tasks.Go(func() error { return door.run(ctx) })
	for _, e := range g.edges() {
		tasks.Go(func() error { return e.run(ctx) })
	}
	server := api.NewServer(b, api.Options{SocketPath: cfg.API.Socket, Mode: cfg.API.Mode, Group: cfg.API.Group, Log: log})
	tasks.Go(func() error { return server.Serve(ctx) })
	if cfg.Metrics.IsValid() {
		tasks.Go(func() error { return metrics.Serve(ctx, cfg.Metrics, b, log) })
	}
	tasks.Go(func() error { return found.run(ctx) })
	tasks.Go(func() error { return health.Run(ctx) })
	tasks.Go(func() error { return b.renewSecrets(ctx) })
	tasks.Go(func() error { return l.life.run(ctx) })
	tasks.Go(func() error { return signals(ctx, stop, b, g.fatal) })

	journal.system("start", version.Get().Version)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	err = tasks.Wait()
	if err == nil {
		l.life.cut() // nobody keeps anything
	}
	g.close(err == nil)
	journal.system("stop", "")
	return err
}

// signals follows the operator: SIGHUP reloads, SIGTERM and SIGINT leave in
// order, SIGUSR2 hands over to the next process, a second one ends at once.
func signals(ctx context.Context, stop context.CancelFunc, b *backend, fatal <-chan error) error {
	reload, end, over := make(chan os.Signal, 1), make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(over, syscall.SIGUSR2)
	defer signal.Stop(reload)
	defer signal.Stop(over)
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
			b.drainer.leave(ctx, end)
			return nil
		case <-over:
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			b.drainer.handOver(ctx, end)
			return errHandOver
		case <-b.restart:
			if b.drainer.handOver(ctx, end) {
				return nil // told to end meanwhile
			}
			return errReplace
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
