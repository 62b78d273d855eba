package stage

import (
	"crypto/ecdh"
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/labs/clab"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{"  ip\taddr  add ", []string{"ip", "addr", "add"}},
		{`sh -c "a b; c"`, []string{"sh", "-c", "a b; c"}},
		{`nft 'table x { chain "y" }'`, []string{"nft", `table x { chain "y" }`}},
		{`a"b c"d`, []string{"ab cd"}},
		{`x '' y`, []string{"x", "", "y"}},
	} {
		if got, err := Words(c.line); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q and %v, want %q", c.line, got, err, c.want)
		}
	}
	for _, line := range []string{`sh -c "a`, `it's`} {
		if got, err := Words(line); err == nil {
			t.Errorf("%s: got %q, want an error", line, got)
		}
	}
}

// A lab's keys follow from their names: anything else would make the public keys
// in its configurations wrong.
func TestKeyFollowsFromItsName(t *testing.T) {
	private, public, err := Key("quickstart", "paris.key")
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := Key("quickstart", "paris.key")
	if err != nil || again != private {
		t.Errorf("the second time: another key (%v)", err)
	}
	raw, err := base64.StdEncoding.DecodeString(private)
	if err != nil || len(raw) != 32 || raw[0]&7 != 0 || raw[31]&0xc0 != 0x40 {
		t.Errorf("not a clamped key of 32 bytes (%v)", err)
	}
	k, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	if want := base64.StdEncoding.EncodeToString(k.PublicKey().Bytes()); public != want {
		t.Errorf("public key: got %s, want %s", public, want)
	}
	for _, other := range [][2]string{{"quickstart", "gw1.key"}, {"dual-stack", "paris.key"}} {
		if p, _, err := Key(other[0], other[1]); err != nil || p == private {
			t.Errorf("%v has the key of quickstart/paris.key too (%v)", other, err)
		}
	}
	if _, public, err := Key("quickstart", "paris.psk"); err != nil || public != "" {
		t.Errorf("a preshared key has no public half, got %q (%v)", public, err)
	}
}

func TestKeysAreWrittenAndFilledIn(t *testing.T) {
	dir := t.TempDir()
	top := &clab.Topology{Name: "lab", Nodes: []clab.Node{
		{Name: "a", Binds: []clab.Bind{{Source: "keys/a.key", Target: "/k"}, {Source: "a/conf", Target: "/c"}}},
		{Name: "b", Binds: []clab.Bind{{Source: "keys/a.key", Target: "/k"}, {Source: "keys/b.key", Target: "/l"}}},
	}}
	if got := KeyNames(top); !reflect.DeepEqual(got, []string{"a.key", "b.key"}) {
		t.Fatalf("names of keys: got %q, want each once", got)
	}
	for range 2 { // the second time over read-only files
		if err := WriteKeys(top, dir); err != nil {
			t.Fatal(err)
		}
	}
	private, public, err := Key("lab", "a.key")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "keys/a.key")
	if b, err := os.ReadFile(file); err != nil || string(b) != private+"\n" {
		t.Errorf("%s: not the key of its name (%v)", file, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: got mode %v and %v, want 0600", file, info.Mode(), err)
	}
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("key = \"PUBLIC a.key\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := FillKeys(top, dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(conf); err != nil || string(b) != "key = \""+public+"\"\n" {
		t.Errorf("filled in: got %q and %v", b, err)
	}
}

func TestCommandLineIsThatOfTheImageOrTheNode(t *testing.T) {
	for _, c := range []struct {
		node clab.Node
		want []string
	}{
		{clab.Node{Image: "ghcr.io/wgbgp/lab-gateway:latest", Cmd: "-f /x"}, []string{"wgbgpd", "-f", "/x"}},
		{clab.Node{Image: "lab", Cmd: "sleep 1"}, []string{"sleep", "1"}},
		{clab.Node{Image: "lab"}, nil},
		{clab.Node{Image: "debian:12", Entrypoint: "sleep", Cmd: "infinity"}, []string{"sleep", "infinity"}},
	} {
		got, err := commandLine(&c.node)
		if err != nil || strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%+v: got %q and %v, want %q", c.node, got, err, c.want)
		}
	}
	if _, err := commandLine(&clab.Node{Name: "x", Image: "debian:12"}); err == nil || !strings.Contains(err.Error(), "debian:12") {
		t.Errorf("an image that is not known: got %v, want an error that names it", err)
	}
}
