// Package nstest gives tests network namespaces: a test that calls Isolate runs
// in a process of its own with fresh network, mount and process ID namespaces,
// so that it can build hosts and links freely and leaves nothing behind.
package nstest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

const childEnv = "WGBGP_NSTEST_CHILD"

// setup runs once: a benchmark is called again for every b.N.
var setup = sync.OnceValue(netlab.Setup)

// DeferEnv, when set, makes Isolate put tests off: internal/cmd/testreport runs
// them later, on their own. DeferReason is in the skip's text.
const (
	DeferEnv    = "WGBGP_NSTEST_DEFER"
	DeferReason = "needs namespaces: put off to the second pass of testreport"
)

// Isolate returns true inside a fresh network namespace. Called in the ordinary
// test process it runs the calling top-level test again in such a namespace,
// reports that result and returns false: the caller must then return.
//
//	if !nstest.Isolate(t) {
//		return
//	}
//
// Without the right to make namespaces (root, or user namespaces) the test is
// skipped and says so. Subtests appear with their results in the ordinary
// process too.
func Isolate(t testing.TB) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		if err := setup(); err != nil {
			t.Fatalf("nstest: %v", err)
		}
		return true
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatal("nstest.Isolate: only top-level tests can be isolated")
	}
	if os.Getenv(DeferEnv) != "" {
		t.Skip(DeferReason)
	}
	limit := "-test.timeout=9m"
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, set := d.Deadline(); set { // a minute less, so that the inner process says where it hangs
			limit = "-test.timeout=" + max(9*time.Minute, time.Until(end)-time.Minute).String()
		}
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", limit}
	if _, ok := t.(*testing.B); ok {
		args = []string{"-test.run=^$", "-test.bench=^" + t.Name() + "$", "-test.v", limit, "-test.benchtime=" + benchtime()}
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	runtime.LockOSThread() // the child ends with the thread that started it
	defer runtime.UnlockOSThread()
	if err := netlab.Start(cmd); errors.Is(err, netlab.ErrNotPermitted) {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("nstest: start the test again: %v", err)
	}
	err := cmd.Wait()
	text := out.String()
	switch {
	case err != nil:
		t.Fatalf("in its namespace: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()+" "):
		t.Skipf("in its namespace:\n%s", text)
	default:
		t.Logf("in its namespace:\n%s", text)
		if t, ok := t.(*testing.T); ok {
			mirror(t, text)
		}
	}
	return false
}

// subtest matches the line that ends a passed or skipped subtest.
var subtest = regexp.MustCompile(`(?m)^ +--- (PASS|SKIP): ([^/\s]+)/(\S+) \(`)

// mirror repeats the subtests of an isolated test, so that each is counted and
// none is skipped unseen.
func mirror(t *testing.T, text string) {
	for _, m := range subtest.FindAllStringSubmatch(text, -1) {
		verdict, top, name := m[1], m[2], m[3]
		if top != t.Name() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if verdict == "SKIP" {
				t.Skipf("in its namespace: %s", log(text, top+"/"+name))
			}
		})
	}
}

// log is what the named test logged last in the output of `go test -v`: the
// lines after one that names it, up to the next one that names a test.
func log(text, name string) string {
	var said []string
	mine := false
	for l := range strings.Lines(text) {
		if f := strings.Fields(l); len(f) >= 3 && (f[0] == "===" || f[0] == "---") {
			mine = f[0] == "===" && f[2] == name
			continue
		}
		if mine {
			said = append(said, strings.TrimSpace(l))
		}
	}
	return strings.Join(said, " ")
}

func benchtime() string {
	for _, a := range os.Args {
		if v, ok := strings.CutPrefix(a, "-test.benchtime="); ok {
			return v
		}
	}
	return "1s"
}
