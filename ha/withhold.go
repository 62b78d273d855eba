package ha

// holdOthers notes why the claims of sites beside the best one do not stand.
func (w *walker) holdOthers(e *entry) {
	best := &w.cands[0]
	for i := range w.cands[1:] {
		k := &w.cands[i+1]
		if k.site == nil || k.site == best.site || k.host || k.blocked {
			continue
		}
		if !k.usable() {
			w.hold(e, k, k.reason, k.detail)
		} else if _, step := prefer(best, k); !step.breaksTie() || e.placing(k.site) == nil {
			w.hold(e, k, ReasonNotBest, "decided by "+step.Text())
		}
	}
}

func (w *walker) hold(e *entry, k *candidate, r Reason, detail string) {
	h := Withheld{Prefix: e.prefix, From: k.from(), Reason: r, Detail: detail}
	if k.site != nil {
		h.Site = k.site.cfg.Name
	}
	w.held = append(w.held, h)
}

// holdLess adds to why the site's claim does not stand what is done with it all the same.
func (w *walker) holdLess(s *siteState, detail string) {
	for i := range w.held {
		if h := &w.held[i]; h.Site == s.cfg.Name && h.Reason == ReasonNotBest {
			h.Detail += "; " + detail
		}
	}
}
