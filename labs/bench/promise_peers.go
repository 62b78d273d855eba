package bench

import "slices"

// Runs are the benchmarks behind Promises, in the order in which they run.
var Runs = slices.Concat(runs, []Run{
	{Package: "./wg/device", Bench: "^BenchmarkManyPeers$", Time: "1x", Alone: true},
	{Package: "./labs/bench", Bench: "^BenchmarkManySites$", Time: "1x"},
})

// Promises are all lines of the table.
var Promises = slices.Concat(promises, peerPromises)

// peerPromises are about 10,000 WireGuard peers on one interface.
var peerPromises = []Promise{
	{Measure: "10,000 sites on one interface, 200 of them live: CPU of the daemon over 30 s", Bench: "ManySites", Unit: "%-cpu", Show: "% of a core", Limit: 5, Peer: "MB-rss", PeerFmt: "%.0f MB, most of it wireguard-go's"},
	{Measure: "  of it one reading of 10,000 peers, beside wg show all dump", Bench: "ManyPeers", Unit: "x_wg_dump", Show: "x", Peer: "ms-observe,ms-wg-dump", PeerFmt: "%.1f ms, wg %.1f ms"},
	{Measure: "one more peer among 10,000", Bench: "ManyPeers", Unit: "ms-add", Show: "ms", Limit: 50, Peer: "ms-syncconf", PeerFmt: "wg syncconf %.0f ms"},
	{Measure: "one less", Bench: "ManyPeers", Unit: "ms-remove", Show: "ms", Limit: 50, Peer: "ms-syncconf", PeerFmt: "wg syncconf %.0f ms"},
	{Measure: "10,000 peers onto an empty interface", Bench: "ManyPeers", Unit: "ms-add-all", Show: "ms", Peer: "ms-setconf", PeerFmt: "wg setconf %.0f ms"},
	{Measure: "reload with one more site among 10,000, to its peer", Bench: "ManySites", Unit: "ms-reload", Show: "ms", Peer: "ms-cpu-reload", PeerFmt: "%.0f ms of CPU"},
	{Measure: "start with 10,000 sites, to the last peer", Bench: "ManySites", Unit: "s-start", Show: "s"},
}
