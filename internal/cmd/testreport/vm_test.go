package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// inVM reads lines as a VM prints them.
func inVM(lines ...string) (vmReader, *bytes.Buffer) {
	var out bytes.Buffer
	v := vmReader{r: newResults(&out), w: &out, suites: suites}
	v.read(strings.NewReader(strings.Join(lines, "\n")))
	return v, &out
}

// ran is how a test binary shows a test with -test.v=test2json.
func ran(name, verdict string) string {
	return fmt.Sprintf("\x16=== RUN   %s\n\x16--- %s: %s (0.10s)", name, verdict, name)
}

func TestOutputOfTheVMIsCutIntoPackages(t *testing.T) {
	v, out := inVM(
		"vm: odd word", markKernel+"6.1.0",
		markBegin+"0", ran("TestA", "PASS"), ran("TestB", "SKIP"), "\x16PASS", markEnd+"0",
		markBegin+"1", ran("TestA", "FAIL"), "\x16FAIL", markEnd+"1",
	)
	if v.r.report(false, nil) {
		t.Error("report: got success, want failure")
	}
	if got, want := lastLine(out), "1 passed, 1 failed, 1 skipped"; got != want {
		t.Errorf("last line: got %q, want %q", got, want)
	}
	for _, want := range []string{"vm: odd word\n", "Linux 6.1.0\n", "FAIL " + module + "/" + suites[1].dir + " TestA\n", "skipped: " + module + "/" + suites[0].dir + " TestB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, out)
		}
	}
	if v.ended != 2 {
		t.Errorf("packages: got %d, want 2", v.ended)
	}
}

func TestPackageThatCrashesInTheVMIsAFailure(t *testing.T) {
	for name, lines := range map[string][]string{
		"panic": {markBegin + "0", "\x16=== RUN   TestA", "panic: boom", "no newline at its end" + markEnd + "2"},
		"exit":  {markBegin + "0", ran("TestA", "PASS"), "\x16PASS", markEnd + "1"},
		"cut":   {markBegin + "0", "\x16=== RUN   TestA", "text"},
	} {
		v, out := inVM(lines...)
		if v.r.report(false, nil) {
			t.Errorf("%s: got success, want failure:\n%s", name, out)
		}
	}
}
