package accept

import (
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/configs"
)

// matrixStep is an edit of the table with everything that follows from its path.
type matrixStep struct {
	keyEdit
	path, table, object, key string
	class                    configs.Class
	old                      map[string]string // of key and with, once it is made
}

// matrixSteps has one step for each key of a configuration; a key without an edit
// or a reason is an error.
func matrixSteps(t *testing.T) (steps []*matrixStep) {
	t.Helper()
	known := map[string]bool{}
	for _, f := range configs.Fields() {
		known[f.Path] = true
		e, ok := matrixEdits[f.Path]
		if _, excused := notEdited[f.Path]; ok == excused {
			t.Errorf("%s: want either an edit in matrixEdits or a reason in notEdited", f.Path)
		}
		if !ok {
			continue
		}
		s := &matrixStep{keyEdit: e, path: f.Path, class: f.Class, key: f.Path}
		if i := strings.LastIndex(f.Path, "."); i >= 0 {
			s.table, s.key = strings.ReplaceAll(f.Path[:i], "[]", ""), f.Path[i+1:]
		}
		s.table = strings.TrimSuffix(s.table, ".NAME")
		if s.object = e.on; e.on == "" {
			s.object = matrixObjects[s.table]
		}
		if s.table == "wireguard" {
			s.table, s.object = "wireguard."+s.object, ""
		}
		steps = append(steps, s)
	}
	for path := range matrixEdits {
		if !known[path] {
			t.Errorf("matrixEdits has %s, which is no key", path)
		}
	}
	return steps
}

// make puts the edit into the file, undo takes it out again.
func (s *matrixStep) make(m *matrix) {
	b := m.file.block(s.table, s.object)
	if b == nil {
		m.t.Fatalf("%s: the file has no [%s] of %s", s.path, s.table, s.object)
	}
	s.old = map[string]string{s.key: b.set(s.key, strings.ReplaceAll(s.to, "DIR", m.g.Host.Dir()))}
	for k, v := range s.with {
		s.old[k] = b.set(k, v)
	}
}

func (s *matrixStep) undo(m *matrix) {
	for k, v := range s.old {
		m.file.block(s.table, s.object).set(k, v)
	}
}

// own are the sessions and the site of the object that is edited.
func (s *matrixStep) own() (sessions []string, site string) {
	switch s.table {
	case "tgw-connect":
		return []string{"tgw/1", "tgw/2"}, ""
	case "neighbor":
		if s.object == "any" {
			return []string{"any/198.18.1.66"}, ""
		}
		return []string{s.object}, ""
	case "site.neighbor":
		return []string{s.object}, ""
	case "wireguard.wg-oslo":
		return nil, "oslo"
	case "site":
		return nil, s.object
	}
	return nil, ""
}

// matrixRounds puts edits of different objects into one reload. A Connect peer is
// the way of all announcements and has rounds of its own.
func matrixRounds(steps []*matrixStep) (rounds [][]*matrixStep) {
	fill := func(tgw bool) {
		first := len(rounds)
		count := map[string]int{}
		for _, s := range steps {
			if (s.table == "tgw-connect") != tgw {
				continue
			}
			id := s.table + s.object
			if n := first + count[id]; n == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[first+count[id]] = append(rounds[first+count[id]], s)
			count[id]++
		}
	}
	fill(false)
	fill(true)
	return rounds
}
