// Package bgp is the vocabulary of the routing side: neighbors, paths,
// announcements and routes, and the differences between two sets of them.
//
// The package is pure: it opens no socket, starts no goroutine and reads no
// clock. The two edges under it give the vocabulary effect: bgp/speaker talks
// BGP (the only importer of GoBGP) and bgp/fib writes the kernel's tables.
// Start reading at Neighbor, then Path (what came in), Announcement (what goes
// out) and Route (what the kernel is told).
package bgp
