package wire

//go:generate go run ./gen

import "strings"

// Names maps the Go fields of one struct to their names on the wire.
type Names map[string]string

// Table holds the Names of Go structs, by the type's name without its package.
type Table map[string]Names

// parse reads "Field=name Other": the form of the generated tables.
func parse(pairs string) Names {
	n := Names{}
	for p := range strings.FieldsSeq(pairs) {
		field, name, ok := strings.Cut(p, "=")
		if !ok {
			name = field
		}
		n[field] = name
	}
	return n
}
