package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/healthz"
)

const small = `[gateway]
name = "gw"
asn = 65010
router-id = "192.0.2.1"

[[neighbor]]
name = "core"
address = "192.0.2.254"
asn = 65020
allow = ["10.0.0.0/8 le 24"]
`

// reloading is a backend whose loop runs and whose file is in dir. It has no
// edges: whatever passes validation must not get that far in these tests.
func reloading(t *testing.T) (b *backend, write func(text string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "wgbgpd.toml")
	write = func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(small)
	cfg, _, err := configs.Load(file, configs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	l := &loop{
		log: log, inbox: newInbox(), asks: make(chan func(time.Time)), beat: func() {}, config: cfg,
		events: &journal{log: log, out: api.NewEventLog(64)}, core: ha.New(time.Now(), cfg.Core),
		board: healthz.NewBoard(), losses: newLosses(nil, log),
	}
	go func() { _ = l.run(t.Context()) }()
	return &backend{
		loop: l, awsRoutes: newAWSRoutes(nil, nil, nil), entrance: newEntrance(cfg, l.board, l.events.event, nil, log),
		health: healthz.New(healthz.Options{Board: l.board, Log: log}), file: file, level: &slog.LevelVar{},
	}, write
}

func runningNow(t *testing.T, b *backend) *configs.Config {
	t.Helper()
	cfg, err := b.running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestReloadRefusesWhatNeedsARestart(t *testing.T) {
	for _, tt := range []struct{ what, old, now, key string }{
		{"ASN", "asn = 65010", "asn = 65011", "gateway asn"},
		{"router ID", `"192.0.2.1"`, `"192.0.2.9"`, "gateway router-id"},
		{"table", "[[neighbor]]", "[fib]\ntable = 77\n\n[[neighbor]]", "fib table"},
		{"state directory", "[gateway]", "state-dir = \"/run/elsewhere\"\n[gateway]", "state-dir"},
		{"socket", "[[neighbor]]", "[api]\nsocket = \"/run/other.sock\"\n\n[[neighbor]]", "api socket"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b, write := reloading(t)
			running := runningNow(t, b)
			// A change that could be taken over comes along: all or nothing.
			write(strings.Replace(strings.Replace(small, tt.old, tt.now, 1), "le 24", "le 16", 1))
			r, err := b.Reload(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.OK || r.Applied || len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Key, tt.key) || !strings.Contains(r.Errors[0].Cure, "restart") {
				t.Errorf("got %+v, want it refused because of %s, with the cure", r, tt.key)
			}
			if runningNow(t, b) != running {
				t.Error("the running configuration was exchanged")
			}
			if !strings.Contains(b.failed, tt.key) {
				t.Errorf("status tells %q, want the key %s", b.failed, tt.key)
			}
		})
	}
}

func TestReloadOfAnInvalidFileSaysWhere(t *testing.T) {
	b, write := reloading(t)
	running := runningNow(t, b)
	write(strings.Replace(small, "asn = 65020", "asm = 65020", 1))
	r, err := b.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("%s:%d: ", b.file, 9)
	if r.OK || r.Applied || !strings.Contains(b.failed, where) || !strings.Contains(b.failed, "asm") {
		t.Errorf("got %+v and %q, want it refused at %q", r, b.failed, where)
	}
	if runningNow(t, b) != running {
		t.Error("the running configuration was exchanged")
	}
}
