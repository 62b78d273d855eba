package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/live"
	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// run plays the world described by file until SIGTERM. SIGHUP makes the world
// anew from the file.
func run(file string, log *slog.Logger) error {
	f, err := live.ReadFile(file)
	if err != nil {
		return err
	}
	w := world.New(f.Region, time.Now)
	var place live.Place
	w.Do(func(s *world.State) { place, err = f.Build(s, time.Now()) })
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	n, err := network.New(f.Events, log)
	if err != nil {
		return err
	}
	l := live.New(w, n, place)
	api := tgwsim.NewServer(w, tgwsim.Options{Logger: log})
	services.Add(api)
	checker := services.NewChecker(w)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return l.Run(ctx) })
	tasks.Go(func() error { return api.Run(ctx) })
	tasks.Go(func() error { return checker.Run(ctx) })
	tasks.Go(func() error { return reload(ctx, file, l, log) })
	tasks.Go(func() error { return serve(ctx, "unix", f.Control, control(api, l)) })
	if f.API != "" {
		tasks.Go(func() error { return serve(ctx, "tcp", f.API, api) })
	}
	if f.Metadata != "" {
		if err := haveAddress(f.Metadata); err != nil {
			return err
		}
		tasks.Go(func() error { return serve(ctx, "tcp", f.Metadata, metadata(w)) })
	}
	return tasks.Wait()
}

func reload(ctx context.Context, file string, l *live.Network, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		f, err := live.ReadFile(file)
		if err == nil {
			err = l.Rebuild(f)
		}
		if err != nil {
			log.Error("reload", "err", err)
		}
	}
}

func serve(ctx context.Context, network, address string, h http.Handler) error {
	if network == "unix" {
		_ = os.Remove(address) // of one that was killed
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
