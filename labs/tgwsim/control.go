package tgwsim

import (
	"encoding/json"
	"net/http"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// ControlPath is where the Server answers to scenarios. It is no part of AWS.
const ControlPath = "/_tgwsim/"

// Control is the handler below ControlPath, for a listener of its own:
//
//	GET  calls        []LoggedCall; with ?pattern=Describe* those
//	GET  violations   []string
//	POST faults       a Faults replaces all of them
//	GET  world        the world.State
//	POST world        a merge patch (RFC 7386) of it: {"ConnectPeers": {"tgw-connect-peer-...": null}}
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ControlPath+"calls", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Calls(or(r.URL.Query().Get("pattern"), "*")))
	})
	mux.HandleFunc("GET "+ControlPath+"violations", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Violations()) })
	mux.HandleFunc("GET "+ControlPath+"world", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.world.Snapshot()) })
	mux.HandleFunc("POST "+ControlPath+"faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.SetFaults(f)
	})
	mux.HandleFunc("POST "+ControlPath+"world", func(w http.ResponseWriter, r *http.Request) {
		var patch map[string]any
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody)).Decode(&patch); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var failed error
		s.world.Do(func(state *world.State) { failed = state.Patch(patch) })
		if failed != nil {
			http.Error(w, failed.Error(), http.StatusBadRequest)
		}
	})
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) // the caller has gone
}
