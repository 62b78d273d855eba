package configs

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkLoad10kSites is what a reload costs at the largest size that the
// core is measured with.
func BenchmarkLoad10kSites(b *testing.B) {
	var text strings.Builder
	text.WriteString(strings.Replace(baseText, "10.255.0.1/24", "172.16.0.1/16", 1))
	for i := range 10000 {
		k := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		fmt.Fprintf(&text, "\n[[site]]\nname = \"site-%05d\"\npublic-key = %q\nendpoint = \"198.51.%d.%d:51820\"\naddress = [\"172.16.%d.%d\"]\nprefixes = [",
			i, base64.StdEncoding.EncodeToString(k[:]), i>>8, i&255, 16+i>>8, i&255)
		for j := range 4 {
			n := i*4 + j
			fmt.Fprintf(&text, "\"10.%d.%d.0/24\", ", n>>8, n&255)
		}
		text.WriteString("]\n")
	}
	p := filepath.Join(b.TempDir(), "wgbgpd.toml")
	if err := os.WriteFile(p, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, _, err := Load(p, testOptions()); err != nil {
			b.Fatal(err)
		}
	}
}
