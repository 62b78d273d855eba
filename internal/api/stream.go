package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxStreams bounds event readers; each may hold subscriberQueue events.
const maxStreams = 32

// Headers of an event stream: the daemon's life and its latest event.
const (
	headerBoot = "Wgbgp-Boot"
	headerSeq  = "Wgbgp-Seq"
)

// streamEvents writes events as lines of JSON (NDJSON) until the client
// leaves, the server ends or the client is too slow. Blank lines are signs of
// life.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		writeError(w, Errorf(CodeUsage, "%s: want method GET, got %s", r.URL.Path, r.Method))
		return
	}
	v := r.URL.Query()
	since, err := strconv.ParseUint("0"+v.Get("since"), 10, 64)
	if err != nil {
		writeError(w, Usagef("events: since: want a number, got %q", v.Get("since")))
		return
	}
	var kinds []string
	if k := v.Get("kind"); k != "" {
		kinds = strings.Split(k, ",")
	}
	for _, k := range kinds {
		if !slices.Contains(EventKinds(), k) {
			writeError(w, Usagef("events: no kind %q", k).WithHint("kinds: %s", strings.Join(EventKinds(), " ")))
			return
		}
	}
	if n := s.streams.Add(1); n > maxStreams {
		s.streams.Add(-1)
		writeError(w, Refused("events: %d readers already, the limit", maxStreams))
		return
	}
	defer s.streams.Add(-1)
	sub := s.backend.Events().Subscribe(v.Get("boot"), since)
	defer sub.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(headerBoot, sub.Boot)
	w.Header().Set(headerSeq, strconv.FormatUint(sub.Seq, 10))
	w.WriteHeader(http.StatusOK)
	s.copyEvents(&eventWriter{w: w, c: http.NewResponseController(w), timeout: s.timeouts.event}, r, sub, kinds)
}

func (s *Server) copyEvents(w *eventWriter, r *http.Request, sub *Subscription, kinds []string) {
	alive := time.NewTicker(s.timeouts.keepalive)
	defer alive.Stop()
	if w.flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			if w.line(nil) != nil || w.flush() != nil {
				return
			}
		case e, ok := <-sub.C:
			if !ok {
				s.log.Warn("event reader cut, it does not keep up", "by", caller(r.Context()))
				return
			}
			if len(kinds) > 0 && e.Kind != EventLost && !slices.Contains(kinds, e.Kind) {
				continue
			}
			b, err := json.Marshal(e)
			if err != nil || w.line(b) != nil {
				return
			}
			if len(sub.C) == 0 && w.flush() != nil {
				return
			}
		}
	}
}

// eventWriter gives every write its own deadline, in place of the server's
// deadline for a whole answer.
type eventWriter struct {
	w       http.ResponseWriter
	c       *http.ResponseController
	timeout time.Duration
}

func (w *eventWriter) line(b []byte) error {
	if err := w.c.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	_, err := w.w.Write(append(b, '\n'))
	return err
}

func (w *eventWriter) flush() error {
	if err := w.c.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	return w.c.Flush()
}
