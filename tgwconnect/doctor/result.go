package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what a row comes to.
type Verdict string

// Verdicts.
const (
	OK            Verdict = "ok"
	Warning       Verdict = "warning"
	Problem       Verdict = "problem"
	Unknown       Verdict = "unknown"
	NotApplicable Verdict = "not-applicable"
)

// Result is one row's verdict.
type Result struct {
	ID      string  `json:"id"` // number and slug, "1-ibgp-trap"
	Row     int     `json:"row"`
	Title   string  `json:"title"`
	Verdict Verdict `json:"verdict"`
	// Evidence is what was read; for unknown and not-applicable, why.
	Evidence []string `json:"evidence"`
	Missing  string   `json:"missing_permission"` // IAM action without which it is unknown
	Cure     []string `json:"cure"`               // commands and console paths
}

// tally puts together what a row finds in several objects.
type tally struct {
	verdict  Verdict
	evidence []string
	cure     []string
	missing  string
}

var order = []Verdict{NotApplicable, OK, Unknown, Warning, Problem}

func (t *tally) add(v Verdict, cure, format string, args ...any) {
	if slices.Index(order, v) > slices.Index(order, t.verdict) {
		t.verdict = v
	}
	line := fmt.Sprintf(format, args...)
	if v == Problem || v == Warning {
		// What is wrong comes before what is right.
		at := slices.IndexFunc(t.evidence, func(e string) bool { return strings.HasPrefix(e, "ok: ") })
		if at < 0 {
			at = len(t.evidence)
		}
		t.evidence = slices.Insert(t.evidence, at, line)
	} else {
		t.evidence = append(t.evidence, string(v)+": "+line)
	}
	if cure != "" && !slices.Contains(t.cure, cure) {
		t.cure = append(t.cure, cure)
	}
}

func (t *tally) good(format string, args ...any) { t.add(OK, "", format, args...) }
func (t *tally) warn(cure, format string, args ...any) {
	t.add(Warning, cure, format, args...)
}
func (t *tally) bad(cure, format string, args ...any) { t.add(Problem, cure, format, args...) }
func (t *tally) unknown(format string, args ...any)   { t.add(Unknown, "", format, args...) }

// lacks makes the row unknown where a fact is missing, and says so.
func (t *tally) lacks(why string) bool {
	if why == "" {
		return false
	}
	t.unknown("%s", why)
	return true
}

type gapper interface {
	gap() (why, action string, missing bool)
}

// needs makes the row unknown where AWS's answer is missing, and says so.
func (t *tally) needs(parts ...gapper) bool {
	for _, p := range parts {
		if why, action, missing := p.gap(); missing {
			t.unknown("%s", why)
			if t.missing == "" {
				t.missing = action
			}
			if action != "" {
				t.cure = append(t.cure, "allow "+action+" in the policy of the role that asks (configs/aws/iam-readonly.json)")
			}
			return false
		}
	}
	return true
}

// none says that there is nothing that the row is about.
func (t *tally) none(format string, args ...any) {
	if t.verdict == "" {
		t.add(NotApplicable, "", format, args...)
	}
}

func (t *tally) result(r Row) Result {
	t.none("nothing of the kind is in use")
	out := Result{ID: r.ID(), Row: r.Number, Title: r.Title, Verdict: t.verdict, Missing: t.missing, Cure: t.cure}
	for _, e := range t.evidence {
		out.Evidence = append(out.Evidence, strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(e, "ok: "), "unknown: "), "not-applicable: "))
	}
	return out
}

// most bounds the evidence of a row that looks at many objects.
const most = 20

func shorten(lines []string) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clip(lines[:most]), fmt.Sprintf("and %d more", len(lines)-most))
}

// Examine judges the rows that are wanted, in their order.
func Examine(f *Facts, wanted func(Row) bool) []Result {
	var out []Result
	for _, r := range Rows() {
		if !wanted(r) {
			continue
		}
		var t tally
		r.judge(f, &t)
		x := t.result(r)
		x.Evidence = shorten(x.Evidence)
		x.Cure = shorten(x.Cure)
		out = append(out, x)
	}
	return out
}
