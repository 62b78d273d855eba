package aws

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/configs"
)

// What is installed must be a configuration that wgbgpd takes, and bash must take
// the script.
func TestUserDataIsAccepted(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) {
			values := map[string]string{
				"address": "10.0.0.10", "asn": "65010", "health_port": "8080", "drain_wait": "15s", "name": "wgbgp-a", "package_sha256": strings.Repeat("0", 64),
				"fleet":       "[[neighbor]]\nname = \"wgbgp-b\"\nkind = \"fleet\"\naddress = \"10.0.1.10\"\nasn = 65010\n",
				"package_url": "https://example.com/wgbgp.tar.gz", "private_key": "aws-sm:wgbgp/a", "region": "eu-central-1",
				"shared_key": fmt.Sprint(shared), "sites_toml": read(t, "terraform/examples/two-zones/sites.toml"),
				"wireguard_addresses": `"10.255.0.1/24", "fd77::1/64"`, "wireguard_port": "51820",
			}
			text := place.ReplaceAllStringFunc(read(t, "terraform/user-data.sh.tftpl"), func(s string) string {
				v, ok := values[s[2:len(s)-1]]
				if !ok {
					t.Errorf("no value for %s", s)
				}
				return v
			})
			// A wgbgpd without discovery takes everything else.
			if !strings.Contains(read(t, "../reference.toml"), "\ndiscover = ") {
				t.Log("this wgbgpd has no discovery: with the Connect peer's addresses in its place")
				text = strings.Replace(text, "\ndiscover = true\n", "\nlocal = \"10.0.0.10\"\nremote = \"192.0.2.5\"\ninside = [\"169.254.6.0/29\"]\n", 1)
			}
			if out, err := exec.Command("bash", "-n", "-c", text).CombinedOutput(); err != nil {
				t.Errorf("bash -n: %v\n%s", err, out)
			}
			dir := t.TempDir()
			for _, m := range regexp.MustCompile(`(?s)cat >/etc/wgbgp/(\S+) <<'TOML'\n(.*?)\nTOML\n`).FindAllStringSubmatch(text, -1) {
				name := filepath.Join(dir, m[1])
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(m[2]+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, warnings, err := configs.Load(filepath.Join(dir, "wgbgpd.toml"), configs.Options{CheckOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				// The key is in AWS, and the security group says who may ask.
				if w.Code != "W-NOTHERE" && w.Code != "W-OPEN" {
					t.Errorf("warning: %s", w)
				}
			}
			if len(cfg.Core.Sites) != 1 {
				t.Errorf("got %d sites, want one", len(cfg.Core.Sites))
			}
		})
	}
}
