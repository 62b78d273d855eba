package api

import "time"

// SetTimeouts shortens the time-outs of requests: to read one, to write an
// answer, and between signs of life of an event stream.
func SetTimeouts(s *Server, read, write, keepalive time.Duration) {
	s.timeouts.body, s.timeouts.write, s.timeouts.keepalive = read, write, keepalive
}
