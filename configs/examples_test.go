package configs

import (
	"path/filepath"
	"testing"

	"github.com/wgbgp/wgbgp/internal/secret"
)

// anyKey answers every reference with a key, as the hosts of the examples would.
type anyKey struct{}

func (anyKey) Check(string) ([]string, error) { return nil, nil }
func (anyKey) Open(string) (secret.Value, error) {
	return secret.NewValue(testKeys["/etc/wgbgp/wg0.key"]), nil
}

func TestExamplesLoadWithoutWarnings(t *testing.T) {
	files, err := filepath.Glob("examples/*.toml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	r := secret.Default()
	r.Register("file", anyKey{})
	r.Register("credential", anyKey{})
	for _, f := range files {
		_, warnings, err := Load(f, Options{Secrets: r})
		if err != nil {
			t.Errorf("%v", err)
		}
		if len(warnings) > 0 {
			t.Errorf("%v", warnings)
		}
	}
	cfg, _, err := Load("examples/ec2.toml", Options{Secrets: r})
	if err != nil || len(cfg.Core.Sites) != 2 || len(cfg.Files) != 3 {
		t.Fatalf("ec2.toml: want 2 sites from 3 files, got %+v, %v", cfg, err)
	}
}
