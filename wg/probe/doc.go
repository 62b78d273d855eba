// Package probe measures through WireGuard tunnels: ICMP echo, TCP connect and
// the protocol heartbeat. It is an edge: Engine takes the whole set of probes
// that should run and reports every round as a wg.ProbeResult.
//
// Every socket is bound to the interface the probe names, so an answer that
// would come by another way does not count, and a missing interface is
// "no-device" and never a success.
//
// One goroutine does everything: it waits in epoll for answers and for the next
// round, keeps rounds in a heap, and shares one ICMP and one UDP socket per
// interface, family and source. A probe owns no goroutine, no timer and, apart
// from TCP while it connects, no descriptor. Start reading at Engine; packet.go
// is the pure part.
package probe
