package configs

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Show prints the configuration in effect as TOML: every key, defaults and
// derived values included, tables sorted by name, secrets as references. What
// it prints is a valid configuration with the same meaning.
func Show(c *Config) string {
	var b strings.Builder
	showTable(&b, "", reflect.ValueOf(c.doc).Elem(), "")
	return strings.TrimLeft(b.String(), "\n")
}

func showTable(b *strings.Builder, path string, v reflect.Value, header string) {
	fields := fieldsOf(v.Type())
	if slices.ContainsFunc(fields, func(f field) bool { _, table := below(v.Field(f.index).Type()); return !table }) && header != "" {
		fmt.Fprintf(b, "\n%s\n", header)
	}
	for _, f := range fields {
		if _, table := below(v.Field(f.index).Type()); !table && (path != "" || f.key != "include") {
			fmt.Fprintf(b, "%s = %s\n", f.key, encodeValue(v.Field(f.index)))
		}
	}
	for _, f := range fields {
		fv := v.Field(f.index)
		if _, table := below(fv.Type()); !table {
			continue
		}
		at := join(path, f.key)
		switch fv.Kind() {
		case reflect.Struct:
			showTable(b, at, fv, "["+at+"]")
		case reflect.Pointer:
			if !fv.IsNil() {
				showTable(b, at, fv.Elem(), "["+at+"]")
			}
		case reflect.Slice:
			for i := range fv.Len() {
				showTable(b, at, fv.Index(i).Elem(), "[["+at+"]]")
			}
		case reflect.Map:
			for _, k := range sortedKeys(fv) {
				name := join(at, k)
				showTable(b, name, fv.MapIndex(reflect.ValueOf(k)).Elem(), "["+name+"]")
			}
		}
	}
}

func sortedKeys(m reflect.Value) []string {
	d := &document{WireGuard: m.Interface().(map[string]*wireguardDoc)}
	var out []string
	for _, w := range d.devices() {
		out = append(out, w.name)
	}
	return out
}

// encodeValue is the TOML form of one value.
func encodeValue(v reflect.Value) string {
	if !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	switch p := v.Addr().Interface().(type) {
	case scalar:
		return encodeString(p.text())
	case *time.Duration:
		return encodeString(p.String())
	case *netip.Addr:
		if !p.IsValid() {
			return `""`
		}
		return encodeString(p.String())
	case *netip.Prefix:
		if !p.IsValid() {
			return `""`
		}
		return encodeString(p.String())
	case *string:
		return encodeString(*p)
	case *bool:
		return strconv.FormatBool(*p)
	}
	switch {
	case v.Kind() == reflect.Slice:
		return "[" + strings.Join(encodeParts(v), ", ") + "]"
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	}
	return strconv.FormatInt(v.Int(), 10)
}

func encodeParts(v reflect.Value) []string {
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = encodeValue(v.Index(i))
	}
	return parts
}

// encodeString writes a TOML basic string. strconv.Quote is not it: TOML has
// no \x before 1.1, no \a and no \v.
func encodeString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
