package nstest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestIsolatedHostsReachEachOther(t *testing.T) {
	if !Isolate(t) {
		return
	}
	a, b := New(t, "a"), New(t, "b")
	Veth(t, a, "eth0", []string{"10.0.0.1/24", "fd00:1::1/64"}, b, "eth0", []string{"10.0.0.2/24", "fd00:1::2/64"})
	for _, dst := range []string{"10.0.0.2", "fd00:1::2"} {
		out := a.Run(t, "ping", "-c1", "-W2", dst)
		if !strings.Contains(out, "1 received") {
			t.Errorf("ping %s: %s", dst, out)
		}
	}
}

func TestLinkEndsInTheIsolatedNamespaceItself(t *testing.T) {
	if !Isolate(t) {
		return
	}
	a := New(t, "a")
	Veth(t, nil, "veth9", []string{"10.0.0.1/24"}, a, "eth0", []string{"10.0.0.2/24"})
	if out := Run(t, "ping", "-c1", "-W2", "10.0.0.2"); !strings.Contains(out, "1 received") {
		t.Errorf("ping: %s", out)
	}
}

// What happens to the subtests of an isolated test is seen from outside by
// running one with both kinds of subtest in a copy of the test binary.
func TestSubtestsOfAnIsolatedTestAreCounted(t *testing.T) {
	if os.Getenv("WGBGP_NSTEST_SAMPLE") != "" {
		if !Isolate(t) {
			return
		}
		t.Run("done", func(t *testing.T) { t.Log("ran") })
		t.Run("undone", func(t *testing.T) { t.Skip("for lack of something") })
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "WGBGP_NSTEST_SAMPLE=1", DeferEnv+"=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sample: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP: "+t.Name()+" ") {
		t.Skip("needs namespaces")
	}
	for _, want := range []string{
		"\n    --- PASS: " + t.Name() + "/done ",
		"\n    --- SKIP: " + t.Name() + "/undone ",
		"in its namespace: ns_test.go:",
		"for lack of something\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("outer result lacks %q:\n%s", want, out)
		}
	}
}
