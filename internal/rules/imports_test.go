package rules

import (
	"slices"
	"strings"
	"testing"
)

type layer struct {
	pkg   string
	may   []string
	why   string
	tests bool // the rule binds test files too
}

// layers says which packages of this module a package may import (design
// section 2). The first entry that matches a package is its rule; "x/..." is x
// and all below it.
var layers = []layer{
	{"bgp", nil, "a root is vocabulary: it knows nobody", true},
	{"wg", nil, "a root is vocabulary: it knows nobody", true},
	{"tgwconnect", nil, "a root is vocabulary: it knows nobody", true},
	{"bgp/...", []string{"bgp", "internal/..."}, "an edge knows its own root only, so that it can be replaced", false},
	{"wg/...", []string{"wg", "internal/..."}, "an edge knows its own root only, so that it can be replaced", false},
	{"tgwconnect/doctor/gather", []string{"tgwconnect", "tgwconnect/doctor", "internal/..."}, "who reads the facts knows what they are for", false},
	{"tgwconnect/...", []string{"tgwconnect", "internal/..."}, "an edge knows its own root only, so that it can be replaced", false},
	{"ha", []string{"bgp", "wg", "tgwconnect"}, "the core decides in the roots' words and touches nothing", false},
	{"ha/...", []string{"ha/...", "bgp", "wg", "tgwconnect"}, "the simulated world replaces the edges, so it must not need them", false},
	{"configs", []string{"ha", "bgp", "wg", "tgwconnect", "internal/..."}, "configuration ends where the core begins", false},
	{"configs/aws", []string{"configs"}, "files for operators, and what proves them", true},
	{"internal/cmd/...", []string{"internal/...", "labs/..."}, "a tool of development may use the laboratory, and nobody imports a program", false},
	{"internal/...", []string{"ha", "bgp", "wg", "tgwconnect", "internal/..."}, "what is shared must not depend on those who share it", false},
	{"cmd/...", []string{"configs", "ha", "bgp/...", "wg/...", "tgwconnect/...", "internal/...", "cmd/..."}, "the product must not need its laboratory", false},
	{"labs/...", []string{"labs/...", "configs", "ha/...", "bgp/...", "wg/...", "tgwconnect/...", "internal/..."}, "the laboratory runs the commands, it does not link them", false},
}

func TestImportsFollowTheLayers(t *testing.T) {
	for _, f := range files(t) {
		rule := slices.IndexFunc(layers, func(l layer) bool { return matches(f.pkg, l.pkg) })
		if rule < 0 {
			t.Errorf("%s: package %q is in no layer: give it one in this test, or another place", f.path, f.pkg)
			continue
		}
		l := layers[rule]
		if f.test && !l.tests {
			continue
		}
		for imp, pos := range f.imports {
			rel, ours := strings.CutPrefix(imp, module+"/")
			if !ours || rel == f.pkg || slices.ContainsFunc(l.may, func(m string) bool { return matches(rel, m) }) {
				continue
			}
			t.Errorf("%s: %s imports %s, may import %v: %s", fset.Position(pos), f.pkg, rel, l.may, l.why)
		}
	}
}

// owners says which packages may import a module (or a part of it). Tests may
// use any of them, as the other end of what they test.
var owners = []struct {
	module string
	by     []string
	why    string
}{
	{"github.com/osrg/gobgp", []string{"bgp/speaker"}, "GoBGP's types stop at the speaker; its package globals allow one owner"},
	{"golang.zx2c4.com/wireguard/wgctrl", []string{"wg/device"}, "wgctrl's types stop at the device edge"},
	{"golang.zx2c4.com/wireguard/tun", []string{"wg/device", "tgwconnect/gre", "labs/site", "labs/swarm"}, "TUN devices are made by the edges that own an interface"},
	{"golang.zx2c4.com/wireguard", []string{"wg/device", "labs/site", "labs/swarm"}, "one package runs WireGuard; the far end of the labs must not be that one"},
	{"github.com/vishvananda/netlink", kernel, "kernel objects have three owners, so that it is known who made what"},
	{"github.com/vishvananda/netns", kernel, "as netlink"},
	{"github.com/mdlayher/netlink", kernel, "as netlink"},
	{"github.com/mdlayher/genetlink", kernel, "as netlink"},
	{"github.com/jsimonetti/rtnetlink", kernel, "as netlink"},
	{"github.com/google/nftables", kernel, "as netlink"},
	{"github.com/aws", []string{"tgwconnect/ec2api", "labs/tgwsim/..."}, "the AWS SDK's types stop at its edge; the emulator speaks in the same structs"},
	{"github.com/spf13/cobra", []string{"cmd/wgbgp", "labs/cmd/wgbgp-lab"}, "a command line is one program's affair"},
	{"github.com/BurntSushi/toml", []string{"configs", "labs/swarm", "labs/tgwsim/live", "labs/tgwsim/plain"}, "one package reads the configuration of the product"},
}

var kernel = []string{"bgp/fib", "wg/device", "tgwconnect/gre", "internal/nstest", "internal/netlab", "labs/..."}

func TestForeignModulesHaveOwners(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for imp, pos := range f.imports {
			for _, o := range owners {
				if !within(imp, o.module) {
					continue
				}
				if !slices.ContainsFunc(o.by, func(m string) bool { return matches(f.pkg, m) }) {
					t.Errorf("%s: %s imports %s, which belongs to %v: %s", fset.Position(pos), f.pkg, imp, o.by, o.why)
				}
				break // the first, most special owner decides
			}
		}
	}
}

// matches compares a package with a pattern; "x/..." is x and all below it.
func matches(pkg, pattern string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return within(pkg, dir)
	}
	return pkg == pattern
}
