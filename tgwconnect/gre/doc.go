// Package gre makes the GRE tunnels toward a Transit Gateway (RFC 2784 without
// key, checksum or sequence number): by the kernel where it has GRE, else by a
// data path of our own over a TUN device and raw sockets.
//
// Start reading at Manager. Each backend is one file that talks (kernel.go,
// user.go) and pure ones beside it (kernel_attr.go, header.go). Interfaces are
// recognised by the alias in link.go and outlive the process: a persistent TUN
// keeps its addresses and routes until the next process attaches to it.
//
// A Manager works in the network namespace of its process.
package gre
