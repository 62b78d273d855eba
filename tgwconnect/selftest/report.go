package selftest

import (
	"fmt"
	"strings"
	"time"
)

// Schema of the report.
const Schema = "wgbgp-selftest/1"

// Results of a point.
const (
	Measured    = "measured"
	NotMeasured = "not-measured" // Answer says why, How what to do instead
	Failed      = "failed"       // the attempt itself did not succeed
)

// Report is what a run found.
type Report struct {
	Schema         string    `json:"schema"`
	Run            string    `json:"run"` // value of TagKey
	Version        string    `json:"version"`
	Region         string    `json:"region"`
	TransitGateway string    `json:"transit_gateway"`
	Transport      string    `json:"transport"`
	DryRun         bool      `json:"dry_run"`
	Started        time.Time `json:"started"`
	Ended          time.Time `json:"ended"`
	Steps          []Step    `json:"steps"` // in the order in which they were done, or would be
	Points         []Point   `json:"points"`
	Left           []string  `json:"left"`  // ids that could not be deleted
	Error          string    `json:"error"` // what ended the run early
}

// Step is something done to the account, and how long it took.
type Step struct {
	What    string  `json:"what"`
	ID      string  `json:"id,omitempty"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Point is an open point of what is known of Transit Gateways.
type Point struct {
	ID       int      `json:"id"`
	Question string   `json:"question"`
	Result   string   `json:"result"`
	Answer   string   `json:"answer"`
	Evidence []string `json:"evidence,omitempty"`
	How      string   `json:"how,omitempty"` // to measure it by hand
}

// OK reports whether the run came to its end and left nothing.
func (r *Report) OK() bool { return r.Error == "" && len(r.Left) == 0 }

// Text is the report for a person.
func (r *Report) Text() string {
	var b strings.Builder
	verb := "did"
	if r.DryRun {
		verb = "would do"
	}
	fmt.Fprintf(&b, "run %s on %s in %s, by %s\n\nWhat it %s:\n", r.Run, r.TransitGateway, r.Region, r.Transport, verb)
	for _, s := range r.Steps {
		line := s.What
		if s.ID != "" {
			line += " " + s.ID
		}
		if !r.DryRun {
			line += fmt.Sprintf(" (%.1f s)", s.Seconds)
		}
		if s.Error != "" {
			line += ": " + s.Error
		}
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if len(r.Points) > 0 {
		b.WriteString("\nWhat it found:\n")
	}
	for _, p := range r.Points {
		fmt.Fprintf(&b, "  %d. %s\n     %s: %s\n", p.ID, p.Question, p.Result, p.Answer)
		for _, e := range p.Evidence {
			fmt.Fprintf(&b, "       %s\n", e)
		}
		if p.How != "" {
			fmt.Fprintf(&b, "     by hand: %s\n", p.How)
		}
	}
	switch {
	case r.DryRun:
	case len(r.Left) > 0:
		fmt.Fprintf(&b, "\nNOT deleted, and billed until it is: %s\n", strings.Join(r.Left, ", "))
	default:
		b.WriteString("\nNothing of it is left.\n")
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "\nThe run ended early: %s\n", r.Error)
	}
	return b.String()
}
