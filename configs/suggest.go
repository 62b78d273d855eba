package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggestKey is the cure for an unknown key: a near one (which is returned too),
// the table it belongs to, or the list.
func suggestKey(key string, t reflect.Type) (near, cure string) {
	if t == reflect.TypeFor[connectDoc]() && strings.HasPrefix(key, "bfd") {
		return "", "a Transit Gateway does not speak BFD: remove it. Neighbors and sites may have it"
	}
	var known []string
	for _, f := range fieldsOf(t) {
		known = append(known, f.key)
	}
	if near := nearest(key, known); near != "" {
		return near, fmt.Sprintf("did you mean %s?", near)
	}
	for _, f := range fieldsOf(t) {
		sub, ok := below(t.Field(f.index).Type)
		if !ok || t.Field(f.index).Type.Kind() == reflect.Map {
			continue
		}
		for _, sf := range fieldsOf(sub) {
			if sf.key == key {
				return "", fmt.Sprintf("it belongs into the table %s", f.key)
			}
		}
	}
	slices.Sort(known)
	return "", "known here: " + strings.Join(known, ", ")
}

// nearest returns the word that s is most likely a slip of, or "".
func nearest(s string, words []string) string {
	s = fold(s)
	best, found := 1+max(1, len(s)/3), ""
	for _, w := range words {
		if d := distance(s, fold(w)); d < best {
			best, found = d, w
		}
	}
	return found
}

// fold makes the spellings of other tools equal to ours: PrivateKey and
// private_key are private-key.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance: inserted, missing, wrong
// and swapped characters each count one.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
