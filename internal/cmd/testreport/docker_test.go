package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestMachineWithoutDockerSkipsAndFailsInCI(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	var out bytes.Buffer
	r := newResults(&out)
	if err := runDocker(r, &out, time.Minute); err != nil {
		t.Fatal(err)
	}
	if !r.report(false, nil) {
		t.Errorf("want a skip to pass outside of CI:\n%s", out.String())
	}
	if got, want := lastLine(&out), "0 passed, 0 failed, 1 skipped"; got != want {
		t.Errorf("last line: got %q, want %q", got, want)
	}
	if !strings.Contains(out.String(), "skipped: "+module+"/labs/docker tests in Docker: Docker does not answer") {
		t.Errorf("want the reason told:\n%s", out.String())
	}
	if r.report(true, nil) {
		t.Error("want the skip to fail in CI")
	}
}
