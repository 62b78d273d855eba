package world

import "time"

// begin enters a state that next follows after some time.
func (l *Lifecycle) begin(state, next string, now time.Time, after time.Duration) {
	l.State, l.Next, l.Due = state, next, now.Add(after)
	if l.Created.IsZero() {
		l.Created = now
	}
}

// settle enters the next state if it is due.
func (l *Lifecycle) settle(now time.Time) (changed bool) {
	if l.Next == "" || now.Before(l.Due) {
		return false
	}
	l.State, l.Next = l.Next, ""
	return true
}

// Live says that an object is neither deleted nor on its way there.
func (l *Lifecycle) Live() bool {
	switch l.State {
	case "deleting", "deleted", "failed", "rejected", "rejecting", "failing":
		return false
	}
	return true
}

// gone says that an object is not even described any more.
func (l *Lifecycle) gone(now time.Time, linger time.Duration) bool {
	return l.State == "deleted" && !now.Before(l.Due.Add(linger))
}

// settle completes all that is due and says whether something changed.
func (w *World) settle() (changed bool) {
	s, now := w.state, w.now()
	defer func() {
		if changed {
			w.changed()
		}
	}()
	for id, g := range s.TransitGateways {
		changed = g.settle(now) || changed
		changed = remove(s.TransitGateways, id, g.gone(now, s.Delays.Linger)) || changed
	}
	for id, p := range s.ConnectPeers {
		changed = p.settle(now) || changed
		changed = remove(s.ConnectPeers, id, p.gone(now, s.Delays.Linger)) || changed
	}
	for id, a := range s.Attachments {
		changed = s.settleAttachment(a, now) || changed
		changed = remove(s.Attachments, id, a.gone(now, s.Delays.Linger)) || changed
	}
	for id, t := range s.Tables {
		changed = t.settle(now) || changed
		changed = remove(s.Tables, id, t.gone(now, s.Delays.Linger)) || changed
	}
	for _, r := range s.RouteServers {
		changed = r.settle(now) || changed
	}
	for _, b := range s.LoadBalancers {
		changed = b.settle(now) || changed
	}
	for _, g := range s.TargetGroups {
		changed = g.settle(now) || changed
	}
	for _, d := range s.DNSChanges {
		changed = d.settle(now) || changed
	}
	return changed
}

func (s *State) settleAttachment(a *Attachment, now time.Time) (changed bool) {
	changed = a.Lifecycle.settle(now)
	if a.State == "deleted" { // its associations and propagations end with it (assumed)
		a.TableID, a.Association, a.Propagations = "", Lifecycle{}, nil
		return changed
	}
	if a.Association.settle(now) {
		changed = true
		if a.Association.State == "disassociated" {
			a.TableID, a.Association = "", Lifecycle{}
		}
	}
	for table, p := range a.Propagations {
		if p.settle(now) {
			changed = true
			if p.State == "disabled" {
				delete(a.Propagations, table)
			}
		}
	}
	return changed
}

func remove[V any](m map[string]V, id string, gone bool) bool {
	if gone {
		delete(m, id)
	}
	return gone
}
