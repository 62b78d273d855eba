package doctor_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

var update = flag.Bool("update", false, "write README.md")

// TestREADMEIsCurrent makes the page from the rows and from the cures that the
// planted faults bring: go test ./tgwconnect/doctor -run README -update.
func TestREADMEIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# What wgbgp tgw check looks for

Made from the code by ` + "`go test ./tgwconnect/doctor -run README -update`" + `; do not edit.

` + "`wgbgp tgw check`" + ` judges all rows, ` + "`wgbgp check --host`" + ` those marked "host", which need no AWS. The verdict is ok,
warning, problem, unknown (with the missing permission) or not-applicable. Everything is read; a dry run asks what may
be changed. "Tested in" says where the test plants the fault: ` + "`tgwsim`" + ` behind the product's own client, ` + "`facts`" + ` as the kernel or
the daemon would say it, ` + "`absent`" + ` where tgwsim has no such service. None of it has been run against a real AWS account.

| # | Name | What is wrong | What is read | Host | Tested in |
| --- | --- | --- | --- | --- | --- |
`)
	for _, r := range doctor.Rows() {
		host := ""
		if r.Host {
			host = "host"
		}
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s | %s | %s |\n", r.Number, r.Slug, r.Title, strings.ReplaceAll(r.How, "|", "\\|"), host, faults[r.Number].where)
	}
	b.WriteString("\nThe cure is printed with the objects' own IDs; so it reads for the faults that the tests plant:\n\n")
	for _, row := range doctor.Rows() {
		for _, cure := range spoiled(t, row).Cure {
			fmt.Fprintf(&b, "- `%s`: %s\n", row.Slug, cure)
		}
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("README.md is old: go test ./tgwconnect/doctor -run README -update")
	}
}
