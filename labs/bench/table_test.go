package bench

import (
	"bytes"
	"strings"
	"testing"
)

const output = `goos: linux
BenchmarkPlanAndDiff/one-site-changes-2   400   3000000 ns/op   12.50 ms/plan   3.1 ms-core
BenchmarkRoutesIntoKernel/IPv4/10000 1 9000000 ns/op 3.10 x_ip_batch 27.9 ms_ip_batch 0.20 ms_unchanged
BenchmarkWithdrawLatency-2
    bench_test.go:1: noise
PASS
`

func TestTableJudgesFigures(t *testing.T) {
	r := Results{}
	if err := r.Read(strings.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	missed, absent, err := Table(&out, r, true)
	if err != nil || missed != 1 || absent != len(Promises)-3 {
		t.Errorf("got %d missed, %d absent, %v; want 1, %d, nil", missed, absent, err, len(Promises)-3)
	}
	for _, want := range []string{"12.50 ms  ", "MISS", "3.10 x", ">= 2.5 x", "ip -batch 28 ms", "pass"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
