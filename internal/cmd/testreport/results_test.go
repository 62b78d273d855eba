package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/internal/nstest"
)

// feed makes an account of lines as `go test -json` prints them.
func feed(lines ...string) (*results, *bytes.Buffer) {
	var out bytes.Buffer
	r := newResults(&out)
	for _, l := range lines {
		r.line([]byte(l + "\n"))
	}
	return r, &out
}

func lastLine(out *bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1]
}

func TestEveryTestIsCountedOnce(t *testing.T) {
	r, out := feed(
		`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/sub"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"fail","Package":"p","Test":"TestB"}`,
		`{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:1: needs frr\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestC"}`,
		`{"Action":"fail","Package":"p"}`,
		`{"Action":"skip","Package":"no/test/files"}`,
	)
	if r.report(false, nil) {
		t.Error("report: got success, want failure")
	}
	if got, want := lastLine(out), "2 passed, 1 failed, 1 skipped"; got != want {
		t.Errorf("last line: got %q, want %q", got, want)
	}
	if want := "skipped: p TestC: c_test.go:1: needs frr"; !strings.Contains(out.String(), want) {
		t.Errorf("report does not say %q:\n%s", want, out)
	}
}

func TestSlowTestsAreNamed(t *testing.T) {
	r, out := feed(
		`{"Action":"pass","Package":"p","Test":"TestScenarios/beside/a","Elapsed":11}`,
		`{"Action":"pass","Package":"p","Test":"TestScenarios/beside","Elapsed":11}`,
		`{"Action":"pass","Package":"p","Test":"TestScenarios","Elapsed":11}`,
		`{"Action":"pass","Package":"q","Test":"TestSteps/one","Elapsed":10}`,
		`{"Action":"pass","Package":"q","Test":"TestSteps","Elapsed":12.4}`,
		`{"Action":"pass","Package":"q","Test":"TestQuick","Elapsed":9.9}`,
	)
	r.report(false, nil)
	if want := "slow: q TestSteps: 12 s\nslow: p TestScenarios/beside/a: 11 s\n6 passed"; !strings.Contains(out.String(), want) {
		t.Errorf("report: got %q, want %q in it", out, want)
	}
}

// A test that made a few of its seeds counts, and runs again.
func TestSeedsLeftOutAreDeferred(t *testing.T) {
	r, out := feed(
		`{"Action":"output","Package":"p","Test":"TestWorlds","Output":"    x.go:1: `+nstest.SeedsReason+`\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestWorlds"}`,
	)
	ds := r.takeDeferred()
	if len(ds) != 1 || ds[0].pkg != "p" || len(ds[0].tests) != 1 || ds[0].tests[0] != "TestWorlds" {
		t.Errorf("deferred: got %v, want TestWorlds of p", ds)
	}
	r.report(true, nil)
	if got, want := lastLine(out), "1 passed, 0 failed, 0 skipped"; got != want {
		t.Errorf("last line: got %q, want %q", got, want)
	}
}

func TestPackageThatDoesNotBuildIsAFailure(t *testing.T) {
	r, out := feed(
		`{"ImportPath":"p [p.test]","Action":"build-output","Output":"p/x.go:3: undefined: y\n"}`,
		`{"ImportPath":"p [p.test]","Action":"build-fail"}`,
		`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
	)
	if r.report(false, nil) {
		t.Error("report: got success, want failure")
	}
	if got, want := lastLine(out), "0 passed, 1 failed, 0 skipped"; got != want {
		t.Errorf("last line: got %q, want %q", got, want)
	}
	if !strings.Contains(out.String(), "undefined: y") {
		t.Errorf("compiler's message is missing:\n%s", out)
	}
}

func TestTestThatPanicsIsAFailure(t *testing.T) {
	r, out := feed(
		`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)
	if r.report(false, nil) {
		t.Error("report: got success, want failure")
	}
	if !strings.Contains(out.String(), "TestA did not finish\n    panic: boom") {
		t.Errorf("the panic is missing:\n%s", out)
	}
}

func TestGoTestThatFailsWithoutATestIsAFailure(t *testing.T) {
	r, out := feed()
	r.exited("./nowhere")
	if r.report(false, nil) {
		t.Errorf("report: got success, want failure\n%s", out)
	}
}

func TestRunsBesideEachOtherMakeOneAccount(t *testing.T) {
	r, out := feed()
	for _, action := range []string{"pass", "fail"} {
		own := newResults(r.w)
		own.line([]byte(`{"Action":"` + action + `","Package":"` + action + `","Test":"TestA"}`))
		own.line([]byte(`{"Action":"` + action + `","Package":"` + action + `"}`))
		if action == "fail" {
			own.exited("fail") // its own failed test explains it
		}
		r.merge(own)
	}
	if r.report(false, nil) || !strings.Contains(out.String(), "1 passed, 1 failed, 0 skipped") {
		t.Errorf("got:\n%s", out)
	}
}

func TestDeferredTestCountsByItsSecondPass(t *testing.T) {
	first := []string{
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a.go:1: ` + nstest.DeferReason + `\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p"}`,
	}
	r, out := feed(first...)
	d := r.takeDeferred()
	if len(d) != 1 || d[0].pkg != "p" || len(d[0].tests) != 1 || d[0].tests[0] != "TestA" {
		t.Fatalf("deferred: got %v, want TestA of p", d)
	}
	r.line([]byte(`{"Action":"pass","Package":"p","Test":"TestA"}`))
	r.missing(d[0])
	r.report(true, nil)
	if got, want := lastLine(out), "1 passed, 0 failed, 0 skipped"; got != want {
		t.Errorf("after both passes: got %q, want %q", got, want)
	}

	r, out = feed(first...)
	for _, d := range r.takeDeferred() {
		r.missing(d)
	}
	r.report(true, nil)
	if got, want := lastLine(out), "0 passed, 1 failed, 0 skipped"; got != want {
		t.Errorf("without a second pass: got %q, want %q", got, want)
	}
}

func TestUnexpectedSkipFailsWhenStrict(t *testing.T) {
	lines := []string{
		`{"Action":"output","Package":"x/p","Test":"TestK/v6","Output":"    k.go:1: kernel has no gre: exit 1\n"}`,
		`{"Action":"skip","Package":"x/p","Test":"TestK/v6"}`,
	}
	file := filepath.Join(t.TempDir(), "skips")
	if err := os.WriteFile(file, []byte("# comment\n\np TestK kernel has no gre # this kernel was built without\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expected, err := readExpectations(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		strict   bool
		expected expectations
		want     bool
	}{
		{"strict", true, nil, false},
		{"strict and expected", true, expected, true},
		{"not strict", false, nil, true},
		{"expected for another reason", true, expectations{{"p", "TestK", "no vrf", "w"}}, false},
		{"expected in another package", true, expectations{{"q", "TestK", "gre", "w"}}, false},
		{"expected for another test", true, expectations{{"p", "TestL", "gre", "w"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, out := feed(lines...)
			if got := r.report(c.strict, c.expected); got != c.want {
				t.Errorf("success: got %v, want %v\n%s", got, c.want, out)
			}
		})
	}
}

func TestSkipsFileWantsAReasonAndAWhy(t *testing.T) {
	for _, line := range []string{"p", "p TestA", "p TestA reason", "p TestA reason # ", "p TestA # why", "p [ reason # why"} {
		if e, err := parseExpectation(line); err == nil {
			t.Errorf("%q: got %v, want an error", line, e)
		}
	}
}
