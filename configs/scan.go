package configs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// scan finds the line of every key, array element and table of a text that the
// TOML library has accepted. The library gives no usable places for elements of
// arrays of tables, and a message without a line is half a message.
//
// Because the text is known to be valid, scan needs none of TOML's rules about
// what is allowed, only those about where a thing ends.
func scan(file, text string) (*node, error) {
	s := &scanner{src: text, line: 1, file: file}
	s.root = s.node(tableNode)
	cur := s.root
	for {
		s.skip()
		if s.end() {
			return s.root, nil
		}
		var err error
		if s.peek("[") {
			cur, err = s.header()
		} else {
			err = s.assign(cur)
		}
		if err != nil {
			s.root.line = s.line
			return s.root, err
		}
	}
}

type scanner struct {
	file string
	src  string
	i    int
	line int
	root *node
}

var errScan = errors.New("unexpected text")

func (s *scanner) node(k nodeKind) *node {
	n := &node{file: s.file, line: s.line, kind: k}
	if k == tableNode {
		n.kids = map[string]*node{}
	}
	return n
}

func (s *scanner) end() bool          { return s.i >= len(s.src) }
func (s *scanner) peek(t string) bool { return strings.HasPrefix(s.src[s.i:], t) }

// to moves to byte j and counts the lines passed.
func (s *scanner) to(j int) {
	s.line += strings.Count(s.src[s.i:j], "\n")
	s.i = j
}

func (s *scanner) accept(t string) bool {
	if !s.peek(t) {
		return false
	}
	s.to(s.i + len(t))
	return true
}

// skip passes white space, line ends and comments.
func (s *scanner) skip() {
	for !s.end() {
		switch s.src[s.i] {
		case ' ', '\t', '\r', '\n':
			s.to(s.i + 1)
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if j := strings.IndexByte(s.src[s.i:], '\n'); j >= 0 {
		s.i += j
		return
	}
	s.i = len(s.src)
}

// header reads [a.b] or [[a.b]] and returns the table that follows.
func (s *scanner) header() (*node, error) {
	s.accept("[")
	array := s.accept("[")
	line := s.line
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	if !s.accept("]") || array && !s.accept("]") {
		return nil, errScan
	}
	parent, err := s.walk(s.root, path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	last := path[len(path)-1]
	if array {
		arr := parent.kids[last]
		if arr == nil {
			arr = s.node(arrayNode)
			arr.line = line
			parent.add(last, arr)
		}
		if arr.kind != arrayNode {
			return nil, errScan
		}
		t := s.node(tableNode)
		t.line = line
		arr.items = append(arr.items, t)
		return t, nil
	}
	t := parent.kids[last]
	if t == nil {
		t = s.node(tableNode)
		parent.add(last, t)
	}
	if t.kind != tableNode {
		return nil, errScan
	}
	t.line, t.implied = line, false
	return t, nil
}

// walk goes down a dotted path; the last element of an array of tables counts.
func (s *scanner) walk(t *node, path []string) (*node, error) {
	for _, k := range path {
		kid := t.kids[k]
		if kid == nil {
			kid = s.node(tableNode)
			kid.implied = true
			t.add(k, kid)
		}
		if kid.kind == arrayNode && len(kid.items) > 0 {
			kid = kid.items[len(kid.items)-1]
		}
		if kid.kind != tableNode {
			return nil, errScan
		}
		t = kid
	}
	return t, nil
}

func (n *node) add(key string, kid *node) {
	n.keys = append(n.keys, key)
	n.kids[key] = kid
}

// assign reads a.b = value into t.
func (s *scanner) assign(t *node) error {
	line := s.line
	path, err := s.path()
	if err != nil {
		return err
	}
	if !s.accept("=") {
		return errScan
	}
	if t, err = s.walk(t, path[:len(path)-1]); err != nil {
		return err
	}
	s.skip()
	v, err := s.value()
	if err != nil {
		return err
	}
	v.line = line
	last := path[len(path)-1]
	if t.kids[last] != nil {
		return fmt.Errorf("key twice at line %d", line)
	}
	t.add(last, v)
	return nil
}

// path reads a dotted key up to "=" or "]".
func (s *scanner) path() ([]string, error) {
	var path []string
	for {
		s.skip()
		if s.end() {
			return nil, errScan
		}
		start := s.i
		if c := s.src[s.i]; c == '"' || c == '\'' {
			s.str()
			k, err := unquote(s.src[start:s.i])
			if err != nil {
				return nil, err
			}
			path = append(path, k)
		} else {
			j := strings.IndexAny(s.src[s.i:], ".=] \t\r\n")
			if j <= 0 {
				return nil, errScan
			}
			s.to(s.i + j)
			path = append(path, s.src[start:s.i])
		}
		s.skip()
		if !s.accept(".") {
			return path, nil
		}
	}
}

// unquote leaves the rules of escapes to the library.
func unquote(q string) (string, error) {
	if !strings.Contains(q, `\`) {
		return q[1 : len(q)-1], nil
	}
	var v struct{ K string }
	_, err := toml.Decode("K = "+q, &v)
	return v.K, err
}

func (s *scanner) value() (*node, error) {
	if s.end() {
		return nil, errScan
	}
	switch s.src[s.i] {
	case '[':
		return s.array()
	case '{':
		return s.inline()
	case '"', '\'':
		n := s.node(leafNode)
		s.str()
		return n, nil
	}
	n := s.node(leafNode)
	j := strings.IndexAny(s.src[s.i:], ",]}#\n")
	if j == 0 {
		return nil, errScan
	}
	if j < 0 {
		j = len(s.src) - s.i
	}
	s.to(s.i + j)
	return n, nil
}

func (s *scanner) array() (*node, error) {
	n := s.node(arrayNode)
	s.accept("[")
	for {
		s.skip()
		if s.accept("]") {
			return n, nil
		}
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, v)
		s.skip()
		s.accept(",")
	}
}

func (s *scanner) inline() (*node, error) {
	n := s.node(tableNode)
	s.accept("{")
	for {
		s.skip()
		if s.accept("}") {
			return n, nil
		}
		if err := s.assign(n); err != nil {
			return nil, err
		}
		s.skip()
		s.accept(",")
	}
}

// str passes a string of any of the four forms.
func (s *scanner) str() {
	q := s.src[s.i : s.i+1]
	escapes := q == `"`
	if long := strings.Repeat(q, 3); s.peek(long) {
		j := s.close(s.i+3, long, escapes)
		// Up to two quotes may stand directly before the closing three.
		for n := 0; n < 2 && j < len(s.src) && s.src[j:j+1] == q; n++ {
			j++
		}
		s.to(j)
		return
	}
	s.to(s.close(s.i+1, q, escapes))
}

// close returns the byte after the next unescaped quote q from j on.
func (s *scanner) close(j int, q string, escapes bool) int {
	for j < len(s.src) {
		if escapes && s.src[j] == '\\' {
			j += 2
			continue
		}
		if strings.HasPrefix(s.src[j:], q) {
			return j + len(q)
		}
		j++
	}
	return len(s.src)
}
