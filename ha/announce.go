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
	if x := k.wish(); x != nil && x.nobody != "" {
		w.hold(e, k, ReasonCommunity, x.nobody)
		return false
	}
	if reason, detail := w.forwarding(e, old, report); reason != ReasonNone {
		w.hold(e, k, reason, detail)
		return false
	}
	w.forwarded = true
	if reason, detail := w.c.silenced(); reason != ReasonNone {
		w.hold(e, k, reason, detail)
		return false
	}
	to := w.audience(e, k)
	if len(to) == 0 {
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
			switch {
			case !w.everyWayWorks(e):
				return ReasonRoute, "it led elsewhere a moment ago"
			case report == nil:
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
