// Package simtest starts package tgwsim for a test: the API and the metadata
// service of every instance on the loopback interface, and the environment that
// leads an AWS client there and nowhere else.
package simtest

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/services"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Sim is a running emulator.
type Sim struct {
	*tgwsim.Server
	URL string // of the API, for every service

	imds map[string]*instance // by instance ID
}

type instance struct {
	*tgwsim.IMDS
	url string
}

// Start serves a world until the test ends. The test fails if a request was made
// that AWS would not understand.
func Start(t testing.TB, w *world.World, o tgwsim.Options) *Sim {
	t.Helper()
	s := &Sim{Server: tgwsim.NewServer(w, o), imds: map[string]*instance{}}
	services.Add(s.Server)
	api := httptest.NewServer(s.Server)
	t.Cleanup(api.Close)
	s.URL = api.URL
	now := o.Now
	if now == nil {
		now = time.Now
	}
	for id := range w.Snapshot().Instances {
		i := &instance{IMDS: tgwsim.NewIMDS(w, now, id)}
		h := httptest.NewServer(i.IMDS)
		t.Cleanup(h.Close)
		i.url = h.URL
		s.imds[id] = i
	}
	t.Cleanup(func() {
		if v := s.Violations(); len(v) > 0 {
			t.Errorf("AWS would not have understood: %q", v)
		}
	})
	return s
}

// IMDS is the metadata service of an instance.
func (s *Sim) IMDS(instanceID string) *tgwsim.IMDS { return s.imds[instanceID].IMDS }

// Env is the environment of a process on an instance, "NAME=value" each; without
// an instance ID there is no metadata service. Credentials are static.
func (s *Sim) Env(instanceID string) []string {
	env := []string{
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=" + s.World().Snapshot().Region, "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret",
		// Nothing of the machine's own configuration may lead elsewhere.
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PROFILE=", "AWS_SESSION_TOKEN=",
	}
	if i := s.imds[instanceID]; i != nil {
		return append(env, "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+i.url)
	}
	return append(env, "AWS_EC2_METADATA_DISABLED=true")
}

// EnvWithRole is Env without static credentials: they come from the role in the
// instance's metadata.
func (s *Sim) EnvWithRole(instanceID string) []string {
	return slices.DeleteFunc(s.Env(instanceID), func(v string) bool {
		return strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=")
	})
}

// Setenv puts Env into the test's own environment.
func (s *Sim) Setenv(t *testing.T, instanceID string) {
	t.Helper()
	for _, v := range s.Env(instanceID) {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}
