package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

// serve runs a server until stop is called.
func serve(t *testing.T, b api.Backend, o api.Options) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := api.NewServer(b, o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		cancel()
		return func() error { return err }
	}
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func client(t *testing.T, path string) *api.Client {
	t.Helper()
	c, err := api.NewClient("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "run", "s") }

func TestServerEndsAlthoughRequestsHang(t *testing.T) {
	b := apitest.New()
	b.Hang = map[string]bool{"Status": true}
	path := socketPath(t)
	stop := serve(t, b, api.Options{SocketPath: path})
	c := client(t, path)
	ended := make(chan error, 2)
	go func() { _, err := c.Status(context.Background()); ended <- err }()
	opened := make(chan struct{})
	go func() {
		ended <- c.Events(context.Background(), api.EventQuery{}, func(string, uint64) { close(opened) }, func(api.Event) error { return nil })
	}()
	<-opened
	begin := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("stop took %v, want at most some seconds", d)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("got no error at a client of a daemon that ended")
		}
	}
}

// raw sends a request to the handler and returns the decoded error.
func raw(t *testing.T, b api.Backend, method, target string, body io.Reader) (int, api.Error) {
	t.Helper()
	w := httptest.NewRecorder()
	api.NewServer(b, api.Options{}).Handler().ServeHTTP(w, httptest.NewRequest(method, target, body))
	var e api.Error
	if w.Code != http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Schema != api.Schema || e.Exit != e.Code.Exit() {
			t.Errorf("%s %s: got %s, want a JSON error", method, target, w.Body)
		}
	}
	return w.Code, e
}

func TestWrongRequestsAreRefusedAsJSON(t *testing.T) {
	b := apitest.New()
	b.Panic = map[string]bool{"Health": true}
	big := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               api.Code
	}{
		{"GET", "/", "", 400, api.CodeUsage},
		{"GET", "/v2/status", "", 400, api.CodeUsage},
		{"POST", "/v1/status", "", 400, api.CodeUsage},
		{"GET", "/v1/sites/disable?name=lyon", "", 400, api.CodeUsage},
		{"GET", "/v1/config/reload", "", 400, api.CodeUsage},
		{"POST", "/v1/events", "", 400, api.CodeUsage},
		{"GET", "/v1/events?since=yesterday", "", 400, api.CodeUsage},
		{"GET", "/v1/events?kind=nonsense", "", 400, api.CodeUsage},
		{"POST", "/v1/sites/disable", big, 400, api.CodeUsage},
		{"POST", "/v1/sites/disable", "{", 400, api.CodeUsage},
		{"POST", "/v1/sites/disable", `{"site":"lyon"}`, 400, api.CodeUsage},
		{"POST", "/v1/sites/disable", `{}`, 404, api.CodeNotFound},
		{"POST", "/v1/neighbors/reset", `{}`, 400, api.CodeUsage},
		{"POST", "/v1/config/diff", `{"path":"relative.toml"}`, 400, api.CodeUsage},
		{"GET", "/v1/rib?prefix=nonsense", "", 400, api.CodeUsage},
		{"GET", "/v1/explain", "", 400, api.CodeUsage},
		{"GET", "/v1/peers?name=rome", "", 404, api.CodeNotFound},
		{"GET", "/v1/health", "", 500, api.CodeFailed}, // a panic inside
	} {
		status, e := raw(t, b, tt.method, tt.path, strings.NewReader(tt.body))
		if status != tt.status || e.Code != tt.code {
			t.Errorf("%s %s: got %d %q (%s), want %d %q", tt.method, tt.path, status, e.Code, e.Text, tt.status, tt.code)
		}
	}
	if len(b.Calls) != 0 {
		t.Errorf("got orders %q, want none", b.Calls)
	}
}

// TestEmptyGatewayHasNoNullArrays asks an empty backend for everything: lists
// must be [] however little the daemon knows.
func TestEmptyGatewayHasNoNullArrays(t *testing.T) {
	b := &apitest.Backend{View: api.View{
		Peers: make([]api.Peer, 1), Sites: make([]api.Site, 1), Neighbors: make([]api.Neighbor, 1),
		RIB: []api.RIBEntry{{Paths: make(api.List[api.RIBPath], 1)}}, Routes: make([]api.Route, 1), Health: []api.Health{{Checks: make(api.List[api.Check], 1)}},
	}}
	for _, path := range []string{
		"status", "peers", "sites", "neighbors", "rib", "routes", "health", "ha", "aws/routes", "aws/front", "config", "explain?q=10.0.0.1", "check", "version",
	} {
		for _, b := range []api.Backend{b, &apitest.Backend{}} {
			w := httptest.NewRecorder()
			api.NewServer(b, api.Options{}).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/"+path, nil))
			if w.Code != 200 || bytes.Contains(w.Body.Bytes(), []byte("null")) {
				t.Errorf("%s: got %d %s, want 200 and no null", path, w.Code, w.Body)
			}
		}
	}
}

// TestTypesHaveNoRoomForSecrets looks at the names of all fields.
func TestTypesHaveNoRoomForSecrets(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		if seen[ty] {
			return
		}
		seen[ty] = true
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(ty.Elem())
		case reflect.Struct:
			for i := range ty.NumField() {
				f := ty.Field(i)
				n := strings.ToLower(f.Name)
				for _, bad := range []string{"private", "preshared", "psk", "password", "secret"} {
					if strings.Contains(n, bad) {
						t.Errorf("%v.%s: looks like a secret", ty, f.Name)
					}
				}
				walk(f.Type)
			}
		}
	}
	for _, v := range []any{
		api.Status{},
		api.PeerList{},
		api.SiteList{},
		api.NeighborList{},
		api.AdjIn{},
		api.AdjOut{},
		api.RIB{},
		api.RouteList{},
		api.HealthList{},
		api.Explain{},
		api.CheckReport{},
		api.Config{},
		api.ConfigReport{},
		api.Event{},
	} {
		walk(reflect.TypeOf(v))
	}
}

func TestOrdersAreRecordedWithTheirGiver(t *testing.T) {
	b := apitest.New()
	path := socketPath(t)
	serve(t, b, api.Options{SocketPath: path})
	c := client(t, path)
	sub := b.Events().Subscribe("", 0)
	defer sub.Close()
	if _, err := c.SetSite(t.Context(), "lyon", true, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ResetNeighbor(t.Context(), "169.254.6.2"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(b.Calls), "[disable lyon reset tgw-a/1 reload]"; got != want {
		t.Errorf("got orders %s, want %s", got, want)
	}
	by := fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid())
	for _, want := range []string{"disable lyon ", "reset  tgw-a/1", "reload  "} {
		e := <-sub.C
		if got := e.Reason + " " + e.Site + " " + e.Neighbor; e.Kind != api.EventOperator || got != want || e.Detail != by {
			t.Errorf("got %+v, want operator event %q by %q", e, want, by)
		}
	}
}

// TestSlowEventReaderIsCut leaves a stream unread: the daemon must not wait,
// and must let go of the reader.
func TestSlowEventReaderIsCut(t *testing.T) {
	b := apitest.New()
	path := socketPath(t)
	serve(t, b, api.Options{SocketPath: path})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("events: %v", err)
	}
	detail := strings.Repeat("x", 4096)
	begin := time.Now()
	const n = 20000
	for range n {
		b.Events().Publish(api.Event{Kind: api.EventAnnounce, Detail: detail})
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("publishing took %v beside a reader that does not read", d)
	}
	// The server closes: reading reaches the end long before n events.
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(resp.Body)
	got := 0
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("after %d events the stream is still open", got)
			}
			break
		}
		got++
	}
	if got >= n {
		t.Errorf("got all %d events, want a cut", got)
	}
}

func TestEventStreamOutlivesRequestTimeouts(t *testing.T) {
	b := apitest.New()
	path := socketPath(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := api.NewServer(b, api.Options{SocketPath: path})
	api.SetTimeouts(s, 100*time.Millisecond, 100*time.Millisecond, time.Minute)
	go func() { _ = s.Serve(ctx) }()
	<-s.Ready()
	got := make(chan api.Event, 1)
	opened := make(chan struct{})
	go func() {
		_ = client(t, path).Events(ctx, api.EventQuery{}, func(string, uint64) { close(opened) }, func(e api.Event) error { got <- e; return nil })
	}()
	<-opened
	time.Sleep(500 * time.Millisecond) // time passing is what is tested
	b.Events().Publish(api.Event{Kind: api.EventUp, Site: "paris"})
	select {
	case e := <-got:
		if e.Site != "paris" {
			t.Errorf("got %+v, want the event of paris", e)
		}
	case <-time.After(5 * time.Second):
		t.Error("the stream ended with the time-outs of ordinary requests")
	}
}

func TestEventStreamShowsSignsOfLife(t *testing.T) {
	path := socketPath(t)
	s := api.NewServer(apitest.New(), api.Options{SocketPath: path})
	api.SetTimeouts(s, time.Minute, time.Minute, 20*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = s.Serve(ctx) }()
	<-s.Ready()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "\n" {
		t.Errorf("got %q and %v, want a blank line", line, err)
	}
}

func TestLongWorkIsNotCancelledByTheReadTimeout(t *testing.T) {
	b := &slow{Backend: apitest.New(), wait: 400 * time.Millisecond}
	path := socketPath(t)
	s := api.NewServer(b, api.Options{SocketPath: path})
	api.SetTimeouts(s, 100*time.Millisecond, time.Minute, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = s.Serve(ctx) }()
	<-s.Ready()
	if _, err := client(t, path).Status(ctx); err != nil {
		t.Errorf("status: %v", err)
	}
}

// slow is a backend that takes its time but heeds its context.
type slow struct {
	*apitest.Backend
	wait time.Duration
}

func (s *slow) Status(ctx context.Context) (api.Status, error) {
	select {
	case <-time.After(s.wait):
		return api.Status{Host: "slow"}, nil
	case <-ctx.Done():
		return api.Status{}, ctx.Err()
	}
}
