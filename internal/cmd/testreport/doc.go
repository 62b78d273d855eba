// Command testreport runs the module's tests and accounts for every one of
// them. Its last line is always
//
//	N passed, N failed, N skipped
//
// It works in passes. The first one runs everything with the race detector (but
// for packages that start no goroutine) and puts off the tests that need network
// namespaces (internal/nstest), and most seeds of seeded ones; the second one runs
// just those, several packages at a time, and one that measures alone. With -vm a third one runs what concerns the kernel's
// own WireGuard, GRE and VRF on a Debian kernel in a virtual machine, in one
// boot of labs/vm/run, and with -docker the labs that the real containerlab makes
// stand in Docker (labs/docker). A test counts once, with the worse outcome of the passes
// it took part in.
//
// A test in namespaces or in the virtual machine that failed runs once more,
// alone (again.go); the account names it as unsteady if it passes then.
//
// A skipped test is named with its reason. With -strict, which CI=true
// switches on, a skip is a failure unless the file given by -skips expects
// it: a test that this machine could run must not be skipped unnoticed.
//
// Start reading at main.go, then results.go (from events to outcomes),
// skips.go (which skips are expected), vm.go and docker.go.
package main
