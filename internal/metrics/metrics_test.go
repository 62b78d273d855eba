package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/api/apitest"
)

func world() Answers {
	b := apitest.New()
	v := b.View
	v.Status.Quotas = api.List[api.Quota]{{Group: "tgw", Limit: 1000, Wanted: 1003, Announced: 1000}}
	v.Status.AWS = api.AWSRequests{Requests: 62, Throttled: 31, Denied: 1, Failed: 12}
	v.Status.Alarms = api.List[api.Alarm]{{Name: "prefix-quota", Severity: api.SeverityError, Object: "group tgw"}}
	return Answers{Status: v.Status, Sites: v.Sites, Peers: v.Peers, Neighbors: v.Neighbors}
}

func TestTextSaysTheQuotaAndWhatAWSRefuses(t *testing.T) {
	text := Text(world())
	for _, want := range []string{
		`wgbgp_quota_limit_prefixes{group="tgw"} 1000`,
		`wgbgp_quota_wanted_prefixes{group="tgw"} 1003`,
		`wgbgp_quota_announced_prefixes{group="tgw"} 1000`,
		`wgbgp_quota_held_prefixes{group="tgw"} 3`,
		`wgbgp_alarms{name="prefix-quota",severity="error"} 1`,
		`wgbgp_site_up{site="paris"} 1`,
		`wgbgp_site_up{site="lyon"} 0`,
		`wgbgp_sites{verdict="down"} 1`,
		`wgbgp_aws_requests_total 62`,
		`wgbgp_aws_throttled_requests_total 31`,
		`wgbgp_aws_denied_requests_total 1`,
		`wgbgp_aws_failed_requests_total 12`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// The format, line by line: each family once, HELP, TYPE, then its samples only;
// counters end in _total, names follow the house.
func TestTextIsPrometheusFormat(t *testing.T) {
	a := world()
	a.Sites[0].Name = "a\"b\\c\nd"
	name := regexp.MustCompile(`^wgbgp_[a-z_]+$`)
	sample := regexp.MustCompile(`^(wgbgp_[a-z_]+)(\{[a-z]+="([^"\\]|\\["\\n])*"(,[a-z]+="([^"\\]|\\["\\n])*")*\})? [-+0-9.e]+$`)
	seen, family := map[string]bool{}, ""
	for _, line := range strings.Split(strings.TrimSuffix(Text(a), "\n"), "\n") {
		w := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			if family = w[2]; seen[family] || !name.MatchString(family) || len(w) < 5 {
				t.Errorf("%q: twice, no name, or no help", line)
			}
			seen[family] = true
		case strings.HasPrefix(line, "# TYPE "):
			if w[2] != family || (w[3] == "counter") != strings.HasSuffix(family, "_total") {
				t.Errorf("%q under HELP %s", line, family)
			}
		default:
			if m := sample.FindStringSubmatch(line); m == nil || m[1] != family {
				t.Errorf("%q is no sample of %s", line, family)
			}
		}
	}
	if len(seen) < 25 {
		t.Errorf("only %d families", len(seen))
	}
}

func TestTextNamesNoKey(t *testing.T) {
	a := world()
	a.Peers = append(a.Peers, api.Peer{PublicKey: "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=", State: api.PeerForeign})
	text := Text(a)
	for _, p := range a.Peers {
		if strings.Contains(text, p.PublicKey) {
			t.Errorf("the text holds the key %s", p.PublicKey)
		}
	}
}

func TestDynamicNeighborsMakeNoSeries(t *testing.T) {
	a := world()
	a.Neighbors = append(a.Neighbors, api.Neighbor{Name: "edge/192.0.2.77", Dynamic: "edge"})
	if strings.Contains(Text(a), "192.0.2.77") {
		t.Error("whoever dials makes a series")
	}
}

func TestServeAnswersAndEnds(t *testing.T) {
	l := httptest.NewServer(handler(apitest.New()))
	defer l.Close()
	r, err := http.Get(l.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != ContentType || !strings.Contains(string(body), "wgbgp_build_info") {
		t.Errorf("%s %v %s", r.Status, r.Header, body)
	}
	if r, err := http.Post(l.URL+path, "", nil); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v, want 405", r, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, netip.MustParseAddrPort("127.0.0.1:0"), apitest.New(), slog.New(slog.DiscardHandler))
	}()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not end")
	}
}

type mute struct{ *apitest.Backend }

func (mute) Status(context.Context) (api.Status, error) { return api.Status{}, errors.New("busy") }

func TestNoAnswerIsNoZero(t *testing.T) {
	w := httptest.NewRecorder()
	handler(mute{apitest.New()}).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != http.StatusServiceUnavailable || slices.Contains(strings.Fields(w.Body.String()), "0") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTextSaysWhatAWSWasAsked(t *testing.T) {
	a := world()
	a.Discovery = api.Discovery{
		Sources: api.List[api.DiscoverySource]{
			{Name: "connect-peers", Wanted: true, Answered: api.Stamp{Time: time.Unix(1_700_000_000, 0), AgeSeconds: 42}, Found: api.List[api.Discovered]{
				{ID: "a"}, {ID: "b", Reason: "wrong-asn"}, {ID: "c", Reason: "foreign"},
			}},
			{Name: "route-server-peers", Wanted: true, Error: "throttled"},
		},
	}
	a.Status.AWS = api.AWSRequests{Requests: 7, Throttled: 2, Denied: 3, Failed: 4}
	text := Text(a)
	for _, want := range []string{
		`wgbgp_discovery_ok{source="connect-peers"} 1`,
		`wgbgp_discovery_ok{source="route-server-peers"} 0`,
		`wgbgp_discovery_answer_age_seconds{source="connect-peers"} 42`,
		`wgbgp_discovery_peers{source="connect-peers",used="yes"} 1`,
		`wgbgp_discovery_peers{source="connect-peers",used="no"} 1`,
		`wgbgp_aws_requests_total 7`,
		`wgbgp_aws_throttled_requests_total 2`,
		`wgbgp_aws_denied_requests_total 3`,
		`wgbgp_aws_failed_requests_total 4`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, `answer_age_seconds{source="route-server-peers"}`) {
		t.Error("an answer that never came has an age")
	}
	a.Discovery = api.Discovery{Sources: api.List[api.DiscoverySource]{{Name: "connect-peers"}}}
	if strings.Contains(Text(a), "discovery") {
		t.Error("discovery that nobody asks for has metrics")
	}
}
