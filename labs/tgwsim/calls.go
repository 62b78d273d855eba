package tgwsim

import (
	"fmt"
	"path"
	"slices"
	"time"
)

// LoggedCall is one call that was made.
type LoggedCall struct {
	Time               time.Time
	Service, Operation string
	Code               string // of the error, empty: it succeeded
	Cut                bool   // there was no answer
}

// mostCalls bounds the log; older calls are forgotten.
const mostCalls = 100_000

func (s *Server) record(c LoggedCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) >= mostCalls {
		s.calls = slices.Delete(s.calls, 0, mostCalls/2)
	}
	s.calls = append(s.calls, c)
}

// Calls are the calls so far of operations that match a pattern of path.Match,
// such as "Describe*"; "*" is all.
func (s *Server) Calls(pattern string) []LoggedCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []LoggedCall{}
	for _, c := range s.calls {
		if ok, err := path.Match(pattern, c.Operation); ok && err == nil {
			found = append(found, c)
		}
	}
	return found
}

// ForgetCalls empties the log.
func (s *Server) ForgetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// Violation notes that a request was not what AWS would understand, or was about
// something that is not emulated. A test fails if there are any.
func (s *Server) Violation(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// Violations are the requests that AWS would not have understood: unknown
// actions, parameters, filters.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.violations...) // not nil: it is JSON too
}
