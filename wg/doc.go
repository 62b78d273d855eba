// Package wg is the vocabulary of the WireGuard side: devices, peers, what was
// observed of them, keys that do not print themselves, and the ledger that says
// which peer owns which allowed IP.
//
// The package is pure: no netlink, no goroutine, no clock. wg/device gives it
// effect (the only importer of wgctrl and wireguard-go), wg/probe measures
// through the tunnels. Start reading at Device and PeerState.
package wg
