// Package bench measures what the project promises about speed and cost, and
// puts it into one table: what was measured, what was promised, and what the
// others need for the same thing in the same run.
//
// Figures of parts come from the benchmarks beside the parts; the ones here are
// those that need several parts at once or the daemon as a process. Start
// reading at Promises, which says what is measured and against what.
//
// BGP is measured beside FRR and BIRD (bgp_test.go): each daemon runs on a host of
// its own (subject.go) and takes its turn, a sender that only writes prepared
// octets to a socket gives it its tables (rawbgp.go, updates.go), and one observer
// of the kernel's notifications says when routes are there (observer.go).
package bench
