// Package netlab builds small networks out of network namespaces: hosts, links
// between them and programs that run on them. Tests use it through
// internal/nstest, programs such as the demo through Reexec.
//
// Everything lives inside the fresh namespaces of one process (Isolation,
// Setup): when that process ends, however it ends, the kernel removes the
// hosts, the links and every program on them.
//
// Start reading at Reexec (isolate.go), then Lab (lab.go) and Host (host.go).
package netlab
