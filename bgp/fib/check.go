package fib

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// Check compares the kernel with the last wanted set without changing anything
// and describes each difference in a line: routes missing, wrong or left over,
// and policy rules. Routes that can not be installed for lack of a device are
// no difference; RoutesApplied names them.
func (f *FIB) Check(ctx context.Context) ([]string, error) {
	list, err := f.List(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	want := f.want
	excused := func(r *bgp.Route) bool {
		return slices.ContainsFunc(f.last.Reports, func(p bgp.RouteReport) bool { return p.Prefix == r.Prefix && p.Metric == r.Metric })
	}
	i := 0
	missing := func() {
		if !excused(&want[i]) {
			out = append(out, fmt.Sprintf("missing: %s metric %d", want[i].Prefix, want[i].Metric))
		}
		i++
	}
	for k := range list {
		l := &list[k]
		for i < len(want) && compareKey(&want[i], l.Prefix, l.Metric) < 0 {
			missing()
		}
		switch {
		case i == len(want) || compareKey(&want[i], l.Prefix, l.Metric) != 0:
			if f.complete { // until then what an earlier process left may still be wanted
				out = append(out, fmt.Sprintf("not wanted: %s metric %d", l.Prefix, l.Metric))
			}
			continue
		case !l.InSync && !excused(&want[i]):
			out = append(out, fmt.Sprintf("differs: %s metric %d", l.Prefix, l.Metric))
		}
		i++
	}
	for i < len(want) {
		missing()
	}
	rules, err := f.checkRules(ctx)
	return append(out, rules...), err
}

func (f *FIB) checkRules(ctx context.Context) ([]string, error) {
	var out []string
	var errs []error
	for _, fam := range families {
		have, err := f.readRules(ctx, fam)
		if isErrno(err, unix.EAFNOSUPPORT, unix.EOPNOTSUPP) {
			continue
		}
		errs = append(errs, err)
		want := f.frame.wantedRules(fam)
		for _, w := range want {
			if !slices.Contains(have, w) {
				out = append(out, "missing: rule "+w.String())
			}
		}
		for _, h := range have {
			if !slices.Contains(want, h) {
				out = append(out, "not wanted: rule "+h.String())
			}
		}
	}
	return out, errors.Join(errs...)
}
