package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wgbgp/wgbgp/internal/version"
)

// endpoint is one path of the API. Reads are GET, orders are POST.
type endpoint struct {
	method string
	do     func(s *Server, r *http.Request, o order) (any, error)
}

var endpoints = map[string]endpoint{
	"/v1/version":           {http.MethodGet, getVersion},
	"/v1/status":            {http.MethodGet, getStatus},
	"/v1/peers":             {http.MethodGet, getPeers},
	"/v1/sites":             {http.MethodGet, getSites},
	"/v1/sites/enable":      {http.MethodPost, setSite(false)},
	"/v1/sites/disable":     {http.MethodPost, setSite(true)},
	"/v1/aws/routes":        {http.MethodGet, getAWSRoutes},
	"/v1/aws/front":         {http.MethodGet, getAWSFront},
	"/v1/ha":                {http.MethodGet, getHA},
	"/v1/ha/steer":          {http.MethodPost, steer},
	"/v1/drain":             {http.MethodPost, drain},
	"/v1/undrain":           {http.MethodPost, undrain},
	"/v1/restart":           {http.MethodPost, restart},
	"/v1/restart/cost":      {http.MethodGet, getRestartCost},
	"/v1/neighbors":         {http.MethodGet, getNeighbors},
	"/v1/bfd":               {http.MethodGet, getBFD},
	"/v1/tgw/peers":         {http.MethodGet, getDiscovery},
	"/v1/neighbors/adj-in":  {http.MethodGet, getAdjIn},
	"/v1/neighbors/adj-out": {http.MethodGet, getAdjOut},
	"/v1/neighbors/reset":   {http.MethodPost, resetNeighbor},
	"/v1/rib":               {http.MethodGet, getRIB},
	"/v1/routes":            {http.MethodGet, getRoutes},
	"/v1/health":            {http.MethodGet, getHealth},
	"/v1/mtu":               {http.MethodGet, getMTU},
	"/v1/explain":           {http.MethodGet, getExplain},
	"/v1/check":             {http.MethodGet, getCheck},
	"/v1/config":            {http.MethodGet, getConfig},
	"/v1/config/diff":       {http.MethodPost, diffConfig},
	"/v1/config/reload":     {http.MethodPost, reloadConfig},
}

// pathEvents is the one endpoint that streams.
const pathEvents = "/v1/events"

// Handler is the API without a socket.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("control request panicked", "path", r.URL.Path, "err", p, "stack", string(debug.Stack()))
				writeError(w, Errorf(CodeFailed, "%s: the daemon failed inside, see its log", r.URL.Path))
			}
		}()
		if r.URL.Path == pathEvents {
			s.streamEvents(w, r)
			return
		}
		s.answer(w, r)
	})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	e, ok := endpoints[r.URL.Path]
	if !ok {
		writeError(w, Errorf(CodeUsage, "%s: the daemon has no such question", r.URL.Path).
			WithHint("use wgbgp and wgbgpd of one version"))
		return
	}
	if r.Method != e.method {
		w.Header().Set("Allow", e.method)
		writeError(w, Errorf(CodeUsage, "%s: want method %s, got %s", r.URL.Path, e.method, r.Method))
		return
	}
	o, err := readOrder(w, r)
	if err == nil {
		var v any
		if v, err = e.do(s, r, o); err == nil {
			writeJSON(w, http.StatusOK, v)
			return
		}
	}
	writeError(w, AsError(err))
}

func readOrder(w http.ResponseWriter, r *http.Request) (o order, err error) {
	if r.Method != http.MethodPost {
		return o, nil
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil && !errors.Is(err, io.EOF) {
		return o, Usagef("%s: request body: %v", r.URL.Path, err)
	}
	return o, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		_ = e.Encode(Errorf(CodeFailed, "encode answer: %v", err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func writeError(w http.ResponseWriter, e *Error) {
	c := *e
	c.Schema, c.Exit = Schema, e.Code.Exit()
	writeJSON(w, e.Code.status(), &c)
}

func getVersion(*Server, *http.Request, order) (any, error) { return RunningVersion(), nil }

// RunningVersion is this binary's version as an answer.
func RunningVersion() Version {
	i := version.Get()
	return Version{
		Schema: Schema, Version: i.Version, Revision: i.Revision, Modified: i.Modified,
		Built: i.Time, Go: i.Go, Platform: i.Platform,
	}
}

func getStatus(s *Server, r *http.Request, _ order) (any, error) {
	v, err := s.backend.Status(r.Context())
	v.Schema = Schema
	return v, err
}

func getPeers(s *Server, r *http.Request, _ order) (any, error) {
	all, err := s.backend.Peers(r.Context())
	if err != nil {
		return nil, err
	}
	l, err := pick("peer", r.URL.Query().Get("name"), all, func(p Peer, n string) bool { return p.Name == n || p.PublicKey == n })
	return PeerList{Schema, l}, err
}

func getSites(s *Server, r *http.Request, _ order) (any, error) {
	all, err := s.backend.Sites(r.Context())
	if err != nil {
		return nil, err
	}
	l, err := pick("site", r.URL.Query().Get("name"), all, func(v Site, n string) bool { return v.Name == n })
	return SiteList{Schema, l}, err
}

func getNeighbors(s *Server, r *http.Request, _ order) (any, error) {
	l, err := s.neighbors(r, r.URL.Query().Get("name"))
	return NeighborList{Schema, l}, err
}

func getBFD(s *Server, r *http.Request, _ order) (any, error) {
	all, err := s.backend.BFD(r.Context())
	if err != nil {
		return nil, err
	}
	l, err := pick("BFD session", r.URL.Query().Get("name"), all, func(v BFD, n string) bool {
		return v.Name == n || v.Address.IsValid() && v.Address.String() == n
	})
	return BFDList{Schema, l}, err
}

func (s *Server) neighbors(r *http.Request, name string) ([]Neighbor, error) {
	all, err := s.backend.Neighbors(r.Context())
	if err != nil {
		return nil, err
	}
	return pick("neighbor", name, all, func(v Neighbor, n string) bool {
		return v.Name == n || (v.Address.IsValid() && v.Address.String() == n)
	})
}

// oneNeighbor finds the neighbor that is meant by a name or an address. A name
// wins over an address that reads the same.
func (s *Server) oneNeighbor(r *http.Request, name string) (string, error) {
	if name == "" {
		return "", Usagef("which neighbor? give a name or an address")
	}
	l, err := s.neighbors(r, name)
	if err != nil {
		return "", err
	}
	for _, n := range l {
		if n.Name == name {
			return n.Name, nil
		}
	}
	return l[0].Name, nil
}

func getAdjIn(s *Server, r *http.Request, _ order) (any, error) {
	n, err := s.oneNeighbor(r, r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	v, err := s.backend.AdjIn(r.Context(), n)
	v.Schema, v.Neighbor = Schema, n
	return v, err
}

func getAdjOut(s *Server, r *http.Request, _ order) (any, error) {
	n, err := s.oneNeighbor(r, r.URL.Query().Get("name"))
	if err != nil {
		return nil, err
	}
	v, err := s.backend.AdjOut(r.Context(), n)
	v.Schema, v.Neighbor = Schema, n
	return v, err
}

func getRIB(s *Server, r *http.Request, _ order) (any, error) {
	q, err := prefixQuery(r)
	if err != nil {
		return nil, err
	}
	l, err := s.backend.RIB(r.Context(), q)
	if err == nil && len(l) == 0 && !q.All() {
		return nil, Errorf(CodeNotFound, "prefix %s: not in the RIB", q.Prefix)
	}
	return RIB{Schema, l}, err
}

func getRoutes(s *Server, r *http.Request, _ order) (any, error) {
	q, err := prefixQuery(r)
	if err != nil {
		return nil, err
	}
	l, err := s.backend.Routes(r.Context(), q)
	if err == nil && len(l) == 0 && !q.All() {
		return nil, Errorf(CodeNotFound, "prefix %s: no route, neither wanted nor foreign", q.Prefix)
	}
	return RouteList{Schema, l}, err
}

func prefixQuery(r *http.Request) (q PrefixQuery, err error) {
	v := r.URL.Query()
	if t := v.Get("prefix"); t != "" {
		q.Prefix, err = ParsePrefix(t)
	}
	q.Longer = v.Get("longer") == "true"
	return q, err
}

func getHealth(s *Server, r *http.Request, _ order) (any, error) {
	all, err := s.backend.Health(r.Context())
	if err != nil {
		return nil, err
	}
	l, err := pick("site", r.URL.Query().Get("site"), all, func(v Health, n string) bool { return v.Site == n })
	return HealthList{Schema, l}, err
}

func getExplain(s *Server, r *http.Request, _ order) (any, error) {
	q, err := ParseExplainQuery(r.URL.Query().Get("q"))
	if err != nil {
		return nil, err
	}
	v, err := s.backend.Explain(r.Context(), q)
	v.Schema, v.Query = Schema, q.Text()
	return v, err
}

func getConfig(s *Server, r *http.Request, _ order) (any, error) {
	v, err := s.backend.ConfigShow(r.Context())
	v.Schema = Schema
	return v, err
}

func diffConfig(s *Server, r *http.Request, o order) (any, error) {
	if !filepath.IsAbs(o.Path) {
		return nil, Usagef("config diff: want an absolute path, got %q", o.Path)
	}
	if err := mayRead(r.Context(), o.Path); err != nil {
		return nil, err
	}
	v, err := s.backend.ConfigDiff(r.Context(), o.Path)
	v.Schema, v.OK, v.Applied = Schema, len(v.Errors) == 0, false
	return v, err
}

func reloadConfig(s *Server, r *http.Request, _ order) (any, error) {
	s.record(r, Event{Kind: EventOperator, Reason: "reload"})
	v, err := s.backend.Reload(r.Context())
	v.Schema, v.OK = Schema, len(v.Errors) == 0
	return v, err
}

func setSite(disabled bool) func(*Server, *http.Request, order) (any, error) {
	verb := "enable"
	if disabled {
		verb = "disable"
	}
	return func(s *Server, r *http.Request, o order) (any, error) {
		all, err := s.backend.Sites(r.Context())
		if err != nil {
			return nil, err
		}
		if _, err := pick("site", cmpName(o.Name), all, func(v Site, n string) bool { return v.Name == n }); err != nil {
			return nil, err
		}
		if err := s.backend.SetSite(r.Context(), o.Name, disabled, o.Keep); err != nil {
			return nil, err
		}
		s.record(r, Event{Kind: EventOperator, Site: o.Name, Reason: verb})
		return Done{Schema, true, fmt.Sprintf("site %s: %sd", o.Name, verb)}, nil
	}
}

func getAWSRoutes(s *Server, r *http.Request, _ order) (any, error) {
	return s.backend.AWSRoutes(r.Context())
}

func getAWSFront(s *Server, r *http.Request, _ order) (any, error) {
	return s.backend.AWSFront(r.Context())
}

func getHA(s *Server, r *http.Request, _ order) (any, error) {
	all, err := s.backend.HA(r.Context())
	if err != nil {
		return nil, err
	}
	all.Schema = Schema
	all.Sites, err = pick("site", r.URL.Query().Get("name"), all.Sites, func(v HASite, n string) bool { return v.Site == n })
	return all, err
}

func steer(s *Server, r *http.Request, o order) (any, error) {
	switch o.Order {
	case OrderFailover, OrderFailback, OrderTakeover:
	default:
		return nil, Usagef("want failover, failback or takeover")
	}
	all, err := s.backend.HA(r.Context())
	if err != nil {
		return nil, err
	}
	if _, err := pick("site", o.Name, all.Sites, func(v HASite, n string) bool { return v.Site == n }); err != nil {
		return nil, err
	}
	if o.Name == "" && o.Order == OrderTakeover {
		return nil, Usagef("takeover: which site?")
	}
	if err := s.backend.Steer(r.Context(), Steer{Site: o.Name, Order: o.Order, By: caller(r.Context()), Keep: o.Keep}); err != nil {
		return nil, err
	}
	s.record(r, Event{Kind: EventOperator, Site: o.Name, Reason: o.Order})
	what := "all sites"
	if o.Name != "" {
		what = "site " + o.Name
	}
	return Done{Schema, true, fmt.Sprintf("%s: %s", what, o.Order)}, nil
}

// maxReason bounds what an operator may have to say, in bytes.
const maxReason = 200

func drain(s *Server, r *http.Request, o order) (any, error) {
	if len(o.Reason) > maxReason || strings.ContainsFunc(o.Reason, unicode.IsControl) {
		return nil, Usagef("drain: want a reason of one line and at most %d bytes", maxReason)
	}
	d := Drain{Reason: o.Reason, Keep: o.Keep, By: caller(r.Context()), Since: At(time.Now(), time.Now())}
	if err := s.backend.Drain(r.Context(), d); err != nil {
		return nil, err
	}
	s.record(r, Event{Kind: EventOperator, Reason: "drain"})
	return Done{Schema, true, "drain: begun"}, nil
}

func undrain(s *Server, r *http.Request, _ order) (any, error) {
	if err := s.backend.Undrain(r.Context()); err != nil {
		return nil, err
	}
	s.record(r, Event{Kind: EventOperator, Reason: "undrain"})
	return Done{Schema, true, "undrain: announcing again"}, nil
}

func getRestartCost(s *Server, r *http.Request, _ order) (any, error) {
	return s.backend.RestartCost(r.Context())
}

func restart(s *Server, r *http.Request, o order) (any, error) {
	cost, err := s.backend.RestartCost(r.Context())
	if err != nil {
		return nil, err
	}
	if cost.Refused != "" && !o.Force {
		return nil, Refused("restart: %s", cost.Refused).WithHint("wgbgp restart --check shows more, --force does it")
	}
	if err := s.backend.Restart(r.Context()); err != nil {
		return nil, err
	}
	s.record(r, Event{Kind: EventOperator, Reason: "restart"})
	return Done{Schema, true, "restart: begun"}, nil
}

func resetNeighbor(s *Server, r *http.Request, o order) (any, error) {
	n, err := s.oneNeighbor(r, o.Name)
	if err != nil {
		return nil, err
	}
	if err := s.backend.ResetNeighbor(r.Context(), n); err != nil {
		return nil, err
	}
	s.record(r, Event{Kind: EventOperator, Neighbor: n, Reason: "reset"})
	return Done{Schema, true, fmt.Sprintf("neighbor %s: session reset", n)}, nil
}

// record leaves a trace of an order: who gave it.
func (s *Server) record(r *http.Request, e Event) {
	e.Detail = caller(r.Context())
	s.backend.Events().Publish(e)
	s.log.Info("operator order", "reason", e.Reason, "site", e.Site, "neighbor", e.Neighbor, "by", e.Detail)
}

// cmpName makes an empty name one that nothing has, where pick would take it
// for "all".
func cmpName(n string) string {
	if n == "" {
		return `""`
	}
	return n
}

// pick returns all objects, or those with the name; none is an error.
func pick[T any](kind, name string, all []T, is func(T, string) bool) ([]T, error) {
	if name == "" {
		return all, nil
	}
	var out []T
	for _, v := range all {
		if is(v, name) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, NotFound(kind, name)
	}
	return out, nil
}
