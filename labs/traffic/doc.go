// Package traffic sends a steady stream of numbered UDP packets from one host of
// a lab to another and accounts for every one of them: received, lost, refused
// by the sender's kernel, doubled, overtaken. Because both ends are in one
// process, and so share a clock, the loss is exact for each direction and each
// outage has a first and a last lost packet.
//
// Start reading at Start (stream.go), then Report (report.go).
package traffic
