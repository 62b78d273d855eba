package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
)

// tunnel plays the GRE end of a gateway whose BGP is somebody else's: it makes the
// tunnel described by the JSON in file (tgwconnect.Tunnel) and keeps it until
// SIGTERM.
func tunnel(file string, log *slog.Logger) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var t tgwconnect.Tunnel
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	m, err := gre.New(gre.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for _, s := range m.Apply(ctx, 1, []tgwconnect.Tunnel{t}, true) {
		if !s.Up {
			return fmt.Errorf("tunnel %s: %s", s.Name, s.Err)
		}
	}
	<-ctx.Done()
	return nil
}
