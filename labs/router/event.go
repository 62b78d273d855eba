package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Event is one change, as written to Config.Events.
type Event struct {
	At time.Time `json:"at"`

	// A route changed in the kernel: Via are the ways in use now, sorted; none
	// means that the route is gone.
	Prefix netip.Prefix `json:"prefix,omitzero"`
	Table  string       `json:"table,omitempty"` // of several route tables
	Via    []string     `json:"via,omitempty"`

	// A session changed.
	Neighbor string `json:"neighbor,omitempty"`
	State    string `json:"state,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// ReadEvents reads what a router has written so far; a file that does not exist
// yet is empty.
func ReadEvents(file string) ([]Event, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1] // a line may be in the writing
	var events []Event
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var e Event
		if err := d.Decode(&e); err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// Routes is the state after the events: the ways of every prefix that has one.
func Routes(events []Event) map[netip.Prefix][]string {
	routes := map[netip.Prefix][]string{}
	for _, e := range events {
		if !e.Prefix.IsValid() {
			continue
		}
		if len(e.Via) == 0 {
			delete(routes, e.Prefix)
		} else {
			routes[e.Prefix] = e.Via
		}
	}
	return routes
}

// RouteChanged finds the first event at or after since that leaves prefix with
// exactly these ways.
func RouteChanged(events []Event, since time.Time, prefix netip.Prefix, via ...string) (Event, bool) {
	for _, e := range events {
		if e.Prefix == prefix && !e.At.Before(since) && slices.Equal(e.Via, via) {
			return e, true
		}
	}
	return Event{}, false
}
