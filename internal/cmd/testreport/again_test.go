package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatFailedBesideOthersCountsByItsRunAlone(t *testing.T) {
	first := []string{
		`{"Action":"fail","Package":"p","Test":"TestScenarios/beside/a"}`,
		`{"Action":"pass","Package":"p","Test":"TestScenarios/beside/b"}`,
		`{"Action":"fail","Package":"p","Test":"TestScenarios/beside"}`,
		`{"Action":"fail","Package":"p","Test":"TestScenarios"}`,
		`{"Action":"fail","Package":"q","Test":"TestSteps/two"}`,
		`{"Action":"fail","Package":"q","Test":"TestSteps"}`,
	}
	units := []key{{"p", "TestScenarios/beside/a"}, {"q", "TestSteps"}}
	pass := func(k key) string { return `{"Action":"pass","Package":"` + k.pkg + `","Test":"` + k.test + `"}` }
	fail := func(k key) string { return `{"Action":"fail","Package":"` + k.pkg + `","Test":"` + k.test + `"}` }
	for _, c := range []struct {
		name  string
		again []string
		last  string
	}{
		{"both pass", []string{pass(units[0]), pass(units[1])}, "6 passed, 0 failed, 0 skipped"},
		{"one fails again", []string{pass(units[0]), fail(units[1])}, "4 passed, 2 failed, 0 skipped"},
		{"the other fails again", []string{fail(units[0]), pass(units[1])}, "3 passed, 3 failed, 0 skipped"},
		{"one does not run", []string{pass(units[0])}, "4 passed, 2 failed, 0 skipped"},
		{"a subtest fails again", []string{pass(units[0]), fail(key{"q", "TestSteps/one"}), pass(units[1])}, "4 passed, 2 failed, 0 skipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, out := feed(first...)
			err := r.repeat(out, func(own *results, got []key) error {
				if !slices.Equal(got, units) {
					t.Errorf("repeated: got %v, want %v", got, units)
				}
				for _, l := range c.again {
					own.line([]byte(l + "\n"))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r.report(true, nil)
			if got := lastLine(out); got != c.last {
				t.Errorf("account: got %q, want %q", got, c.last)
			}
			if named := strings.Contains(out.String(), "unsteady: q TestSteps: "); named != strings.HasPrefix(c.last, "6") && c.name != "the other fails again" {
				t.Errorf("named as unsteady: got %v\n%s", named, out)
			}
		})
	}
}

func TestManyFailuresAndPackagesAreNotRepeated(t *testing.T) {
	var many []string
	for _, name := range []string{"A", "B", "C", "D", "E", "F"} {
		many = append(many, `{"Action":"fail","Package":"p","Test":"Test`+name+`"}`)
	}
	for name, lines := range map[string][]string{
		"many":    many,
		"package": {`{"Action":"fail","Package":"p"}`, `{"Action":"fail","Package":"q","Test":"TestA"}`},
		"none":    {`{"Action":"pass","Package":"q","Test":"TestA"}`},
	} {
		r, out := feed(lines...)
		if err := r.repeat(out, func(*results, []key) error {
			t.Errorf("%s: repeated", name)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneSubtestIsNamedExactly(t *testing.T) {
	if got, want := subtest("TestScenarios/beside/a.1"), `^TestScenarios$/^beside$/^a\.1$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
