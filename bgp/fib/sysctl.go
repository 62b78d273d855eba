package fib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SysctlMode says what CheckSysctls may do.
type SysctlMode string

// Sysctl modes.
const (
	SysctlSet   SysctlMode = "set"
	SysctlCheck SysctlMode = "check"
	SysctlOff   SysctlMode = "off"
)

// SysctlProblem is a kernel setting that is (or was) not what forwarding needs.
type SysctlProblem struct {
	Key   string // as sysctl(8) takes it
	Want  string
	Have  string
	Fixed bool   // set just now
	Why   string // what breaks without it
	Err   string // why it could not be set or read
}

// Cure is the command that repairs it.
func (p SysctlProblem) Cure() string { return fmt.Sprintf("sysctl -w '%s=%s'", p.Key, p.Want) }

// String says what is wrong and how to repair it.
func (p SysctlProblem) String() string {
	s := fmt.Sprintf("%s is %s, want %s: %s", p.Key, p.Have, p.Want, p.Why)
	switch {
	case p.Fixed:
		return s + " (set)"
	case p.Err != "":
		return s + fmt.Sprintf(" (%s; run: %s)", p.Err, p.Cure())
	}
	return s + fmt.Sprintf(" (run: %s)", p.Cure())
}

type sysctlNeed struct {
	path []string // under /proc/sys; the device name may hold dots
	want string
	ok   func(have string) bool // nil: equal to want
	tune bool                   // set when permitted, no problem when not
	why  string
}

// CheckSysctls compares what forwarding through the devices needs with what the
// kernel has, in the network namespace of the calling thread, and with
// SysctlSet writes it. It touches global keys and the keys of the given devices,
// never other devices. A device that does not exist yet is passed over.
//
// The kernel takes the maximum of conf.all.rp_filter and the device's own
// (IN_DEV_MAXCONF in include/linux/inetdevice.h): strict anywhere drops
// asymmetric flows, so both are loose (2), or off on ours when all is loose.
func CheckSysctls(devices []string, mode SysctlMode) []SysctlProblem {
	return checkSysctls("/proc/sys", devices, mode)
}

func checkSysctls(root string, devices []string, mode SysctlMode) []SysctlProblem {
	if mode == SysctlOff {
		return nil
	}
	var out []SysctlProblem
	for _, n := range sysctlNeeds(devices) {
		if p, bad := n.check(root, mode); bad {
			out = append(out, p)
		}
	}
	return out
}

func sysctlNeeds(devices []string) []sysctlNeed {
	loose := func(have string) bool { return have != "1" }
	needs := []sysctlNeed{
		{path: []string{"net", "ipv4", "ip_forward"}, want: "1", why: "IPv4 is not forwarded"},
		{path: []string{"net", "ipv6", "conf", "all", "forwarding"}, want: "1", why: "IPv6 is not forwarded"},
		{path: []string{"net", "ipv4", "conf", "all", "rp_filter"}, want: "2", ok: loose, why: "strict reverse-path filtering drops asymmetric flows on every device"},
		{path: []string{"net", "ipv4", "conf", "all", "src_valid_mark"}, want: "1", tune: true, why: "reverse-path filtering does not see the mark of tunnel packets"},
		{path: []string{"net", "ipv4", "fib_multipath_hash_policy"}, want: "1", ok: func(h string) bool { return h != "0" }, tune: true, why: "ECMP spreads by address pairs only"},
		{path: []string{"net", "ipv6", "fib_multipath_hash_policy"}, want: "1", ok: func(h string) bool { return h != "0" }, tune: true, why: "ECMP spreads by address pairs only"},
		// Without compatibility a change of a next-hop group does not touch its
		// routes one by one: 0.3 ms instead of 22 ms for 100,000 routes.
		{path: []string{"net", "ipv4", "nexthop_compat_mode"}, want: "0", tune: true, why: "changing a next-hop group touches all its routes"},
	}
	devices = slices.Clone(devices)
	slices.Sort(devices)
	for _, d := range slices.Compact(devices) {
		needs = append(needs, sysctlNeed{
			path: []string{"net", "ipv4", "conf", d, "rp_filter"}, want: "2", ok: loose,
			why: "strict reverse-path filtering drops asymmetric flows on " + d,
		})
		needs = append(needs, sysctlNeed{
			path: []string{"net", "ipv6", "conf", d, "forwarding"}, want: "1", why: "IPv6 is not forwarded on " + d,
		})
	}
	return needs
}

func (n *sysctlNeed) check(root string, mode SysctlMode) (SysctlProblem, bool) {
	file := filepath.Join(append([]string{root}, n.path...)...)
	p := SysctlProblem{Key: sysctlKey(n.path), Want: n.want, Why: n.why}
	have, err := readSysctl(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false // no such device, or a kernel without the feature
	}
	if err != nil {
		p.Have, p.Err = "unreadable", errText(err)
		return p, !n.tune
	}
	p.Have = have
	if have == n.want || n.ok != nil && n.ok(have) {
		return p, false
	}
	if mode != SysctlSet {
		return p, !n.tune
	}
	if err := os.WriteFile(file, []byte(n.want), 0o644); err != nil {
		p.Err = errText(err)
		return p, !n.tune
	}
	p.Fixed = true
	return p, true
}

// sysctlKey writes a path the way sysctl(8) takes it: a dot inside a device
// name (eth0.5) is written as a slash.
func sysctlKey(path []string) string {
	parts := make([]string, len(path))
	for i, s := range path {
		parts[i] = strings.ReplaceAll(s, ".", "/")
	}
	return strings.Join(parts, ".")
}

func readSysctl(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if n, err := strconv.Atoi(s); err == nil {
		return strconv.Itoa(n), nil
	}
	return s, nil
}

// errText drops the path, which the key already says.
func errText(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
