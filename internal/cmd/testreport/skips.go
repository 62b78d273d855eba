package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strings"
)

// expectation is one line of the skips file:
//
//	PACKAGE TEST REASON # WHY
//
// PACKAGE is a path.Match pattern for the end of the import path, TEST one for
// the test's name, REASON a text that the skip's reason must contain (spaces
// allowed), WHY what keeps this machine from running it. All four are needed.
type expectation struct {
	pkg, test, reason, why string
}

type expectations []expectation

func readExpectations(file string) (expectations, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var es expectations
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseExpectation(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		es = append(es, e)
	}
	return es, lines.Err()
}

func parseExpectation(line string) (expectation, error) {
	what, why, _ := strings.Cut(line, " # ")
	fields := strings.Fields(what)
	if len(fields) < 3 || strings.TrimSpace(why) == "" {
		return expectation{}, fmt.Errorf("want PACKAGE TEST REASON # WHY, got %q", line)
	}
	e := expectation{fields[0], fields[1], strings.Join(fields[2:], " "), strings.TrimSpace(why)}
	for _, p := range []string{e.pkg, e.test} {
		if _, err := path.Match(p, ""); err != nil {
			return expectation{}, fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return e, nil
}

// match says whether a skip is expected, and why.
func (es expectations) match(k key, reason string) (why string, ok bool) {
	for _, e := range es {
		if matchTail(e.pkg, k.pkg) && matchName(e.test, k.test) && strings.Contains(reason, e.reason) {
			return e.why, true
		}
	}
	return "", false
}

// matchTail matches a pattern of n path elements with the last n of a path.
func matchTail(pattern, pkg string) bool {
	have := strings.Split(pkg, "/")
	n := strings.Count(pattern, "/") + 1
	if n > len(have) {
		return false
	}
	ok, _ := path.Match(pattern, strings.Join(have[len(have)-n:], "/"))
	return ok
}

// matchName matches a test or, when the pattern has no slash, all its subtests.
func matchName(pattern, test string) bool {
	if !strings.Contains(pattern, "/") {
		test, _, _ = strings.Cut(test, "/")
	}
	ok, _ := path.Match(pattern, test)
	return ok
}
