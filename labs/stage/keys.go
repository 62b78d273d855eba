package stage

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/wgbgp/wgbgp/labs/clab"
)

// keyDir holds a lab's key files. No private key is in the repository: those of
// a lab follow from their names, so that its configurations can name the public
// ones. Everybody can compute them; they protect nothing.
const keyDir = "keys/"

// KeyNames are the files under keys/ that the topology's nodes are given.
func KeyNames(t *clab.Topology) []string {
	var names []string
	seen := map[string]bool{}
	for _, n := range t.Nodes {
		for _, b := range n.Binds {
			if name, ok := strings.CutPrefix(b.Source, keyDir); ok && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// WriteKeys writes the key files of a topology into dir/keys.
func WriteKeys(t *clab.Topology, dir string) error {
	for _, name := range KeyNames(t) {
		path := filepath.Join(dir, keyDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		private, _, err := Key(t.Name, name)
		if err != nil {
			return err
		}
		// A copy of the folder has lost the mode of what was there.
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(private+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Key is the key pair of a file in a lab's keys/, in base64. A name that ends in
// .psk is a preshared key, whose public half means nothing.
func Key(lab, name string) (private, public string, err error) {
	sum := sha256.Sum256([]byte("wgbgp lab key, known to everybody: " + lab + "/" + name))
	if strings.HasSuffix(name, ".psk") {
		return base64.StdEncoding.EncodeToString(sum[:]), "", nil
	}
	sum[0] &= 248 // Curve25519 clamping, RFC 7748 section 5
	sum[31] = sum[31]&127 | 64
	k, err := ecdh.X25519().NewPrivateKey(sum[:])
	if err != nil {
		return "", "", fmt.Errorf("key %s of lab %s: %w", name, lab, err)
	}
	return base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(k.PublicKey().Bytes()), nil
}

// placeholder stands for a public key in a configuration that is being written.
var placeholder = regexp.MustCompile(`PUBLIC ([A-Za-z0-9_.-]+\.key)\b`)

// FillKeys replaces "PUBLIC NAME.key" by that key in every file of a lab, for
// authors of labs.
func FillKeys(t *clab.Topology, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(dir, keyDir)) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !placeholder.Match(b) {
			return err
		}
		filled := placeholder.ReplaceAllFunc(b, func(m []byte) []byte {
			var public string
			if _, public, err = Key(t.Name, string(placeholder.FindSubmatch(m)[1])); err != nil {
				return m
			}
			return []byte(public)
		})
		if err != nil {
			return err
		}
		return os.WriteFile(path, filled, 0o644)
	})
}
