package wire

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostDepth bounds how deep a parameter's name may go: the deepest that is
// served has six parts.
const mostDepth = 12

// node is a form as a tree: "Filter.1.Value.2" is four nodes below the root.
type node struct {
	value    *string
	children map[string]*node
}

// Decode reads the parameters of a request into input, a pointer to an Input
// struct of the SDK. Errors are those of the API: UnknownParameter,
// MissingParameter, InvalidParameterValue [API error codes].
func (s *Service) Decode(form url.Values, input any) *Error {
	root := &node{}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name == "Action" || name == "Version" {
			continue
		}
		values := form[name]
		if len(values) != 1 {
			return &Error{Code: "InvalidParameterCombination", Message: "The parameter " + name + " appears more than once."}
		}
		parts := strings.Split(name, ".")
		if len(parts) > mostDepth {
			return unknown(name)
		}
		n := root
		for _, part := range parts {
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[part] == nil {
				n.children[part] = &node{}
			}
			n = n.children[part]
		}
		n.value = &values[0]
	}
	return s.decodeStruct(root, reflect.ValueOf(input).Elem(), "")
}

func unknown(name string) *Error {
	return &Error{Code: "UnknownParameter", Message: "The parameter " + name + " is not recognized"}
}

func invalid(name, value string) *Error {
	return &Error{Code: "InvalidParameterValue", Message: fmt.Sprintf("Invalid value '%s' for %s.", value, name)}
}

func (s *Service) decodeStruct(n *node, v reflect.Value, path string) *Error {
	if n.value != nil {
		return unknown(path)
	}
	names := s.namesOf(s.Params, v.Type())
	fields := make(map[string]string, len(names)) // by the name on the wire
	for field, name := range names {
		fields[name] = field
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		at := join(path, name)
		field, ok := fields[name]
		if !ok {
			return unknown(at)
		}
		if err := s.decode(n.children[name], v.FieldByName(field), at); err != nil {
			return err
		}
	}
	return s.Complete(v, path)
}

// Complete refuses a struct without what it must have.
func (s *Service) Complete(v reflect.Value, path string) *Error {
	names := s.namesOf(s.Params, v.Type())
	for _, field := range slices.Sorted(maps.Keys(s.Required[v.Type().Name()])) {
		if v.FieldByName(field).IsZero() {
			return &Error{Code: "MissingParameter", Message: "The request must contain the parameter " + join(path, names[field])}
		}
	}
	return nil
}

func (s *Service) decode(n *node, v reflect.Value, path string) *Error {
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem() != timeType && v.Type().Elem().Kind() == reflect.Struct:
		v.Set(reflect.New(v.Type().Elem()))
		return s.decodeStruct(n, v.Elem(), path)
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		return s.decodeStruct(n, v, path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		return s.decodeList(n, v, path)
	}
	if n.value == nil || n.children != nil {
		return unknown(path)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return decodeScalar(*n.value, v, path)
}

// decodeList reads "Name.1", "Name.2", ...; outside of the EC2 dialect
// "Name.member.1". An empty list is "Name=" in that dialect.
func (s *Service) decodeList(n *node, v reflect.Value, path string) *Error {
	if !s.EC2 {
		if n.value != nil && *n.value == "" {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			return nil
		}
		member := n.children["member"]
		if member == nil || len(n.children) != 1 {
			return unknown(path)
		}
		n, path = member, path+".member"
	}
	if n.value != nil {
		return unknown(path)
	}
	indexes := make([]int, 0, len(n.children))
	for name := range n.children {
		i, err := strconv.Atoi(name)
		if err != nil || i < 1 || strconv.Itoa(i) != name {
			return unknown(join(path, name))
		}
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	v.Set(reflect.MakeSlice(v.Type(), len(indexes), len(indexes)))
	for at, i := range indexes {
		name := strconv.Itoa(i)
		if err := s.decode(n.children[name], v.Index(at), join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

var timeType = reflect.TypeFor[time.Time]()

func decodeScalar(text string, v reflect.Value, path string) *Error {
	switch v.Kind() {
	case reflect.String: // enums too; which values are legal is the operation's affair
		v.SetString(text)
		return nil
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			v.SetBool(b)
			return nil
		}
	case reflect.Int32, reflect.Int64:
		if i, err := strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
			return nil
		}
	case reflect.Float64:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			v.SetFloat(f)
			return nil
		}
	case reflect.Slice: // of bytes
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			v.SetBytes(b)
			return nil
		}
	case reflect.Struct:
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			v.Set(reflect.ValueOf(t))
			return nil
		}
	}
	return invalid(path, text)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// namesOf are the names of t's fields in a table. Without an entry, outside of
// the EC2 dialect, they are the fields' own.
func (s *Service) namesOf(table Table, t reflect.Type) Names {
	if n, ok := table[t.Name()]; ok || s.EC2 {
		return n
	}
	n := Names{}
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && f.Name != "ResultMetadata" {
			n[f.Name] = f.Name
		}
	}
	return n
}
