package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/wgbgp/wgbgp/labs/daemons"
)

type openbgpd struct{ *daemons.OpenBGPD }

func startOpenBGPD(r *rig) (partner, error) {
	o, err := daemons.StartOpenBGPD(r.host, openbgpdConfig(r))
	return openbgpd{o}, err
}

func openbgpdConfig(r *rig) string {
	var b strings.Builder
	fmt.Fprintf(&b, "AS %d\nrouter-id 10.50.1.2\nfib-update no\nconnect-retry 1\n", r.ownASN())
	for _, p := range append(theirs[:len(theirs):len(theirs)], theirs6) {
		set := ""
		if p == theirLeaving {
			set = " set community GRACEFUL_SHUTDOWN"
		}
		fmt.Fprintf(&b, "network %s%s\n", p, set)
	}
	for _, l := range r.links {
		fmt.Fprintf(&b, "neighbor %s {\n  descr %q\n  remote-as %d\n  local-as %d\n  local-address %s\n", l.ours, l.name, l.ourAS, l.theyAS, l.theirs)
		for _, f := range []struct {
			on   bool
			name string
		}{{l.v4, "IPv4"}, {l.v6, "IPv6"}} {
			word := "none"
			if f.on {
				word = "unicast"
			}
			fmt.Fprintf(&b, "  announce %s %s\n", f.name, word)
		}
		if l.password != "" {
			fmt.Fprintf(&b, "  tcp md5sig password %q\n", l.password)
		}
		if l.ttlSecurity {
			b.WriteString("  ttl-security yes\n")
		}
		if l.theirLimit > 0 {
			fmt.Fprintf(&b, "  max-prefix %d\n", l.theirLimit)
		}
		b.WriteString("}\n")
	}
	b.WriteString("allow from any\nallow to any\nmatch from ebgp community GRACEFUL_SHUTDOWN set { localpref 0 }\n")
	return b.String()
}

func (o openbgpd) version() (string, error) {
	out, err := o.Bgpctl("-V")
	v := regexp.MustCompile(`[0-9]+\.[0-9]+`).FindString(out)
	if v == "" {
		err = fmt.Errorf("version in %q: %w", out, err)
	}
	return v, err
}

func (o openbgpd) up(l link) (bool, error) {
	out, err := o.Bgpctl("show", "neighbor", l.ours.String())
	return strings.Contains(out, "BGP state = Established"), err
}

func (o openbgpd) heard(l link, p netip.Prefix) (heard, error) {
	out, err := o.Bgpctl("-j", "show", "rib", "neighbor", l.ours.String(), "detail", p.String())
	if err != nil {
		return heard{}, err
	}
	var table struct {
		RIB []struct {
			Nexthop     string `json:"exit_nexthop"`
			LocalPref   int    `json:"localpref"`
			Communities []any
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return heard{}, fmt.Errorf("%w in %s", err, out)
	}
	for _, path := range table.RIB {
		return heard{path.Nexthop, path.LocalPref, strings.Contains(strings.ToUpper(fmt.Sprint(path.Communities)), "GRACEFUL_SHUTDOWN")}, nil
	}
	return heard{}, fmt.Errorf("OpenBGPD has no path to %s from %s: %s", p, l.ours, out)
}

func (o openbgpd) refresh(l link) error {
	_, err := o.Bgpctl("neighbor", l.ours.String(), "refresh")
	return err
}
