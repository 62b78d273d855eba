package fib

import (
	"context"
	"fmt"
)

// CheckFilter compares the nftables table with what ApplyClamp and
// ApplySources were last given, changes nothing, and describes each difference
// in a line.
func (f *FIB) CheckFilter(ctx context.Context) ([]string, error) {
	n := f.nft
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	have, err := n.read()
	if err != nil {
		return nil, fmt.Errorf("nftables: read table %s: %w", n.table, err)
	}
	want := n.wanted()
	switch {
	case want.print == have.print:
	case have.print == "":
		return []string{"missing: nftables table " + n.table}, nil
	case want.print == "":
		return []string{"not wanted: nftables table " + n.table}, nil
	default:
		return []string{"differs: chains of nftables table " + n.table}, nil
	}
	var out []string
	for _, d := range want.checked {
		for _, name := range []string{setName4(d), setName6(d)} {
			if len(want.sets[name].minus(have.sets[name]))+len(have.sets[name].minus(want.sets[name])) > 0 {
				out = append(out, fmt.Sprintf("differs: nftables set %s of table %s", name, n.table))
			}
		}
	}
	return out, nil
}
