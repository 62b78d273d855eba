// Package device gives effect to wg.Device: it makes WireGuard interfaces,
// keeps their peers and allowed IPs as wanted, and reads their counters. It is
// the only importer of wgctrl and wireguard-go.
//
// Manager is the door: Apply takes the whole wanted set, compares it with what
// is on the device and writes the difference; Observe and Snapshot read. Two
// backends do the same by different means: kernel.go (wgctrl for writing, our
// own generic-netlink reader, because wgctrl returns short dumps without an
// error) and user.go (embedded wireguard-go). What decides is pure and lives in
// package wg (Diff, Table); conversion is apart from talking (nlmsg.go,
// uapi.go). Goroutines start in tasks.go only.
//
// No entry that somebody else made is touched: store.go remembers what is ours
// across processes. No secret appears in an error, a log line or a file.
package device
