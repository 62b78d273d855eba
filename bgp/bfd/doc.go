// Package bfd runs BFD sessions (RFC 5880 to 5882): asynchronous mode, single
// hop over IPv4 and IPv6, without authentication and echo. It is an edge: Engine
// takes the whole set of sessions that should run and reports every change of
// one as a bgp.BFDState.
//
// Start reading at machine.go: the protocol, without clock, socket or
// randomness of its own; packet.go is its codec. The engine around it is one
// goroutine that waits in epoll, one timer wheel, and per interface and family
// one socket to receive and one per source address to send. A session owns no
// goroutine and no descriptor.
//
// Two things keep a busy machine from declaring healthy neighbors dead: a packet
// counts from the moment the kernel received it, and before a session expires
// everything that has arrived is read.
package bfd
