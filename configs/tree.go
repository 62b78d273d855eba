package configs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// node is a TOML value that knows where it stands. Values come from the TOML
// library, places from scan.go; parse insists that both saw the same document.
type node struct {
	file  string
	line  int
	kind  nodeKind
	keys  []string // of a table, in order of appearance
	kids  map[string]*node
	items []*node // of an array
	val   any     // of a leaf: string, int64, float64, bool, time.Time

	implied bool // a table that exists only as the parent of another
}

type nodeKind uint8

const (
	leafNode nodeKind = iota
	tableNode
	arrayNode
)

// String names the kind of value for "want X, got Y".
func (n *node) String() string {
	switch n.kind {
	case tableNode:
		return "a table"
	case arrayNode:
		return "an array"
	}
	switch n.val.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	}
	return "a date or time"
}

// parse reads one file's text. The problem it may return always has a line.
func parse(file string, data []byte) (*node, *Problem) {
	var values map[string]any
	text := stripBOM(string(data))
	if err := decodeTOML(text, &values); err != nil {
		return nil, syntaxProblem(file, text, err)
	}
	root, err := scan(file, text)
	if err == nil {
		err = root.fill(values)
	}
	if err != nil {
		line := 1
		if root != nil {
			line = root.line
		}
		return nil, &Problem{File: file, Line: line, Text: "this TOML is beyond wgbgp's line index: " + err.Error(), Cure: "write it in a plainer form and report this"}
	}
	return root, nil
}

// decodeTOML keeps a panic inside the TOML library from taking the daemon down.
func decodeTOML(text string, v *map[string]any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("not understood by the TOML library")
		}
	}()
	_, err = toml.Decode(text, v)
	return err
}

// stripBOM drops the same byte order marks as the TOML library does.
func stripBOM(s string) string {
	for _, bom := range []string{"\xff\xfe", "\xfe\xff", "\xef\xbb\xbf"} {
		if rest, ok := strings.CutPrefix(s, bom); ok {
			return rest
		}
	}
	return s
}

// syntaxProblem translates the library's error. The message is dropped when it
// may hold part of a secret, since the library quotes what it stumbled over.
func syntaxProblem(file, text string, err error) *Problem {
	p := &Problem{File: file, Line: 1, Text: "not valid TOML", Cure: "correct it; https://toml.io describes the format"}
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return p
	}
	lines := strings.Split(text, "\n")
	p.Line = min(max(pe.Position.Line, 1), len(lines))
	at := strings.ToLower(lines[p.Line-1])
	sensitive := strings.Contains(at, "key") || strings.Contains(at, "password") || strings.Contains(at, "secret") || looksSecret(at)
	switch last := strings.ToLower(pe.LastKey); {
	case strings.Contains(pe.Message, "already been defined") || strings.Contains(pe.Message, "already created"):
		p.Key = pe.LastKey
		if _, rest, ok := strings.Cut(pe.Message, "'"); ok {
			p.Key, _, _ = strings.Cut(rest, "'")
		}
		p.Text, p.Cure = "defined twice", "keep one of them"
	case sensitive || strings.Contains(last, "key") || strings.Contains(last, "password"):
		p.Cure = "text values need quotes, such as private-key = \"file:/etc/wgbgp/wg0.key\""
	default:
		p.Text += ": " + strings.ReplaceAll(pe.Message, "\n", " ")
		switch {
		case strings.Contains(pe.Message, "expected value but found"):
			p.Cure = "text values need quotes"
		case strings.Contains(pe.Message, "cannot contain newlines"):
			p.Cure = "close the quotes on the same line"
		case strings.Contains(pe.Message, "UTF-8"):
			p.Cure = "save the file as UTF-8"
		}
	}
	if looksSecret(p.Key) {
		p.Key = ""
	}
	return p
}

// fill copies the library's values into the places.
func (n *node) fill(v any) error {
	switch v := v.(type) {
	case map[string]any:
		if n.kind != tableNode || len(v) != len(n.kids) {
			return fmt.Errorf("table at line %d", n.line)
		}
		for _, k := range n.keys {
			kv, ok := v[k]
			if !ok {
				return fmt.Errorf("key at line %d", n.kids[k].line)
			}
			if err := n.kids[k].fill(kv); err != nil {
				return err
			}
		}
		return nil
	case []map[string]any:
		if n.kind != arrayNode || len(v) != len(n.items) {
			return fmt.Errorf("array at line %d", n.line)
		}
		for i := range v {
			if err := n.items[i].fill(v[i]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		if n.kind != arrayNode || len(v) != len(n.items) {
			return fmt.Errorf("array at line %d", n.line)
		}
		for i := range v {
			if err := n.items[i].fill(v[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if n.kind != leafNode {
		return fmt.Errorf("value at line %d", n.line)
	}
	n.val = v
	return nil
}

// merge adds the content of an included file: arrays of tables are joined,
// tables are united, and a value may be given only once.
func (n *node) merge(o *node, path string, report func(Problem)) {
	for _, k := range o.keys {
		theirs := o.kids[k]
		ours, ok := n.kids[k]
		at := join(path, k)
		switch {
		case !ok:
			n.keys = append(n.keys, k)
			n.kids[k] = theirs
		case ours.kind == tableNode && theirs.kind == tableNode:
			ours.merge(theirs, at, report)
		case ours.tables() && theirs.tables():
			ours.items = append(ours.items, theirs.items...)
		default:
			report(Problem{
				File: theirs.file, Line: theirs.line, Key: at,
				Text: fmt.Sprintf("already given at %s:%d", ours.file, ours.line), Cure: "keep one of them",
			})
		}
	}
}

// tables reports whether n is an array of tables.
func (n *node) tables() bool {
	for _, it := range n.items {
		if it.kind != tableNode {
			return false
		}
	}
	return n.kind == arrayNode
}

func join(path, key string) string {
	if !bareKey(key) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func bareKey(s string) bool {
	for _, c := range s {
		if !isBare(c) {
			return false
		}
	}
	return s != "" && !looksSecret(s)
}

func isBare(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
