package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
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

// WriteEvents writes events in the order of their time, and of one instant in that of
// their prefixes, in one go.
func WriteEvents(w io.Writer, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	slices.SortStableFunc(events, func(a, b Event) int {
		if c := a.At.Compare(b.At); c != 0 || !a.Prefix.IsValid() || !b.Prefix.IsValid() {
			return c
		}
		return bgp.ComparePrefix(a.Prefix, b.Prefix)
	})
	var text []byte
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	_, err := w.Write(text)
	return err
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
