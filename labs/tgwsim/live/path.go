package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// A path names a part of a world.State by the names of its Go fields, IDs or
// names of objects, and indices of lists, as in
//
//	Interfaces/gw1/SourceDestCheck
//	SecurityGroups/edge/Rules/2/Protocol
//
// A last index of "+" is a new entry of a list.

// get is the part at a path, as JSON.
func get(s *world.State, path string) (string, error) {
	tree, err := treeOf(s)
	if err != nil {
		return "", err
	}
	at := tree
	for _, segment := range split(path) {
		key, err := child(at, segment)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		at = key.value
	}
	text, err := json.MarshalIndent(at, "", "  ")
	return string(text) + "\n", err
}

// set replaces the part at a path by a JSON value, or with remove takes it away.
// It fails if what comes of it is no State.
func set(s *world.State, path, value string, remove bool) error {
	tree, err := treeOf(s)
	if err != nil {
		return err
	}
	var v any
	if !remove {
		d := json.NewDecoder(strings.NewReader(value))
		d.UseNumber()
		if err := d.Decode(&v); err != nil || d.More() {
			v = value // a bare word, or an address, is a string
		}
	}
	segments := split(path)
	if len(segments) == 0 {
		return fmt.Errorf("an empty path")
	}
	tree, err = replace(tree, segments, v, remove)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var changed world.State
	if err := d.Decode(&changed); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	*s = changed
	return nil
}

func treeOf(s *world.State) (any, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	return tree, d.Decode(&tree)
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
}

// place is a child of a node: a key of an object, or an index of a list.
type place struct {
	key   string
	index int
	value any
}

func child(at any, segment string) (place, error) {
	switch at := at.(type) {
	case map[string]any:
		if v, ok := at[segment]; ok {
			return place{key: segment, value: v}, nil
		}
		for key, v := range at { // by the tag Name
			o, _ := v.(map[string]any)
			tags, _ := o["Tags"].(map[string]any)
			if tags["Name"] == segment {
				return place{key: key, value: v}, nil
			}
		}
		return place{}, fmt.Errorf("nothing is named %q", segment)
	case []any:
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(at) {
			return place{index: i, value: at[i]}, nil
		}
		return place{}, fmt.Errorf("no index %q in a list of %d", segment, len(at))
	}
	return place{}, fmt.Errorf("nothing is below %v", at)
}

func replace(at any, segments []string, v any, remove bool) (any, error) {
	if list, ok := at.([]any); (ok || at == nil) && segments[0] == "+" && len(segments) == 1 {
		return append(list, v), nil
	}
	p, err := child(at, segments[0])
	if err != nil {
		// A value of a map may be a new one; a field of a struct that there is not
		// is refused when the State is made.
		if o, ok := at.(map[string]any); ok && len(segments) == 1 && !remove {
			o[segments[0]] = v
			return o, nil
		}
		return nil, err
	}
	if len(segments) > 1 {
		if v, err = replace(p.value, segments[1:], v, remove); err != nil {
			return nil, err
		}
		remove = false
	}
	switch at := at.(type) {
	case map[string]any:
		at[p.key] = v
		if remove {
			delete(at, p.key)
		}
		return at, nil
	case []any:
		if remove {
			return slices.Delete(at, p.index, p.index+1), nil
		}
		at[p.index] = v
		return at, nil
	}
	return nil, fmt.Errorf("nothing is below %v", at)
}
