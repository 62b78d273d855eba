package aws

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// policy is an IAM policy document as far as these files use the language.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect      string
		Action, Resource oneOrMore
		Condition        map[string]map[string]oneOrMore
	}
}

type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// policies are all files by name.
func policies(t *testing.T) map[string]policy {
	t.Helper()
	names, err := filepath.Glob("iam-*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no policies here: %v", err)
	}
	out := map[string]policy{}
	for _, name := range names {
		d := json.NewDecoder(strings.NewReader(read(t, name)))
		d.DisallowUnknownFields()
		var p policy
		if err := d.Decode(&p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = p
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPoliciesAreWellFormed(t *testing.T) {
	for name, p := range policies(t) {
		if p.Version != "2012-10-17" || len(p.Statement) == 0 {
			t.Errorf("%s: version %q, %d statements", name, p.Version, len(p.Statement))
		}
		sids := map[string]bool{}
		for _, s := range p.Statement {
			if s.Effect != "Allow" || !regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid) || sids[s.Sid] {
				t.Errorf("%s: statement %q: effect %q, or its name is no name or not its own", name, s.Sid, s.Effect)
			}
			sids[s.Sid] = true
			if !slices.IsSorted(s.Action) || len(s.Action) == 0 || len(slices.Compact(slices.Clone(s.Action))) != len(s.Action) {
				t.Errorf("%s: %s: actions are not sorted, or double", name, s.Sid)
			}
			for _, a := range s.Action {
				if strings.Contains(a, "*") {
					t.Errorf("%s: %s: %s: a wildcard is not least privilege", name, s.Sid, a)
				}
				// What changes something must be bound: to objects by name or by tag.
				verb := a[strings.Index(a, ":")+1:]
				reads := strings.HasPrefix(verb, "Describe") || strings.HasPrefix(verb, "Get") || strings.HasPrefix(verb, "Search") || strings.HasPrefix(verb, "List")
				if !reads && slices.Contains(s.Resource, "*") && len(s.Condition) == 0 {
					t.Errorf("%s: %s: %s may change everything", name, s.Sid, a)
				}
			}
		}
	}
}

// IAM.md has a line "| `action` | `file` | why |" for each action of each file.
func TestEveryActionIsJustified(t *testing.T) {
	line := regexp.MustCompile("(?m)^\\| `([a-z0-9]+:[A-Za-z]+)` \\| `(iam-[a-z]+\\.json)` \\| (.{10,}) \\|$")
	said := map[[2]string]bool{}
	for _, m := range line.FindAllStringSubmatch(read(t, "IAM.md"), -1) {
		k := [2]string{m[2], m[1]}
		if said[k] {
			t.Errorf("IAM.md: %s of %s twice", k[1], k[0])
		}
		said[k] = true
	}
	for name, p := range policies(t) {
		for _, s := range p.Statement {
			for _, a := range s.Action {
				k := [2]string{name, a}
				if _, ok := said[k]; !ok {
					t.Errorf("IAM.md has no line for %s of %s", a, name)
				}
				said[k] = false // justified and granted
			}
		}
	}
	for k, extra := range said {
		if extra {
			t.Errorf("IAM.md justifies %s, which %s does not grant", k[1], k[0])
		}
	}
}
