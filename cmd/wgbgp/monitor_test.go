package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

// pipe is a buffer for one writer and one reader at the same time.
type pipe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// until waits for a text in the pipe.
func (p *pipe) until(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(p.String(), want) {
			return
		}
	}
	t.Fatalf("want %q, got %q", want, p.String())
}

// monitored runs the monitor in the background.
func monitored(t *testing.T, socket string, args ...string) (out, errw *pipe, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, errw = &pipe{}, &pipe{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"monitor"}, args...), stdio{Out: out, Err: errw, Getenv: func(k string) string {
			if k == "WGBGP_TARGET" {
				return socket
			}
			return ""
		}})
	}()
	t.Cleanup(cancel)
	return out, errw, func() int { cancel(); return <-code }
}

// pump publishes an event again and again until the test says enough, because
// nobody knows when the monitor is connected.
func pump(t *testing.T, b *apitest.Backend, out *pipe, e api.Event, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b.Events().Publish(e)
		if strings.Contains(out.String(), want) {
			return
		}
	}
	t.Fatalf("want %q, got %q", want, out.String())
}

func TestMonitorPrintsEventsAndEndsQuietly(t *testing.T) {
	b := apitest.New()
	out, errw, stop := monitored(t, serve(t, b), "down", "announce")
	pump(t, b, out, api.Event{Kind: api.EventDown, Site: "lyon", Reason: "rx-stall", Detail: "nothing received for 24s"},
		` down     site=lyon reason=rx-stall detail="nothing received for 24s"`)
	b.Events().Publish(api.Event{Kind: api.EventUp, Site: "lyon"})
	b.Events().Publish(api.Event{Kind: api.EventAnnounce, Prefix: netip.MustParsePrefix("10.2.0.0/16"), Site: "lyon", Reason: "direct"})
	out.until(t, " announce prefix=10.2.0.0/16 site=lyon reason=direct\n")
	if code := stop(); code != 0 || errw.String() != "" {
		t.Errorf("got exit %d and stderr %q, want 0 and nothing", code, errw.String())
	}
	if strings.Contains(out.String(), " up ") {
		t.Errorf("got an event of a kind that was not asked for: %q", out.String())
	}
}

func TestMonitorSurvivesARestartOfTheDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "wgbgp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	first := apitest.New()
	end := start(t, first, path)
	out, errw, stop := monitored(t, path, "-j")
	pump(t, first, out, api.Event{Kind: api.EventDown, Site: "lyon"}, `"kind":"down"`)
	end()
	errw.until(t, "waiting for the daemon")
	second := apitest.New()
	second.Events().Publish(api.Event{Kind: api.EventUp, Site: "lyon"}) // before anybody reads
	start(t, second, path)
	errw.until(t, "the daemon is back")
	out.until(t, `"kind":"up"`)
	if code := stop(); code != 0 {
		t.Errorf("got exit %d, want 0", code)
	}
	var kinds []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, e.Kind+" "+e.Reason)
	}
	if got := strings.Join(kinds[len(kinds)-2:], ", "); got != "lost restart, up " {
		t.Errorf("got events %q at the end, want the loss and then what the new daemon kept", got)
	}
	if n := strings.Count(errw.String(), "waiting for the daemon"); n != 1 {
		t.Errorf("got %d notes, want 1: %q", n, errw.String())
	}
}

// brokenPipe is a reader that left.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }

func TestMonitorEndsWhenItsReaderLeaves(t *testing.T) {
	b := apitest.New()
	socket := serve(t, b)
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"monitor", "--target", socket}, stdio{Out: brokenPipe{}, Err: &pipe{}, Getenv: func(string) string { return "" }})
	}()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b.Events().Publish(api.Event{Kind: api.EventUp})
		select {
		case code := <-done:
			if code != 1 {
				t.Errorf("got exit %d, want 1", code)
			}
			return
		default:
		}
	}
	t.Fatal("the monitor went on without a reader")
}
