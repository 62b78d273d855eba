package fib

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// rulesPerTable is how many preferences from RulePref on are ours.
const rulesPerTable = 4

// wantedRules lead from main to our table, in this order: a tunnel packet
// (marked) uses main and, when main has no way, nothing at all, so that it
// can never enter a tunnel; everything else prefers main without its default
// route, then our table.
func (f frame) wantedRules(fam uint8) []rule {
	if !f.rules() {
		return nil
	}
	base := rule{family: fam, action: unix.FR_ACT_TO_TBL, suppress: -1, protocol: f.protocol}
	var out []rule
	if f.mark != 0 {
		r := base
		r.pref, r.table, r.mark = f.pref, unix.RT_TABLE_MAIN, f.mark
		out = append(out, r)
		r = base
		r.pref, r.mark, r.action = f.pref+1, f.mark, unix.FR_ACT_UNREACHABLE
		out = append(out, r)
	}
	r := base
	r.pref, r.table, r.suppress = f.pref+2, unix.RT_TABLE_MAIN, 0
	out = append(out, r)
	r = base
	r.pref, r.table = f.pref+3, f.table
	return append(out, r)
}

// owns says whether a rule is one of ours by protocol and place.
func (f frame) owns(r rule) bool {
	return r.protocol == f.protocol && (r.table == f.table || r.pref >= f.pref && r.pref < f.pref+rulesPerTable)
}

// ensureRules adds missing rules, then deletes ours that are wrong or double.
func (f *FIB) ensureRules(ctx context.Context) error {
	for _, fam := range families {
		have, err := f.readRules(ctx, fam)
		if isErrno(err, unix.EAFNOSUPPORT, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6 has no IPv6 rules to want
		}
		if err != nil {
			return err
		}
		var extra []rule
		found := map[rule]bool{}
		for _, h := range have {
			if found[h] {
				extra = append(extra, h)
			}
			found[h] = true
		}
		wanted := map[rule]bool{}
		for _, w := range f.frame.wantedRules(fam) {
			wanted[w] = true
			if found[w] {
				continue
			}
			if err := f.writeRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, &w); err != nil {
				return fmt.Errorf("add rule %s: %w", w, err)
			}
		}
		for _, h := range have {
			if !wanted[h] {
				extra = append(extra, h)
			}
		}
		for _, e := range extra {
			if err := f.writeRule(unix.RTM_DELRULE, 0, &e); err != nil && !isErrno(err, unix.ENOENT) {
				return fmt.Errorf("delete rule %s: %w", e, err)
			}
		}
	}
	return nil
}

// readRules returns the rules of a family that are ours.
func (f *FIB) readRules(ctx context.Context, fam uint8) ([]rule, error) {
	var have []rule
	err := f.conn.dump(ctx,
		func(m *messages, seq uint32) { m.dumpHeader(seq, unix.RTM_GETRULE, fam, sizeofRuleHdr) },
		func() { have = nil },
		func(_ uint16, b []byte) error {
			r, other, err := parseRule(b)
			if err == nil && !other && r.family == fam && f.frame.owns(r) {
				have = append(have, r)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return have, nil
}

func (f *FIB) writeRule(typ, flags uint16, r *rule) error {
	var refusal error
	b := &batch{c: f.conn, done: func(_ op, err error) { refusal = err }}
	m, seq := b.next(op{})
	m.rule(typ, flags, seq, r)
	err := b.flush(context.Background())
	f.count.Writes.Add(1)
	f.count.Batches.Add(1)
	if refusal != nil {
		f.count.Errors.Add(1)
	}
	return errors.Join(err, refusal)
}

// String writes the rule as iproute2 would.
func (r rule) String() string {
	s := fmt.Sprintf("%d: from all", r.pref)
	if r.mark != 0 {
		s += fmt.Sprintf(" fwmark %#x", r.mark)
	}
	switch r.action {
	case unix.FR_ACT_UNREACHABLE:
		s += " unreachable"
	default:
		s += " lookup " + tableName(r.table)
	}
	if r.suppress >= 0 {
		s += fmt.Sprintf(" suppress_prefixlength %d", r.suppress)
	}
	return s + " proto " + protocolName(r.protocol)
}
