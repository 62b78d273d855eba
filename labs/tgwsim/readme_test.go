package tgwsim

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestREADMENamesEveryOperation(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	operations := ec2Operations()
	for _, o := range operations {
		if !strings.Contains(string(text), "`"+o.Name+"`") {
			t.Errorf("%s is served and not in README.md", o.Name)
		}
	}
	if n := strings.Count(string(text), fmt.Sprintf("(%d operations)", len(operations))); n != 1 {
		t.Errorf("README.md does not say that there are %d operations", len(operations))
	}
}
