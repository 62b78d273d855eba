package api

import "time"

// SetTimeouts shortens the time-outs of requests, not those of writing.
func SetTimeouts(s *Server, d time.Duration) {
	s.timeouts.body, s.timeouts.keepalive = d, d
}
