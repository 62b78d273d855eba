package nstest

import (
	"os"
	"testing"
)

// SeedsReason is what a test says that made only some of its seeded runs.
const SeedsReason = "only some of the seeds under the race detector: all of them in the second pass of testreport"

// Seeds is how many of n seeded runs the calling top-level test makes: n, or one
// in eight in testreport's first pass, whose race detector makes each as dear as
// ten and finds in a few what it would find in all. The second pass makes all.
func Seeds(t *testing.T, n int) int {
	t.Helper()
	if os.Getenv(DeferEnv) == "" {
		return n
	}
	t.Log(SeedsReason)
	return (n + 7) / 8
}
