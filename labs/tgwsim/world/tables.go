package world

import (
	"net/netip"
	"slices"
	"time"
)

func (s *State) table(id string) (*Table, *Error) {
	t, ok := s.Tables[id]
	switch {
	case !ok || t.State == "deleted":
		return nil, refuse("InvalidRouteTableID.NotFound", "Transit Gateway Route Table %s was not found", id) // [TF-PEER]
	case t.State != "available":
		return nil, incorrectState(id, t.State)
	}
	return t, nil
}

// tableAndAttachment are both parts of an association or propagation. Both must
// be of one Transit Gateway.
func (s *State) tableAndAttachment(tableID, attachmentID string) (*Attachment, *Error) {
	t, err := s.table(tableID)
	if err != nil {
		return nil, err
	}
	a, err := s.attachment(attachmentID)
	if err != nil {
		return nil, err
	}
	if a.State != "available" {
		return nil, incorrectState(a.ID, a.State)
	}
	if a.TransitGatewayID != t.TransitGatewayID { // code assumed
		return nil, refuse("InvalidParameterValue", "%s and %s are of different Transit Gateways", tableID, attachmentID)
	}
	return a, nil
}

// Associate makes a route table the one of an attachment. An attachment has one
// at most, a route table or a policy table [API][PBR-LIM].
func (w *World) Associate(tableID, attachmentID string) error {
	return w.change(func(s *State, now time.Time) *Error {
		a, err := s.tableAndAttachment(tableID, attachmentID)
		if err != nil {
			return err
		}
		if a.TableID != "" || a.PolicyTableID != "" { // [TF-PEER errors.go]
			return refuse("Resource.AlreadyAssociated", "%s is already associated with %s%s", attachmentID, a.TableID, a.PolicyTableID)
		}
		a.TableID, a.Association = tableID, Lifecycle{}
		a.Association.begin("associating", "associated", now, s.Delays.Associate)
		return nil
	})
}

// Disassociate ends an association.
func (w *World) Disassociate(tableID, attachmentID string) error {
	return w.change(func(s *State, now time.Time) *Error {
		a, err := s.tableAndAttachment(tableID, attachmentID)
		if err != nil {
			return err
		}
		if a.TableID != tableID { // code assumed
			return refuse("InvalidAssociation.NotFound", "%s is not associated with %s", attachmentID, tableID)
		}
		if a.Association.State != "associated" {
			return incorrectState(attachmentID, a.Association.State)
		}
		a.Association.begin("disassociating", "disassociated", now, s.Delays.Associate)
		return nil
	})
}

// Propagate lets an attachment's routes into a table.
func (w *World) Propagate(tableID, attachmentID string) error {
	return w.change(func(s *State, now time.Time) *Error {
		a, err := s.tableAndAttachment(tableID, attachmentID)
		if err != nil {
			return err
		}
		if a.Propagations[tableID] != nil { // [TF-PEER errors.go]
			return refuse("TransitGatewayRouteTablePropagation.Duplicate", "%s already propagates to %s", attachmentID, tableID)
		}
		makeMap(&a.Propagations)
		p := &Lifecycle{}
		p.begin("enabling", "enabled", now, s.Delays.Associate)
		a.Propagations[tableID] = p
		return nil
	})
}

// StopPropagation ends a propagation.
func (w *World) StopPropagation(tableID, attachmentID string) error {
	return w.change(func(s *State, now time.Time) *Error {
		a, err := s.tableAndAttachment(tableID, attachmentID)
		if err != nil {
			return err
		}
		p := a.Propagations[tableID]
		if p == nil { // [TF-PEER]
			return refuse("TransitGatewayRouteTablePropagation.NotFound", "%s does not propagate to %s", attachmentID, tableID)
		}
		if p.State != "enabled" {
			return incorrectState(attachmentID, p.State)
		}
		p.begin("disabling", "disabled", now, s.Delays.Associate)
		return nil
	})
}

// CreateStatic adds a static route to a TGW route table. On a Connect attachment
// there are none [CONNECT].
func (w *World) CreateStatic(tableID string, r Static) error {
	return w.static(tableID, r, func(t *Table, at int) *Error {
		if at >= 0 { // [TF-PEER]
			return refuse("RouteAlreadyExists", "%s has a static route for %s", tableID, r.Prefix)
		}
		t.Static = append(t.Static, r)
		return nil
	})
}

// ReplaceStatic gives a static route another target.
func (w *World) ReplaceStatic(tableID string, r Static) error {
	return w.static(tableID, r, func(t *Table, at int) *Error {
		if at < 0 {
			return routeNotFound(tableID, r.Prefix)
		}
		t.Static[at] = r
		return nil
	})
}

// DeleteStatic removes a static route and says what it was.
func (w *World) DeleteStatic(tableID string, prefix netip.Prefix) (r Static, err error) {
	err = w.change(func(s *State, _ time.Time) *Error {
		t, err := s.table(tableID)
		if err != nil {
			return err
		}
		at := t.find(prefix)
		if at < 0 {
			return routeNotFound(tableID, prefix)
		}
		r = t.Static[at]
		t.Static = slices.Delete(t.Static, at, at+1)
		return nil
	})
	return r, err
}

func (w *World) static(tableID string, r Static, act func(*Table, int) *Error) error {
	return w.change(func(s *State, _ time.Time) *Error {
		t, err := s.table(tableID)
		if err != nil {
			return err
		}
		if r.Blackhole == (r.AttachmentID != "") { // [API]: one of both
			return refuse("InvalidParameterCombination", "a route has either a Transit Gateway attachment or is a blackhole")
		}
		if !r.Blackhole {
			a, err := s.tableAndAttachment(tableID, r.AttachmentID)
			if err != nil {
				return err
			}
			if a.Type == TypeConnect {
				return refuse("UnsupportedOperation", "%s is a Connect attachment: static routes are not supported", a.ID) // code assumed
			}
		}
		return act(t, t.find(r.Prefix))
	})
}

func (t *Table) find(prefix netip.Prefix) int {
	return slices.IndexFunc(t.Static, func(r Static) bool { return r.Prefix == prefix && r.PrefixListID == "" })
}

func routeNotFound(table string, prefix netip.Prefix) *Error {
	return refuse("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", prefix, table) // [TF-PEER]
}
