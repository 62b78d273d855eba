package interop

import "path/filepath"

// GoBGP4 is the version that wgbgpd embeds; make tools builds its programs.
const GoBGP4 = "v4.8.0"

// columns are all partners in all roles. tools is the directory of .tools.
func columns(tools string) []column {
	gobgpd4, gobgp4 := filepath.Join(tools, "gobgpd-"+GoBGP4), filepath.Join(tools, "gobgp-"+GoBGP4)
	const noRefresh, noBFD = "neither gobgp nor its API can send a ROUTE-REFRESH; softresetin judges the stored Adj-RIB-In", "it has no BFD"
	return []column{
		{name: "FRR", role: roleRouter, start: startFRR, needs: []string{"/usr/lib/frr/bgpd", "/usr/lib/frr/bfdd", "vtysh"}, notes: []string{
			"`maximum-prefix N` ends the session with the prefix after the one too many: at N+2.",
			"IPv6 is spoken only after `neighbor X activate` in its address family.",
		}},
		{name: "BIRD", role: roleRouter, start: startBIRD, needs: []string{"bird", "birdc"}},
		{name: "GoBGP 3", role: roleRouter, start: startGoBGP("/usr/bin/gobgpd", "/usr/bin/gobgp"), needs: []string{"/usr/bin/gobgpd", "/usr/bin/gobgp"}, absent: map[Row]string{Refresh: noRefresh, BFD: noBFD}},
		{name: "GoBGP 4", role: roleRouter, start: startGoBGP4(gobgpd4, gobgp4), needs: []string{gobgpd4, gobgp4}, absent: map[Row]string{Refresh: noRefresh}},
		{name: "OpenBGPD", role: roleRouter, start: startOpenBGPD, needs: []string{"/usr/sbin/bgpd", "bgpctl"}, absent: map[Row]string{BFD: noBFD}, fails: map[Row]string{
			MPIPv6: "OpenBGPD's portable edition tells the next hop ::1 (neither local-address nor a filter with set nexthop changed that here), and we refuse such a path (own-address): give IPv6 a session of its own",
		}},
		{name: "ExaBGP", role: roleRouter, start: startExaBGP, needs: []string{"exabgp"}, absent: map[Row]string{
			LimitTheirs: "ExaBGP has no limit of prefixes",
			ShutdownOut: "ExaBGP selects no paths, so that it has nothing to prefer",
			BFD:         noBFD,
		}},
		{name: "FRR", role: roleTGW, start: startFRR, needs: []string{"/usr/lib/frr/bgpd", "vtysh"}, notes: []string{
			"one session per Connect peer: a second neighbor with the same address is the same neighbor to it.",
		}},
		{name: "BIRD", role: roleTGW, start: startBIRD, needs: []string{"bird", "birdc"}},
	}
}

// ourNotes are about wgbgpd itself.
var ourNotes = []string{
	"**wgbgpd** sends no ROUTE-REFRESH (GoBGP has no call for it) and does not need to: what a neighbor sent is kept and judged again when the policy changes.",
	"**wgbgpd** gives LOCAL_PREF 0 to what an external neighbor marks with GRACEFUL_SHUTDOWN (RFC 8326), and marks its own announcements so while it drains (rank drain).",
	"FRR honours GRACEFUL_SHUTDOWN by itself; BIRD, GoBGP and OpenBGPD by a filter, which is part of these tests (labs/interop).",
	"BFD runs at 300 ms x 3 here; then all packets between the two are dropped without a word. wgbgpd has given up BFD and BGP, and all that was learned, within 2 s, and the partner before its hold time could pass.",
	"**wgbgpd** answers a failure of BFD with Cease 6/4 (GoBGP can not send 6/10 of RFC 9384), so that is its reason for the loss of BGP; `wgbgp bfd` tells that of BFD.",
}
