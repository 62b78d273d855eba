package bench

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Results are the figures of benchmarks: name, without "Benchmark" and without
// the number of processors, then unit.
type Results map[string]map[string]float64

// Read takes what `go test -bench` prints and adds its figures. Of a benchmark
// that ran several times the last run counts. Other lines are passed over.
func (r Results) Read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		units := r[name]
		if units == nil {
			units = map[string]float64{}
			r[name] = units
		}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				units[f[i+1]] = v
			}
		}
	}
	return lines.Err()
}

// Get returns one figure.
func (r Results) Get(name, unit string) (float64, bool) {
	v, ok := r[name][unit]
	return v, ok
}
