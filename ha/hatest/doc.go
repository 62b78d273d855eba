// Package hatest is a simulated world for the core: many hosts in one process on
// a virtual clock, each with a real ha.Core, among models of everything that the
// edges touch: WireGuard sessions, sites, links, BGP and BFD sessions, Transit
// Gateways, kernels. A Scenario says how large the world is and what goes wrong in
// it; equal scenarios give equal traces. While it runs, invariants are checked.
//
// Start reading at Scenario (scenario.go), then Run (world.go), host.go for one
// daemon, and check.go for what must hold. README.md has the invariants and the
// planted bugs that they find.
package hatest
