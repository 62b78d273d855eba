package bench

// Run is one call of go test.
type Run struct {
	Package string // relative to the module
	Bench   string // -bench
	Time    string // -benchtime
	// Alone gives the benchmark the processor before all other programs, where
	// that is permitted: for short ones that only compute, since others at work
	// on the machine would be measured too.
	Alone bool
}

// runs are benchmarks behind Promises, in the order in which they run.
var runs = []Run{
	{Package: "./labs/bench", Bench: "^BenchmarkPlanAndDiff$", Time: "100x", Alone: true},
	{Package: "./labs/bench", Bench: "^BenchmarkDaemon$", Time: "1x"},
	{Package: "./labs/bench", Bench: "^BenchmarkBGP(ToFIB|ManyNeighbors|OneChange)$", Time: "1x"},
	{Package: "./labs/bench", Bench: "^BenchmarkBGPBackup(IPv6)?$", Time: "1x"},
	{Package: "./bgp/fib", Bench: "^Benchmark(RoutesIntoKernel|LoseECMPMember|Lose)$", Time: "1x"},
	{Package: "./bgp/speaker", Bench: "^Benchmark(WithdrawLatency|ManyNeighbors)$", Time: "200x"},
	{Package: "./bgp/bfd", Bench: "^BenchmarkSessions$", Time: "1x"},
	{Package: "./tgwconnect/gre", Bench: "^BenchmarkGREvsWireGuard$", Time: "1x"},
}

// Promise is one line of the table.
type Promise struct {
	Measure string
	Bench   string  // benchmark that gives the figure
	Unit    string  // as the benchmark reports it
	Show    string  // unit in the table
	Scale   float64 // from Unit to Show, 0: 1
	Limit   float64 // in Show; 0: told, not judged
	AtLeast bool    // Limit is the smallest that will do; else the largest
	Peer    string  // units, divided by commas, of figures of the same benchmark to set beside it
	PeerFmt string  // how to print them
	Why     string  // if it is known to be missed: why, and what it would take
}

// whyFIB stands below the table when the line is missed.
const whyFIB = "GoBGP's own work on each UPDATE and path (parsing, two tables, a copy of the neighbor's configuration for every event) is a third " +
	"of the processor time, the collector a fifth to a quarter; FRR spreads over more threads, which tells on a busy machine. It would take an import path that " +
	"passes by GoBGP's tables."

// Figures of other daemons that stand beside ours.
const (
	threeMS = "ms-wgbgpd,ms-frr,ms-bird"
	fmtMS   = "%.1f ms, FRR %.1f ms, BIRD %.1f ms"
	twoMB   = "MB-frr,MB-bird"
	fmtMB   = "FRR %.0f MB, BIRD %.0f MB"
)

// promises are lines of the table: the speed and cost that the project
// promises, then what explains them.
var promises = []Promise{
	{Measure: "plan and diff 10,000 sites x 4 prefixes, one site changes", Bench: "PlanAndDiff/one-site-changes", Unit: "ms/plan", Show: "ms", Limit: 10, Peer: "ms-cpu/plan", PeerFmt: "%.2f ms of CPU"},
	{Measure: "  of it ha.Core: fact and plan", Bench: "PlanAndDiff/one-site-changes", Unit: "ms-core", Show: "ms"},
	{Measure: "  of it wg.Diff, 10,000 peers", Bench: "PlanAndDiff/one-site-changes", Unit: "ms-wg", Show: "ms"},
	{Measure: "  of it bgp.DiffAnnouncements, 40,000", Bench: "PlanAndDiff/one-site-changes", Unit: "ms-bgp", Show: "ms"},
	{Measure: "  of it bgp/fib compare, 80,000 routes", Bench: "PlanAndDiff/one-site-changes", Unit: "ms-fib", Show: "ms"},
	{Measure: "the same, 10,000 observed peers say nothing new", Bench: "PlanAndDiff/unchanged", Unit: "ms/plan", Show: "ms", Limit: 2, Peer: "ms-cpu/plan", PeerFmt: "%.2f ms of CPU"},

	{Measure: "BGP to FIB beside FRR, 10,000 IPv4 prefixes", Bench: "BGPToFIB/IPv4/10000/diverse", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS, Why: whyFIB},
	{Measure: "the same, all with the same attributes", Bench: "BGPToFIB/IPv4/10000/shared", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same, 10,000 IPv6 prefixes", Bench: "BGPToFIB/IPv6/10000/diverse", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same, 100,000 IPv4 prefixes", Bench: "BGPToFIB/IPv4/100000/diverse", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS, Why: whyFIB},
	{Measure: "the same, all with the same attributes", Bench: "BGPToFIB/IPv4/100000/shared", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "  processor time for 100,000 diverse ones, beside FRR", Bench: "BGPWork/IPv4/100000/diverse", Unit: "x-frr", Show: "x", Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "memory with one neighbor x 100,000 prefixes (RSS)", Bench: "BGPMemory/IPv4/100000/diverse", Unit: "MB-wgbgpd", Show: "MB", Limit: 250, Peer: twoMB, PeerFmt: fmtMB},
	{Measure: "the same, all with the same attributes", Bench: "BGPMemory/IPv4/100000/shared", Unit: "MB-wgbgpd", Show: "MB", Limit: 250, Peer: twoMB, PeerFmt: fmtMB},
	{Measure: "  highest while the table arrives", Bench: "BGPPeak/IPv4/100000/diverse", Unit: "MB-wgbgpd", Show: "MB", Peer: twoMB, PeerFmt: fmtMB},
	{Measure: "memory with 200 neighbors x 100 prefixes", Bench: "BGPManyNeighbors/memory", Unit: "MB-wgbgpd", Show: "MB", Peer: twoMB, PeerFmt: fmtMB},
	{Measure: "  their tables into the FIB, beside FRR", Bench: "BGPManyNeighbors/fib", Unit: "x-frr", Show: "x", Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "failover of 10,000 IPv4 prefixes beside FRR, a session drops", Bench: "BGPFailover/IPv4/10000/diverse", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same beside BIRD", Bench: "BGPFailover/IPv4/10000/diverse", Unit: "x-bird", Show: "x", Limit: 1},
	{Measure: "failover of 10,000 IPv6 prefixes beside FRR", Bench: "BGPFailover/IPv6/10000/diverse", Unit: "x-frr", Show: "x", Limit: 1, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same beside BIRD", Bench: "BGPFailover/IPv6/10000/diverse", Unit: "x-bird", Show: "x", Limit: 1},
	{Measure: "a session drops, 10 IPv4 prefixes by their backup", Bench: "BGPBackup/IPv4/10", Unit: "ms-wgbgpd", Show: "ms", Limit: 10, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same, 10,000 prefixes", Bench: "BGPBackup/IPv4/10000", Unit: "ms-wgbgpd", Show: "ms", Limit: 10, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same, 100,000 prefixes", Bench: "BGPBackup/IPv4/100000", Unit: "ms-wgbgpd", Show: "ms", Limit: 10, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "  the slowest of the three beside the quickest", Bench: "BGPBackup/IPv4/spread", Unit: "x-slowest", Show: "x", Limit: 2},
	{Measure: "a session drops, 10 IPv6 prefixes by their backup", Bench: "BGPBackup/IPv6/10", Unit: "ms-wgbgpd", Show: "ms", Limit: 10, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "the same, 10,000 prefixes", Bench: "BGPBackup/IPv6/10000", Unit: "ms-wgbgpd", Show: "ms", Limit: 10, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "  100,000 prefixes: the kernel looks at each IPv6 route", Bench: "BGPBackup/IPv6/100000", Unit: "ms-wgbgpd", Show: "ms", Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "  the slowest of the three beside the quickest", Bench: "BGPBackup/IPv6/spread", Unit: "x-slowest", Show: "x"},
	{Measure: "  of it the kernel, 100,000 IPv4 routes", Bench: "Lose/IPv4/100000", Unit: "ns/op", Show: "ms", Scale: 1e-6, Peer: "ms_max", PeerFmt: "longest %.2f ms"},
	{Measure: "  of it the kernel, 100,000 IPv6 routes", Bench: "Lose/IPv6/100000", Unit: "ns/op", Show: "ms", Scale: 1e-6, Peer: "ms_max", PeerFmt: "longest %.2f ms"},
	{Measure: "one announcement passed on to another neighbor, median, more than BIRD", Bench: "BGPOneChange/announce", Unit: "ms-over-bird", Show: "ms", Limit: 5, Peer: threeMS, PeerFmt: fmtMS},
	{Measure: "one withdrawal, likewise", Bench: "BGPOneChange/withdraw", Unit: "ms-over-bird", Show: "ms", Limit: 5, Peer: threeMS, PeerFmt: fmtMS},

	{Measure: "10,000 IPv4 routes into the kernel, beside ip -batch", Bench: "RoutesIntoKernel/IPv4/10000", Unit: "x_ip_batch", Show: "x", Limit: 2.5, AtLeast: true, Peer: "ms_ip_batch", PeerFmt: "ip -batch %.0f ms"},
	{Measure: "100,000 IPv4 routes", Bench: "RoutesIntoKernel/IPv4/100000", Unit: "x_ip_batch", Show: "x", Limit: 2.5, AtLeast: true, Peer: "ms_ip_batch", PeerFmt: "ip -batch %.0f ms"},
	{Measure: "10,000 IPv6 routes", Bench: "RoutesIntoKernel/IPv6/10000", Unit: "x_ip_batch", Show: "x", Limit: 2.5, AtLeast: true, Peer: "ms_ip_batch", PeerFmt: "ip -batch %.0f ms"},
	{Measure: "100,000 IPv6 routes", Bench: "RoutesIntoKernel/IPv6/100000", Unit: "x_ip_batch", Show: "x", Limit: 2.5, AtLeast: true, Peer: "ms_ip_batch", PeerFmt: "ip -batch %.0f ms"},
	{Measure: "loss of one ECMP member of 100,000 IPv4 routes", Bench: "LoseECMPMember/IPv4/nexthop_still_used=false", Unit: "ns/op", Show: "ms", Scale: 1e-6, Limit: 5, Peer: "ms_lost_max", PeerFmt: "longest %.2f ms"},
	{Measure: "the same, IPv6", Bench: "LoseECMPMember/IPv6/nexthop_still_used=false", Unit: "ns/op", Show: "ms", Scale: 1e-6, Limit: 5, Peer: "ms_lost_max", PeerFmt: "longest %.2f ms"},
	{Measure: "the same, next hop in use elsewhere, IPv4", Bench: "LoseECMPMember/IPv4/nexthop_still_used=true", Unit: "ns/op", Show: "ms", Scale: 1e-6, Limit: 5, Peer: "ms_lost_max", PeerFmt: "longest %.2f ms"},
	{Measure: "the same, next hop in use elsewhere, IPv6", Bench: "LoseECMPMember/IPv6/nexthop_still_used=true", Unit: "ns/op", Show: "ms", Scale: 1e-6, Limit: 5, Peer: "ms_lost_max", PeerFmt: "longest %.2f ms"},

	{Measure: "userspace GRE beside wireguard-go, MTU 1500, whole segments on the wire", Bench: "GREvsWireGuard/MTU1500/whole/offload", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 1500, whole segments on the wire, without eBPF", Bench: "GREvsWireGuard/MTU1500/whole/plain", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 1500, card without offload", Bench: "GREvsWireGuard/MTU1500/segments/offload", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 1500, card without offload, without eBPF", Bench: "GREvsWireGuard/MTU1500/segments/plain", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 9000, whole segments on the wire", Bench: "GREvsWireGuard/MTU9000/whole/offload", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 9000, whole segments on the wire, without eBPF", Bench: "GREvsWireGuard/MTU9000/whole/plain", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 9000, card without offload", Bench: "GREvsWireGuard/MTU9000/segments/offload", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},
	{Measure: "userspace GRE beside wireguard-go, MTU 9000, card without offload, without eBPF", Bench: "GREvsWireGuard/MTU9000/segments/plain", Unit: "x_wireguard", Show: "x", Limit: 1, AtLeast: true, Peer: "gre_Gbit/s", PeerFmt: "GRE %.2f Gbit/s"},

	{Measure: "verdict to UPDATE on the wire, median, site withdrawn", Bench: "Daemon", Unit: "ms-withdraw-p50", Show: "ms", Limit: 5, Peer: "trials", PeerFmt: "%.0f trials"},
	{Measure: "the same, p99", Bench: "Daemon", Unit: "ms-withdraw-p99", Show: "ms", Limit: 20, Peer: "ms-withdraw-max", PeerFmt: "longest %.1f ms"},
	{Measure: "site back, to UPDATE, median", Bench: "Daemon", Unit: "ms-announce-p50", Show: "ms", Peer: "ms-announce-p99", PeerFmt: "p99 %.1f ms"},
	{Measure: "  of it bgp/speaker, 10,000 announcements, median", Bench: "WithdrawLatency", Unit: "p50-ms", Show: "ms", Peer: "p99-ms", PeerFmt: "p99 %.1f ms"},
	{Measure: "  of it bgp/speaker, 202 neighbors, median", Bench: "ManyNeighbors", Unit: "p50-ms", Show: "ms", Peer: "p99-ms", PeerFmt: "p99 %.1f ms"},

	{Measure: "BFD, 1,000 sessions at 300 ms x 3, beside BIRD at the other end", Bench: "Sessions", Unit: "%core", Show: "% of a core", Limit: 20, Peer: "%core-bird", PeerFmt: "BIRD %.1f %%"},

	{Measure: "idle daemon with 10 sites, memory (RSS)", Bench: "Daemon", Unit: "MB-rss", Show: "MB", Limit: 60, Peer: "MB-anon", PeerFmt: "%.0f MB without the program's file"},
	{Measure: "idle daemon with 10 sites, CPU over 30 s", Bench: "Daemon", Unit: "%-cpu", Show: "% of a core", Limit: 1},
}
