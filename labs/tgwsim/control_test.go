package tgwsim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func (l *lab) control(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, l.url+tgwsim.ControlPath+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestScenariosChangeTheWorldAndTheFaults(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	gone, kept := l.Peers[0], l.Peers[1]
	patch := `{"ConnectPeers": {"` + gone + `": null, "` + kept + `": {"PeerAddress": "10.0.1.99"}}}`
	if status, body := l.control(t, "POST", "world", patch); status != http.StatusOK {
		t.Fatalf("patch: %d %s", status, body)
	}
	found, err := l.describePeers()
	if err != nil || len(found) != 1 {
		t.Fatalf("%d peers, %v; want one", len(found), err)
	}
	if c := found[0].ConnectPeerConfiguration; *c.PeerAddress != "10.0.1.99" || *c.TransitGatewayAddress != "192.0.2.2" {
		t.Errorf("the patched peer: %+v, want only another peer address", c)
	}
	for _, wrong := range []string{`{"ConnectPeers": {"x": {"Color": "red"}}}`, `{"Peers": {}}`, `[]`} {
		if status, _ := l.control(t, "POST", "world", wrong); status != http.StatusBadRequest {
			t.Errorf("patch %s: %d, want 400", wrong, status)
		}
	}
	if status, body := l.control(t, "POST", "faults", `{"Credentials": "ExpiredToken", "Plan": [{"Kind": "slow", "Delay": 1}]}`); status != http.StatusOK {
		t.Fatalf("faults: %d %s", status, body)
	}
	if _, err := l.describePeers(); code(err) != "ExpiredToken" {
		t.Errorf("%v, want ExpiredToken", err)
	}
	_, text := l.control(t, "GET", "calls?pattern=Describe*", "")
	var calls []tgwsim.LoggedCall
	if err := json.Unmarshal([]byte(text), &calls); err != nil || len(calls) != 2 || calls[1].Code != "ExpiredToken" {
		t.Errorf("calls %s (%v), want two", text, err)
	}
	if _, text := l.control(t, "GET", "violations", ""); strings.TrimSpace(text) != "[]" {
		t.Errorf("violations %s, want []", text)
	}
	_, text = l.control(t, "GET", "world", "")
	var state world.State
	if err := json.Unmarshal([]byte(text), &state); err != nil || state.ConnectPeers[kept] == nil {
		t.Errorf("the world: %v", err)
	}
}
