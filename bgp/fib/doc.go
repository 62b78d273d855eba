// Package fib writes the kernel's forwarding tables: routes, next-hop objects,
// policy rules, and beside them the sysctls and the nftables table that
// forwarding between tunnels needs. It is an edge: it gets the whole wanted set
// (bgp.FIB), finds the difference to what the kernel holds, writes only that,
// and reports what is now true (bgp.RoutesApplied).
//
// # How it is built
//
// Every unicast route names a next-hop group object, also when it has one next
// hop. All routes with the same next hops and the same backup share one group, and
// the objects in a group are its own, so that a change of next hops is one message
// whatever the number of routes: a lost member is one deleted object, a move one
// replaced object. FIB.Lose does that before there is a new wanted set. Objects
// carry our protocol number and an id of our own range, so that a fresh process
// knows them again.
// Groups are resilient where the kernel has that (Linux 5.13): a lost member moves
// its own flows only (resilient.go).
//
// FIB keeps a mirror of the kernel beside the last wanted slice, twelve bytes a
// route, and merges sorted slices; there is no map of prefixes. The mirror is
// thrown away and read back at start, when the monitor saw somebody else
// change our things, after an error, and on Resync.
//
// Start reading at FIB.Apply (fib.go), then adopt.go (the merge), write.go (the
// order of writes), reform.go (groups) and readback.go (what the kernel holds). encode.go and
// decode.go are pure.
package fib
