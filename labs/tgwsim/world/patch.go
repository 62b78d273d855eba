package world

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Patch merges a JSON object into the state (RFC 7386): null removes, objects
// merge, everything else replaces. If it does not fit, nothing changes.
func (s *State) Patch(patch map[string]any) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("patch the world: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a float64 could not hold every number
	var have map[string]any
	if err := d.Decode(&have); err != nil {
		return fmt.Errorf("patch the world: %w", err)
	}
	text, err = json.Marshal(merge(have, patch))
	if err != nil {
		return fmt.Errorf("patch the world: %w", err)
	}
	patched := &State{}
	d = json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(patched); err != nil {
		return fmt.Errorf("patch the world: %w", err)
	}
	patched.fill()
	*s = *patched
	return nil
}

func merge(have map[string]any, patch map[string]any) map[string]any {
	if have == nil {
		have = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(have, k)
		case map[string]any:
			inner, _ := have[k].(map[string]any)
			have[k] = merge(inner, v)
		default:
			have[k] = v
		}
	}
	return have
}
