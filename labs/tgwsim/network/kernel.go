package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// syncAddresses gives this host the addresses that AWS has: outer ones of Connect
// peers and those of Route Server endpoints. They are on lo; addresses that are
// not wanted any more stay, because a lab's file may have set them.
func (n *Network) syncAddresses(spec *Spec) error {
	var want []netip.Addr
	for _, c := range spec.Connect {
		want = append(want, c.Local)
	}
	for _, s := range spec.RouteServers {
		for _, e := range s.Endpoints {
			want = append(want, e.Address)
		}
	}
	have, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range want {
		if slices.ContainsFunc(have, func(h net.Addr) bool { return strings.HasPrefix(h.String(), a.String()+"/") }) {
			continue
		}
		ip := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ip}); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("address %s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

// syncRules chooses tables by the device that a packet came in by.
func syncRules(numbers map[string]uint32) error {
	var errs []error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		have, err := netlink.RuleList(family)
		if err != nil {
			return err
		}
		found := map[string]bool{}
		for _, r := range have {
			if r.Priority != lookupPref || r.IifName == "" {
				continue
			}
			if numbers[r.IifName] == uint32(r.Table) {
				found[r.IifName] = true
			} else {
				errs = append(errs, netlink.RuleDel(&r))
			}
		}
		for device, table := range numbers {
			if found[device] {
				continue
			}
			r := netlink.NewRule()
			r.Family, r.Priority, r.IifName, r.Table, r.Protocol = family, lookupPref, device, int(table), protocol
			if err := netlink.RuleAdd(r); err != nil {
				errs = append(errs, fmt.Errorf("rule for %s: %w", device, err))
			}
		}
	}
	return errors.Join(errs...)
}

// syncCuts drops, without a word, what goes through tunnels that are cut.
func (n *Network) syncCuts(ctx context.Context, spec *Spec) error {
	var devices []string
	for _, c := range spec.Connect {
		if c.Cut {
			devices = append(devices, c.Device)
		}
	}
	slices.Sort(devices)
	text := "table inet tgwsim\ndelete table inet tgwsim\n"
	if len(devices) > 0 {
		set := `{ "` + strings.Join(devices, `", "`) + `" }`
		text += fmt.Sprintf(`table inet tgwsim {
	chain in { type filter hook prerouting priority raw; iifname %s drop; }
	chain out { type filter hook postrouting priority 0; oifname %s drop; }
}
`, set, set)
	}
	if text == n.cuts {
		return nil
	}
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = bytes.NewBufferString(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	n.cuts = text
	return nil
}
