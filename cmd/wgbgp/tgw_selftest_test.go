package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect/selftest"
)

// sandbox is a simulated account whose n-th request can be heard.
type sandbox struct {
	*tgwsim.Server
	*world.Names
	requests atomic.Int32
	at       func(n int)
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	w, names := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	s := &sandbox{Server: tgwsim.NewServer(w, tgwsim.Options{}), Names: names, at: func(int) {}}
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.at(int(s.requests.Add(1)))
		s.ServeHTTP(rw, r)
	}))
	t.Cleanup(h.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": h.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return s
}

// left are the ids of what is not deleted and was not there at first.
func (s *sandbox) left() (ids []string) {
	w := s.World().Snapshot()
	for id, a := range w.Attachments {
		if a.State != "deleted" && id != s.VPCAttachment && id != s.Connect {
			ids = append(ids, id)
		}
	}
	for id, p := range w.ConnectPeers {
		if p.State != "deleted" && p.AttachmentID != s.Connect {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *sandbox) wantWhole(t *testing.T) {
	t.Helper()
	if left := s.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	w := s.World().Snapshot()
	for _, id := range s.Peers {
		if p := w.ConnectPeers[id]; p == nil || p.State != "available" {
			t.Errorf("the peer %s was there before and is not any more", id)
		}
	}
	// To ask whether tag filters work is the only thing AWS may not understand.
	for _, v := range s.Violations() {
		if !strings.Contains(v, "tag:"+selftest.TagKey) {
			t.Errorf("AWS would not have understood: %s", v)
		}
	}
}

func runSelftest(ctx context.Context, t *testing.T, args ...string) (selftest.Report, string, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(ctx, append([]string{"--target", "unix://" + filepath.Join(t.TempDir(), "none"), "-j", "tgw", "selftest", "--poll", "1ms"}, args...),
		stdio{Out: &out, Err: &errs, Getenv: os.Getenv})
	var r selftest.Report
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	return r, errs.String(), code
}

func TestSelftestOnTheSimulator(t *testing.T) {
	s := newSandbox(t)
	file := filepath.Join(t.TempDir(), "report.json")
	r, errs, code := runSelftest(t.Context(), t, s.VPCAttachment, "--yes-create-billable-resources", "-o", file)
	if code != 0 || !r.OK() || len(r.Points) != 8 {
		t.Fatalf("exit code %d\n%s%s", code, errs, r.Text())
	}
	for i, want := range map[int]string{3: selftest.Measured, 6: selftest.NotMeasured, 7: selftest.Measured} {
		if r.Points[i].Result != want {
			t.Errorf("point %d: %+v, want %s", i+1, r.Points[i], want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || !bytes.Contains(text, []byte(r.Run)) {
		t.Errorf("the report in a file: %v\n%s", err, text)
	}
	s.wantWhole(t)
	t.Log("\n" + r.Text())
	if r, errs, code := runSelftest(t.Context(), t, s.VPCAttachment, "--clean"); code != 0 || len(r.Steps) > 0 {
		t.Errorf("cleaning up what is not there: exit code %d, %+v\n%s", code, r.Steps, errs)
	}
}

func TestSelftestThatIsInterruptedLeavesNothing(t *testing.T) {
	for n := 1; n <= 30; n += 3 {
		s := newSandbox(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.at = func(i int) {
			if i == n {
				cancel()
			}
		}
		r, errs, code := runSelftest(ctx, t, s.VPCAttachment, "--yes-create-billable-resources")
		cancel()
		if code == 0 && r.Error != "" || len(r.Left) > 0 {
			t.Errorf("interrupted at request %d: exit code %d\n%s%s", n, code, errs, r.Text())
		}
		s.wantWhole(t)
	}
}

func TestSelftestAsksBeforeItCosts(t *testing.T) {
	s := newSandbox(t)
	if _, errs, code := runSelftest(t.Context(), t, s.VPCAttachment); code != 2 || !strings.Contains(errs, "--dry-run") {
		t.Errorf("without consent: exit code %d, %s", code, errs)
	}
	r, errs, code := runSelftest(t.Context(), t, s.VPCAttachment, "--dry-run")
	if code != 0 || len(r.Steps) == 0 || len(s.Calls("Create*")) > 0 {
		t.Errorf("dry run: exit code %d, %d steps, calls %v\n%s", code, len(r.Steps), s.Calls("Create*"), errs)
	}
	if r, errs, code := runSelftest(t.Context(), t, s.Connect, "--dry-run"); code != 1 || !strings.Contains(errs+r.Error, "must be an available VPC attachment") {
		t.Errorf("on a Connect attachment: exit code %d, %s%s", code, errs, r.Error)
	}
	s.wantWhole(t)
}
