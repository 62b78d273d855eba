package clab

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// variable is what containerlab replaces from the environment.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[-=]([^}]*))?\}`)

func expand(text string, getenv func(string) string) string {
	return variable.ReplaceAllStringFunc(text, func(s string) string {
		m := variable.FindStringSubmatch(s)
		if v := getenv(m[1]); v != "" {
			return v
		}
		return m[2]
	})
}

// decoder collects the first error of a walk through the YAML.
type decoder struct {
	path string
	err  error
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s:%d: %s", d.path, n.Line, fmt.Sprintf(format, args...))
	}
}

// mapping calls the function of each key; any other key is refused.
func (d *decoder) mapping(n *yaml.Node, what string, keys map[string]func(*yaml.Node)) {
	d.each(n, what, func(key, value *yaml.Node) {
		if f, ok := keys[key.Value]; ok {
			f(value)
			return
		}
		d.fail(key, "%s: key %q is not supported by this runner (containerlab may know it)", what, key.Value)
	})
}

func (d *decoder) each(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s: want keys and values", what)
		return
	}
	for i := 0; i+1 < len(n.Content) && d.err == nil; i += 2 {
		f(n.Content[i], n.Content[i+1])
	}
}

func (d *decoder) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.fail(n, "want text")
			return
		}
		*to = n.Value
	}
}

func (d *decoder) number(to *int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.fail(n, "want a number, have %q", n.Value)
			return
		}
		*to = v
	}
}

func (d *decoder) list(n *yaml.Node, f func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "want a list")
		return
	}
	for _, c := range n.Content {
		f(c)
	}
}

func (d *decoder) settings(to *[]KeyValue) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.each(n, "settings", func(k, v *yaml.Node) { *to = append(*to, KeyValue{k.Value, v.Value}) })
	}
}

func parse(path, text string) (*Topology, error) {
	d := &decoder{path: path}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("%s: empty", path)
	}
	t := &Topology{}
	d.mapping(doc.Content[0], "topology file", map[string]func(*yaml.Node){
		"name": d.text(&t.Name),
		"topology": func(n *yaml.Node) {
			d.mapping(n, "topology", map[string]func(*yaml.Node){
				"nodes": func(n *yaml.Node) {
					d.each(n, "nodes", func(k, v *yaml.Node) { t.Nodes = append(t.Nodes, d.node(k, v)) })
				},
				"links": func(n *yaml.Node) {
					d.list(n, func(n *yaml.Node) { t.Links = append(t.Links, d.link(n)) })
				},
			})
		},
	})
	if d.err == nil && t.Name != strings.TrimSuffix(filepath.Base(path), Suffix) {
		d.err = fmt.Errorf("%s: name is %q; want the file's", path, t.Name)
	}
	return t, d.err
}

func (d *decoder) node(key, value *yaml.Node) Node {
	n := Node{Name: key.Value, line: key.Line}
	var kind string
	d.mapping(value, "node "+n.Name, map[string]func(*yaml.Node){
		"kind": func(v *yaml.Node) {
			if d.text(&kind)(v); kind != "linux" {
				d.fail(v, "node %s: kind %q is not supported by this runner; want linux", n.Name, kind)
			}
		},
		"image":      d.text(&n.Image),
		"entrypoint": d.text(&n.Entrypoint),
		"cmd":        d.text(&n.Cmd),
		"group":      d.text(&n.Group),
		"env":        d.settings(&n.Env),
		"sysctls":    d.settings(&n.Sysctls),
		"exec": func(v *yaml.Node) {
			d.list(v, func(v *yaml.Node) { n.Exec = append(n.Exec, v.Value) })
		},
		"binds": func(v *yaml.Node) {
			d.list(v, func(v *yaml.Node) { n.Binds = append(n.Binds, d.bind(v)) })
		},
	})
	if kind == "" {
		d.fail(key, "node %s: kind is missing; want linux", n.Name)
	}
	return n
}

func (d *decoder) bind(v *yaml.Node) Bind {
	parts := strings.Split(v.Value, ":")
	b := Bind{}
	switch {
	case len(parts) == 2:
	case len(parts) == 3 && parts[2] == "ro":
		b.ReadOnly = true
	default:
		d.fail(v, "bind %q: want SOURCE:TARGET or SOURCE:TARGET:ro", v.Value)
		return b
	}
	b.Source, b.Target = parts[0], parts[1]
	if !strings.HasPrefix(b.Target, "/") {
		d.fail(v, "bind %q: the target must begin with /", v.Value)
	}
	return b
}

func (d *decoder) link(v *yaml.Node) Link {
	l := Link{line: v.Line}
	var ends []End
	d.mapping(v, "link", map[string]func(*yaml.Node){
		"mtu": d.number(&l.MTU),
		"endpoints": func(v *yaml.Node) {
			d.list(v, func(v *yaml.Node) {
				node, device, ok := strings.Cut(v.Value, ":")
				if !ok || v.Kind != yaml.ScalarNode {
					d.fail(v, "endpoint %q: want NODE:INTERFACE", v.Value)
				}
				ends = append(ends, End{node, device})
			})
		},
	})
	if len(ends) != 2 {
		d.fail(v, "link: want two endpoints, have %d", len(ends))
		return l
	}
	l.A, l.B = ends[0], ends[1]
	return l
}
