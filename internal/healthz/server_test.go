package healthz

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// free is a loopback address that nobody listens on.
func free(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no %s here: %v", host, err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func start(t *testing.T, cfg Config) *Board {
	t.Helper()
	b := NewBoard()
	s := New(Options{Board: b, Log: slog.New(slog.DiscardHandler), Retry: 5 * time.Millisecond})
	s.Set(cfg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func get(a netip.AddrPort, path string) (int, string) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(fmt.Sprintf("http://%s%s", a, path))
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, strings.TrimSpace(string(b))
}

func TestHTTPAnswersWhatTheBoardSays(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			a := free(t, host)
			b := start(t, Config{HTTP: []netip.AddrPort{a}})
			eventually(t, "starting", func() bool { code, _ := get(a, Path); return code == 503 })
			for _, tt := range []struct {
				v    Verdict
				code int
				body string
			}{
				{Verdict{Reasons: []string{"draining", "bgp-down"}}, 503, `{"forwarding":false,"reasons":["draining","bgp-down"]}`},
				{Verdict{Forwarding: true}, 200, `{"forwarding":true}`},
			} {
				b.Set(tt.v)
				if code, body := get(a, Path); code != tt.code || body != tt.body {
					t.Errorf("got %d %s, want %d %s", code, body, tt.code, tt.body)
				}
			}
			if code, _ := get(a, "/"); code != 404 {
				t.Errorf("another path: got %d, want 404", code)
			}
		})
	}
}

func TestTCPIsOpenOnlyWhileForwarding(t *testing.T) {
	a := free(t, "127.0.0.1")
	b := start(t, Config{TCP: []netip.AddrPort{a}})
	open := func() bool {
		c, err := net.DialTimeout("tcp", a.String(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	for _, want := range []bool{true, false, true} {
		b.Set(Verdict{Forwarding: want})
		eventually(t, fmt.Sprintf("open: %v", want), func() bool { return open() == want })
	}
}

func TestOnlyWelcomeSourcesAreAnswered(t *testing.T) {
	a := free(t, "127.0.0.1")
	b := start(t, Config{HTTP: []netip.AddrPort{a}, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}})
	b.Set(Verdict{Forwarding: true})
	eventually(t, "an answer", func() bool { code, _ := get(a, Path); return code == 200 })

	a = free(t, "127.0.0.1")
	start(t, Config{HTTP: []netip.AddrPort{a}, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	eventually(t, "listening", func() bool {
		c, err := net.DialTimeout("tcp", a.String(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if code, text := get(a, Path); code != 0 {
		t.Errorf("a stranger got %d %s, want a closed connection", code, text)
	}
}

func TestAVerdictThatIsNotRenewedIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		if v := b.Get(); v.Forwarding || v.Reasons[0] != "starting" {
			t.Errorf("before the first verdict: got %+v", v)
		}
		b.Set(Verdict{Forwarding: true})
		time.Sleep(StallAfter)
		if !b.Get().Forwarding {
			t.Error("got a stall at the limit, want the verdict")
		}
		time.Sleep(time.Millisecond)
		if v := b.Get(); v.Forwarding || v.Reasons[0] != "stalled" {
			t.Errorf("after the limit: got %+v", v)
		}
		if b.Set(Verdict{Forwarding: true}) {
			t.Error("an equal verdict counts as a change")
		}
		if !b.Get().Forwarding {
			t.Error("a renewed verdict does not hold")
		}
	})
}

// A health check must cost nothing: some load balancer nodes ask every few seconds
// for every address, and the loop must not notice.
func BenchmarkBoard(b *testing.B) {
	board := NewBoard()
	board.Set(Verdict{Forwarding: true})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !board.Get().Forwarding {
				b.Fatal("not forwarding")
			}
		}
	})
}
