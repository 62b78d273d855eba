// Package fib writes the kernel's forwarding tables: routes, next-hop objects,
// policy rules, and beside them the sysctls and the nftables table that
// forwarding between tunnels needs. It is an edge: it gets the whole wanted set
// (bgp.FIB), finds the difference to what the kernel holds, writes only that,
// and reports what is now true (bgp.RoutesApplied).
//
// # How it is built
//
// Every unicast route names a next-hop group object, also when it has one next
// hop. All routes with the same next hops share one group, so that a change of
// next hops is one message whatever the number of routes: a lost member is one
// deleted object, a move one replaced group. Objects carry our protocol number
// and an id of our own range, so that a fresh process knows them again.
//
// FIB keeps a mirror of the kernel beside the last wanted slice, twelve bytes a
// route, and merges sorted slices; there is no map of prefixes. The mirror is
// thrown away and read back at start, when the monitor saw somebody else
// change our things, after an error, and on Resync.
//
// Start reading at FIB.Apply (fib.go), then adopt.go (the merge), write.go (the
// order of writes) and readback.go (what the kernel holds). encode.go and
// decode.go are pure.
package fib
