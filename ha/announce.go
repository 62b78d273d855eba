package ha

import "github.com/wgbgp/wgbgp/bgp"

// announce tells the audience about the prefix if it can be forwarded now, and
// notes why not otherwise. It reports whether it did.
func (w *walker) announce(e *entry, old *bgp.Route, report *bgp.RouteReport) bool {
	for i := range w.cands {
		if k := &w.cands[i]; k.blocked {
			w.hold(e, k, k.reason, k.detail)
		}
	}
	k := &w.cands[0]
	if k.blocked {
		return false
	}
	w.holdOthers(e)
	if k.host {
		return false
	}
	if !k.usable() {
		w.hold(e, k, k.reason, k.detail)
		return false
	}
	if reason, detail := w.forwarding(e, old, report); reason != ReasonNone {
		w.hold(e, k, reason, detail)
		return false
	}
	if w.c.drain == DrainWithdraw {
		w.hold(e, k, ReasonDraining, "")
		return false
	}
	if name := notForOthers(k.attrs()); name != "" {
		w.hold(e, k, ReasonCommunity, name)
		return false
	}
	to := w.c.exports.get(exportKey{k.kind(), w.c.rank(k)})
	if len(to) == 0 {
		if k.site != nil {
			w.hold(e, k, ReasonNoAudience, "")
		}
		return false
	}
	w.ann.add(bgp.Announcement{Prefix: e.prefix, Attrs: k.attrs(), To: to, Except: k.except()})
	return true
}

// forwarding says why traffic for the entry would not reach a usable claim.
func (w *walker) forwarding(e *entry, old *bgp.Route, report *bgp.RouteReport) (Reason, string) {
	anyReady := false
	for i := range w.cands {
		k := &w.cands[i]
		if k.blocked || !k.usable() {
			break
		}
		if !k.ready(e) {
			continue
		}
		anyReady = true
		if old != nil && throughDevice(old, k.device()) {
			if report == nil {
				return ReasonNone, ""
			}
			return reportReason(report), report.Detail
		}
	}
	switch {
	case !anyReady && w.cands[0].site != nil && w.cands[0].site.applied == nil:
		if d := w.cands[0].site.dev; d != nil && d.applied.Err != "" && d.applied.Index == 0 {
			return ReasonNoDevice, d.applied.Err
		}
		return ReasonNoPeer, deviceDetail(w.cands[0].site.dev)
	case !anyReady:
		return ReasonAllowedIP, ""
	case w.c.routes.Err != "":
		return ReasonRouteFailed, w.c.routes.Err
	}
	return ReasonRoute, ""
}

func deviceDetail(d *deviceState) string {
	switch {
	case d == nil:
		return ""
	case d.applied.Err != "":
		return d.applied.Err
	}
	return d.err
}

func reportReason(r *bgp.RouteReport) Reason {
	switch r.Status {
	case bgp.RouteShadowed:
		return ReasonShadowed
	case bgp.RouteNoDevice:
		return ReasonNoDevice
	default:
		return ReasonRouteFailed
	}
}

// notForOthers names the well-known community that forbids passing a path on
// (RFC 1997, RFC 7999 section 3.2).
func notForOthers(a *bgp.Attrs) string {
	for _, c := range a.Communities {
		switch c {
		case bgp.NoExport:
			return "NO_EXPORT"
		case bgp.NoAdvertise:
			return "NO_ADVERTISE"
		case bgp.Blackhole:
			return "BLACKHOLE"
		}
	}
	return ""
}
