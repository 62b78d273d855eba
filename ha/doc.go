// Package ha is the core that decides. Facts go in, a plan comes out:
//
//	Step(now, fact)   remembers one observation
//	Plan(now) *Plan   everything that should be true now, and for everything
//	                  known but not done a typed reason
//
// The package is pure: it imports no OS, network, GoBGP, AWS or wgctrl
// package, starts no goroutine, never calls time.Now and never lets map order
// reach an output. The same facts in any order give the same plan.
//
// A newcomer follows one route through: config.go (what is wanted), fact.go
// (what is seen), rib.go (who offers a prefix), plan.go (what is done about
// it), health.go (whether a site is believed alive).
package ha
