package configs

import (
	"reflect"
	"strings"
	"sync"
)

// field is what the decoder knows about one key, read from the struct tags of
// document.go:
//
//	toml:"key"         the key
//	class:"live"       what a change of it costs (Class)
//	req:"asn = 65010"  the key is required; the text is the cure
//	unless:"a,b"       not required if one of these keys is there
//	enum:"a|b"         the words allowed
//	span:"1..65535"    bounds of a number or duration, both included
//	opt:"whole,host"   whole seconds; prefix with host bits
//	opt:"set"          the order of the elements means nothing
type field struct {
	key      string
	index    int
	class    Class
	required string
	unless   []string
	enum     []string
	span     string
	whole    bool
	host     bool
	set      bool
}

var fieldCache sync.Map // reflect.Type -> []field; a pure function's memory

func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key := sf.Tag.Get("toml")
		if key == "" {
			continue
		}
		f := field{key: key, index: i, class: Class(sf.Tag.Get("class")), required: sf.Tag.Get("req"), span: sf.Tag.Get("span")}
		if u := sf.Tag.Get("unless"); u != "" {
			f.unless = strings.Split(u, ",")
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, "|")
		}
		f.whole = strings.Contains(sf.Tag.Get("opt"), "whole")
		f.host = strings.Contains(sf.Tag.Get("opt"), "host")
		f.set = strings.Contains(sf.Tag.Get("opt"), "set")
		out = append(out, f)
	}
	fieldCache.Store(t, out)
	return out
}

var binderType = reflect.TypeFor[binder]()

// isTable reports whether a struct type is a TOML table and not a scalar.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(binderType)
}

// below returns the struct type of the table(s) under a field, if it has any.
func below(t reflect.Type) (reflect.Type, bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t, isTable(t)
}

// Field describes one key for documentation and for the CLI.
type Field struct {
	Path     string // such as "site[].neighbor.asn"
	Class    Class  // what a change costs
	Required bool
	Values   []string // the words allowed, nil: free
}

// Fields lists every key that a configuration may hold, in the order of the
// reference.
func Fields() []Field {
	var out []Field
	walkFields(reflect.TypeFor[document](), "", &out)
	return out
}

func walkFields(t reflect.Type, path string, out *[]Field) {
	for _, f := range fieldsOf(t) {
		ft := t.Field(f.index).Type
		at := f.key
		if path != "" {
			at = path + "." + f.key
		}
		sub, ok := below(ft)
		if !ok {
			*out = append(*out, Field{Path: at, Class: f.class, Required: f.required != "", Values: f.enum})
			continue
		}
		switch ft.Kind() {
		case reflect.Slice:
			at += "[]"
		case reflect.Map:
			at += ".NAME"
		}
		walkFields(sub, at, out)
	}
}
