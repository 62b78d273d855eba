// Package gre makes the GRE tunnels toward a Transit Gateway (RFC 2784 without
// key, checksum or sequence number): by the kernel where it has GRE, else by a
// data path of our own over a TUN device and raw sockets.
//
// Start reading at Manager. Each backend is one file that talks (kernel.go,
// user.go) and pure ones beside it (kernel_attr.go, header.go). Interfaces are
// recognised by the alias in link.go and outlive the process: a persistent TUN
// keeps its addresses and routes until the next process attaches to it.
//
// A userspace tunnel keeps segments whole where it may (offload.go): an eBPF
// program at the TUN (bpf.go) puts the outer headers in front of 64 KB at a time
// and sends past this process, and a packet socket (packet.go) receives what the
// network card's driver has merged. What they do not take goes through the raw
// sockets, packet by packet. What the program sends does not pass the host's
// output rules (netfilter) nor the queue of the TUN, and tcpdump does not see it
// there; what the packet socket takes does not pass the input rules.
// Options.PlainSockets does without the program.
//
// A Manager works in the network namespace of its process.
package gre
