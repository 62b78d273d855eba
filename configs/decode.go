package configs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// meta ties a document to the table it came from, so that a check made long
// after decoding can still say file, line and key.
type meta struct {
	node *node
	path string
	bad  map[string]bool // keys whose value was refused already
}

func (m *meta) bind(n *node, path string) { m.node, m.path = n, path }
func (m *meta) refuse(key string) {
	if m.bad == nil {
		m.bad = map[string]bool{}
	}
	m.bad[key] = true
}

// has reports whether the operator wrote the key.
func (m *meta) has(key string) bool { return m.node != nil && m.node.kids[key] != nil }

// ok reports whether the key's value, written or default, can be judged.
func (m *meta) ok(keys ...string) bool {
	for _, k := range keys {
		if m.bad[k] {
			return false
		}
	}
	return true
}

// at returns the place of a key, or of its table when the key is not written.
// With an index it is the place of that element.
func (m *meta) at(key string, index ...int) *node {
	if m.node == nil {
		return &node{file: "(defaults)", line: 1}
	}
	n := m.node.kids[key]
	if n == nil {
		return m.node
	}
	if len(index) > 0 && index[0] < len(n.items) {
		return n.items[index[0]]
	}
	return n
}

// problem makes a problem about a key of this table.
func (m *meta) problem(key, text, cure string, index ...int) Problem {
	n := m.at(key, index...)
	at := m.path
	if key != "" {
		at = join(m.path, key)
		if len(index) > 0 && len(n.items) == 0 && m.has(key) {
			at += fmt.Sprintf("[%d]", index[0])
		}
	}
	return Problem{File: n.file, Line: n.line, Key: at, Text: text, Cure: cure}
}

type binder interface {
	bind(n *node, path string)
	refuse(key string)
	problem(key, text, cure string, index ...int) Problem
}

// defaulter fills a document before the file's keys are laid over it.
type defaulter interface{ setDefaults() }

// scalar is a value written as a string with rules of its own.
type scalar interface {
	parse(s string) error
	text() string
}

// refusal is the error of a scalar's parse: what is wrong and what to do.
type refusal struct{ text, cure string }

func (r refusal) Error() string { return r.text }

// decoder lays nodes over documents and goes on after every mistake.
type decoder struct{ problems Problems }

func (d *decoder) report(p Problem) { d.problems = append(d.problems, p) }

// table decodes n into the struct dst.
func (d *decoder) table(n *node, path string, dst reflect.Value) {
	if df, ok := dst.Addr().Interface().(defaulter); ok {
		df.setDefaults()
	}
	b := dst.Addr().Interface().(binder)
	b.bind(n, path)
	fields := fieldsOf(dst.Type())
	meant := map[string]bool{} // keys that a misspelt one stands for
	for _, key := range n.keys {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			kid := n.kids[key]
			near, cure := suggestKey(key, dst.Type())
			b.refuse(key)
			b.refuse(near)
			meant[near] = true
			d.report(Problem{File: kid.file, Line: kid.line, Key: join(path, key), Text: "unknown key", Cure: cure})
			continue
		}
		d.field(n.kids[key], fields[i], b, dst.Field(fields[i].index), join(path, key))
	}
	for _, f := range fields {
		if f.required == "" || n.kids[f.key] != nil && !blank(n.kids[f.key]) {
			continue
		}
		if slices.ContainsFunc(f.unless, func(key string) bool { return n.kids[key] != nil && !blank(n.kids[key]) && n.kids[key].val != false }) {
			continue
		}
		b.refuse(f.key)
		if !meant[f.key] {
			d.report(b.problem(f.key, "missing", "add "+f.required))
		}
	}
}

// blank reports whether a value means "not set".
func blank(n *node) bool {
	return n.kind == leafNode && n.val == "" || n.kind == arrayNode && len(n.items) == 0
}

func (d *decoder) field(n *node, f field, b binder, dst reflect.Value, path string) {
	switch t := dst.Type(); {
	case t.Kind() == reflect.Pointer:
		if n.kind != tableNode {
			d.wrong(n, b, f, path, "a table", "["+schemaPath(path)+"]")
			return
		}
		v := reflect.New(t.Elem())
		d.table(n, path, v.Elem())
		dst.Set(v)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer:
		if !n.tables() || len(n.items) == 0 {
			d.wrong(n, b, f, path, "an array of tables", "[["+schemaPath(path)+"]]")
			return
		}
		for i, it := range n.items {
			v := reflect.New(t.Elem().Elem())
			d.table(it, fmt.Sprintf("%s[%s]", path, label(it, i)), v.Elem())
			dst.Set(reflect.Append(dst, v))
		}
	case t.Kind() == reflect.Map:
		if n.kind != tableNode {
			d.wrong(n, b, f, path, "tables", "["+path+".NAME]")
			return
		}
		dst.Set(reflect.MakeMap(t))
		for _, k := range n.keys {
			if n.kids[k].kind != tableNode {
				d.wrong(n.kids[k], b, f, join(path, k), "a table", "["+path+".NAME]")
				continue
			}
			v := reflect.New(t.Elem().Elem())
			d.table(n.kids[k], join(path, k), v.Elem())
			dst.SetMapIndex(reflect.ValueOf(k), v)
		}
	case t.Kind() == reflect.Struct && isTable(t):
		if n.kind != tableNode {
			d.wrong(n, b, f, path, "a table", "["+path+"]")
			return
		}
		d.table(n, path, dst)
	case t.Kind() == reflect.Slice:
		if n.kind != arrayNode {
			d.wrong(n, b, f, path, "an array", f.key+" = [...]")
			return
		}
		out := reflect.MakeSlice(t, 0, len(n.items))
		for i, it := range n.items {
			v := reflect.New(t.Elem()).Elem()
			if err := d.leaf(it, f, v, true); err != nil {
				b.refuse(f.key)
				d.report(place(err, it, fmt.Sprintf("%s[%d]", path, i)))
				continue
			}
			out = reflect.Append(out, v)
		}
		if dst.SetZero(); out.Len() > 0 {
			dst.Set(out) // an empty array is nil, like one that is not written
		}
	default:
		if err := d.leaf(n, f, dst, false); err != nil {
			b.refuse(f.key)
			d.report(place(err, n, path))
		}
	}
}

// schemaPath is a path as it stands in a table header: without the elements.
func schemaPath(path string) string {
	var b strings.Builder
	depth := 0
	for _, r := range path {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// label names an element of an array of tables: by its name where it has a
// usable one, else by its index from 0.
func label(n *node, i int) string {
	if k := n.kids["name"]; k != nil && k.kind == leafNode {
		if s, ok := k.val.(string); ok && validName(s) && !looksSecret(s) {
			return s
		}
	}
	return strconv.Itoa(i)
}

func (d *decoder) wrong(n *node, b binder, f field, path, want, how string) {
	b.refuse(f.key)
	d.report(Problem{File: n.file, Line: n.line, Key: path, Text: fmt.Sprintf("want %s, got %s", want, n), Cure: "write " + how})
}

func place(err error, n *node, path string) Problem {
	p := Problem{File: n.file, Line: n.line, Key: path, Text: err.Error()}
	var r refusal
	if errors.As(err, &r) {
		p.Cure = r.cure
	}
	return p
}

// leaf decodes one value. The value itself is repeated only through quote.
func (d *decoder) leaf(n *node, f field, dst reflect.Value, element bool) error {
	want := func(what, how string) error {
		if f.required != "" {
			how, _, _ = strings.Cut(f.required, ", ")
		}
		return refusal{fmt.Sprintf("want %s, got %s", what, n), "write " + how}
	}
	switch p := dst.Addr().Interface().(type) {
	case *bool:
		v, ok := n.val.(bool)
		if !ok {
			return want("true or false", f.key+" = true")
		}
		*p = v
		return nil
	case *time.Duration:
		s, ok := n.val.(string)
		if !ok {
			return want("a duration in quotes", f.key+` = "5s"`)
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			return refusal{quote(s) + " is no duration", `write a number and a unit, such as "5s", "300ms" or "2m"`}
		}
		*p = v
		return f.inRange(v)
	}
	if k := dst.Kind(); k >= reflect.Int && k <= reflect.Uint64 {
		v, ok := n.val.(int64)
		if !ok {
			return want("an integer", f.key+" = "+f.exampleInt())
		}
		return f.setInt(dst, v)
	}
	s, ok := n.val.(string)
	if !ok {
		return want("a string", f.key+` = "..."`)
	}
	if s == "" && element {
		return refusal{"an empty string", "remove it"}
	}
	if hasControl(s) {
		return refusal{"a control character in the text", "write it in one line of plain text"}
	}
	if s == "" {
		dst.SetZero()
		return f.inEnum(s)
	}
	switch p := dst.Addr().Interface().(type) {
	case scalar:
		return p.parse(s)
	case *netip.Addr:
		return parseAddr(s, p)
	case *netip.Prefix:
		return parsePrefix(s, p, f.host)
	}
	if err := f.inEnum(s); err != nil {
		return err
	}
	dst.SetString(s)
	return nil
}

// hasControl finds line ends and the like: every text of the configuration may
// end in a log line or a table.
func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// setInt checks the range in the tag, or that of the type.
func (f field) setInt(dst reflect.Value, v int64) error {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	switch dst.Kind() {
	case reflect.Uint8:
		lo, hi = 0, math.MaxUint8
	case reflect.Uint16:
		lo, hi = 0, math.MaxUint16
	case reflect.Uint32:
		lo, hi = 0, math.MaxUint32
	}
	if a, b, ok := strings.Cut(f.span, ".."); ok {
		lo, _ = strconv.ParseInt(a, 10, 64)
		hi, _ = strconv.ParseInt(b, 10, 64)
	}
	if v < lo || v > hi {
		return refusal{fmt.Sprintf("%d is out of range", v), fmt.Sprintf("use %d to %d", lo, hi)}
	}
	if dst.CanUint() {
		dst.SetUint(uint64(v)) // lo is not negative for unsigned kinds
	} else {
		dst.SetInt(v)
	}
	return nil
}

func (f field) exampleInt() string {
	if a, _, ok := strings.Cut(f.span, ".."); ok && a != "0" {
		return a
	}
	return "1"
}

func (f field) inRange(v time.Duration) error {
	a, b, ok := strings.Cut(f.span, "..")
	if !ok {
		a, b = "0s", "24h"
	}
	lo, _ := time.ParseDuration(a)
	hi, _ := time.ParseDuration(b)
	if v < lo || v > hi {
		return refusal{fmt.Sprintf("%s is out of range", v), fmt.Sprintf("use %s to %s", a, b)}
	}
	if f.whole && v%time.Second != 0 {
		return refusal{fmt.Sprintf("%s is not a whole number of seconds", v), "the protocol counts seconds; use " + v.Round(time.Second).String()}
	}
	return nil
}

func (f field) inEnum(s string) error {
	if f.enum == nil || slices.Contains(f.enum, s) {
		return nil
	}
	cure := "use " + strings.Join(f.enum, ", ")
	if near := nearest(s, f.enum); near != "" {
		cure = fmt.Sprintf("did you mean %q? use %s", near, strings.Join(f.enum, ", "))
	}
	return refusal{quote(s) + " is not known here", cure}
}
