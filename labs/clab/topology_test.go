package clab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// valid is a topology that has something of everything; the tests replace one
// line of it.
const valid = `name: lab
topology:
  nodes:
    a:
      kind: linux
      image: ${LAB_IMAGE:=ghcr.io/wgbgp/lab:latest}
      cmd: serve ${PORT}
      group: left
      env:
        COLOR: ${COLOR:-blue}
      binds:
        - a/conf:/etc/conf:ro
        - keys/a.key:/etc/key
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
      sysctls:
        net.ipv4.ip_forward: 1
    b:
      kind: linux
      image: lab
  links:
    - endpoints: ["a:eth1", "b:eth1"]
      mtu: 1500
`

func load(t *testing.T, text string, env map[string]string) (*Topology, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lab"+Suffix)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Load(path, func(key string) string { return env[key] })
}

func TestLoadReadsWhatTheLabsUse(t *testing.T) {
	top, err := load(t, valid, map[string]string{"PORT": "80"})
	if err != nil {
		t.Fatal(err)
	}
	a, ok := top.Node("a")
	if !ok || len(top.Nodes) != 2 || top.Nodes[1].Name != "b" {
		t.Fatalf("nodes %+v, want a and b", top.Nodes)
	}
	for _, c := range []struct{ what, got, want string }{
		{"image", a.Image, "ghcr.io/wgbgp/lab:latest"},
		{"cmd", a.Cmd, "serve 80"},
		{"group", a.Group, "left"},
		{"exec", strings.Join(a.Exec, ";"), "ip addr add 10.0.0.1/24 dev eth1"},
		{"env", a.Env[0].Key + "=" + a.Env[0].Value, "COLOR=blue"},
		{"sysctl", a.Sysctls[0].Key + "=" + a.Sysctls[0].Value, "net.ipv4.ip_forward=1"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	if want := (Bind{"a/conf", "/etc/conf", true}); a.Binds[0] != want {
		t.Errorf("bind: got %+v, want %+v", a.Binds[0], want)
	}
	if a.Binds[1].ReadOnly {
		t.Errorf("bind without ro: got %+v, want it writable", a.Binds[1])
	}
	// Seen from b, the link's A end is b's.
	back := top.Between("b", "a")
	if len(back) != 1 || back[0].A != (End{"b", "eth1"}) || back[0].B != (End{"a", "eth1"}) || back[0].MTU != 1500 {
		t.Errorf("between b and a: got %+v", back)
	}
	if none := top.Between("a", "a"); none != nil {
		t.Errorf("between a and a: got %+v, want no link", none)
	}
}

func TestVariablesComeFromTheEnvironmentOrTheFile(t *testing.T) {
	env := map[string]string{"SET": "x", "EMPTY": ""}
	for _, c := range []struct{ text, want string }{
		{"${SET}", "x"},
		{"${SET:=d}", "x"},
		{"${SET:-d}", "x"},
		{"${EMPTY:=d}", "d"},
		{"${UNSET:-d}", "d"},
		{"${UNSET:=ghcr.io/a/b:c}", "ghcr.io/a/b:c"},
		{"${UNSET}", ""},
		{"a${SET}b${UNSET:-c}", "axbc"},
		{"$SET, $(SET)", "$SET, $(SET)"}, // left to the node's shell
	} {
		if got := expand(c.text, func(key string) string { return env[key] }); got != c.want {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

// What is not supported is refused with the line, so that no file means one thing
// to containerlab and another one here.
func TestLoadRefusesWithLineAndName(t *testing.T) {
	for _, c := range []struct{ what, old, new, want string }{
		{"unknown key of a node", "      group: left", "      ports: left", `lab.clab.yml:8: node a: key "ports" is not supported`},
		{"unknown key of the topology", "  links:", "  kinds:", `lab.clab.yml:21: topology: key "kinds" is not supported`},
		{"unknown key of the file", "name: lab", "prefix: x\nname: lab", `lab.clab.yml:1: topology file: key "prefix" is not supported`},
		{"unknown key of a link", "      mtu: 1500", "      vars: 1500", `lab.clab.yml:23: link: key "vars" is not supported`},
		{"another kind", "    b:\n      kind: linux", "    b:\n      kind: srl", `lab.clab.yml:19: node b: kind "srl" is not supported`},
		{"no kind", "    b:\n      kind: linux", "    b:", `lab.clab.yml:18: node b: kind is missing`},
		{"no image", "      image: lab", "      cmd: lab", `lab.clab.yml:18: node b: image is missing`},
		{"another name", "name: lab", "name: other", `name is "other"; want the file's`},
		{"an MTU that is no number", "mtu: 1500", "mtu: large", `lab.clab.yml:23: want a number, have "large"`},
		{"a mode of a bind", ":ro", ":z", `lab.clab.yml:12: bind "a/conf:/etc/conf:z": want SOURCE:TARGET or SOURCE:TARGET:ro`},
		{"a relative target", ":/etc/key", ":etc/key", `lab.clab.yml:13: bind "keys/a.key:etc/key": the target must begin with /`},
		{"a dangling link", `"b:eth1"`, `"c:eth1"`, `lab.clab.yml:22: links: no node is called "c"; there are a, b`},
		{"one endpoint", `"a:eth1", `, ``, `lab.clab.yml:22: link: want two endpoints, have 1`},
		{"an endpoint without interface", `"b:eth1"`, `"b"`, `lab.clab.yml:22: endpoint "b": want NODE:INTERFACE`},
		{
			"an interface that is used twice", "      mtu: 1500\n", "    - endpoints: [\"a:eth1\", \"b:eth2\"]\n",
			`lab.clab.yml:23: links: a:eth1 is already used on line 22`,
		},
		{"a name that Linux does not take", `"b:eth1"`, `"b:a-name-much-too-long"`, `lab.clab.yml:22: links: interface name "a-name-much-too-long" is longer than 15`},
		{"the management interface", `"b:eth1"`, `"b:eth0"`, `lab.clab.yml:22: links: eth0 is containerlab's management interface`},
		{"a file that is empty", valid, "", `lab.clab.yml: empty`},
	} {
		t.Run(c.what, func(t *testing.T) {
			if strings.Count(valid, c.old) != 1 {
				t.Fatalf("%q is %d times in the topology", c.old, strings.Count(valid, c.old))
			}
			_, err := load(t, strings.Replace(valid, c.old, c.new, 1), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestGraphFormsNameNodesAndLinks(t *testing.T) {
	top, err := load(t, valid, nil)
	if err != nil {
		t.Fatal(err)
	}
	for form, want := range map[string]string{
		"text":    "[a]    [b]\n\na:eth1 --- b:eth1  mtu 1500\n",
		"mermaid": "graph LR\n  a ---|eth1 - eth1| b\n",
		"dot":     `"a" -- "b" [taillabel="eth1" headlabel="eth1"];`,
		"svg":     "<title>a:eth1 - b:eth1</title>",
	} {
		var b strings.Builder
		if err := top.Graph(&b, form); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: got %v and\n%s\nwant in it\n%s", form, err, b.String(), want)
		}
	}
	if err := top.Graph(&strings.Builder{}, "png"); err == nil {
		t.Error("png: want an error")
	}
}
