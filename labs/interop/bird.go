package interop

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/daemons"
)

type bird struct{ *daemons.BIRD }

func startBIRD(r *rig) (partner, error) {
	b, err := daemons.StartBIRD(r.host, birdConfig(r))
	return bird{b}, err
}

func birdConfig(r *rig) string {
	var b strings.Builder
	fmt.Fprintf(&b, `router id 10.50.1.2;
protocol device { }
filter taken {
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}
filter given {
  if source != RTS_STATIC then reject;
  if net = %s then bgp_community.add((65535, 0));
  accept;
}
`, theirLeaving)
	b.WriteString("protocol static { ipv4;\n")
	for _, p := range theirs {
		fmt.Fprintf(&b, "  route %s blackhole;\n", p)
	}
	fmt.Fprintf(&b, "}\nprotocol static { ipv6; route %s blackhole; }\n", theirs6)
	if r.role == roleRouter {
		ms := bfdInterval.Milliseconds()
		fmt.Fprintf(&b, "protocol bfd { interface \"eth0\" { min rx interval %d ms; min tx interval %d ms; multiplier %d; }; }\n", ms, ms, bfdMultiplier)
	}
	for _, l := range r.links {
		fmt.Fprintf(&b, "protocol bgp %s {\n  local %s as %d;\n  neighbor %s as %d;\n  connect retry time 1;\n  connect delay time 1;\n  error wait time 1, 2;\n",
			birdName(l), l.theirs, l.theyAS, l.ours, l.ourAS)
		if l.password != "" {
			fmt.Fprintf(&b, "  password %q;\n", l.password)
		}
		if l.ttlSecurity {
			b.WriteString("  ttl security on;\n")
		}
		if l.bfd {
			b.WriteString("  bfd on;\n")
		}
		if r.role == roleTGW {
			b.WriteString("  multihop 2;\n  passive;\n")
		}
		if l.v4 {
			b.WriteString("  ipv4 { import filter taken; export filter given;")
			if l.theirLimit > 0 {
				fmt.Fprintf(&b, " import limit %d action disable;", l.theirLimit)
			}
			b.WriteString(" };\n")
		}
		if l.v6 {
			fmt.Fprintf(&b, "  ipv6 { import all; export where source = RTS_STATIC; next hop address %s; };\n", l.their6)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func birdName(l link) string { return strings.NewReplacer("-", "_", "/", "_").Replace("s_" + l.name) }

func (b bird) version() (string, error) {
	out, err := b.Birdc("show", "status")
	v := regexp.MustCompile(`BIRD ([0-9.]+)`).FindStringSubmatch(out)
	if err != nil || v == nil {
		return "", fmt.Errorf("version in %q: %w", out, err)
	}
	return strings.Trim(v[1], "."), nil
}

func (b bird) up(l link) (bool, error) {
	out, err := b.Birdc("show", "protocols", birdName(l))
	return strings.Contains(out, "Established"), err
}

func (b bird) bfdUp(l link) (bool, error) {
	out, err := b.Birdc("show", "bfd", "sessions")
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == l.ours.String() { // address, interface, state
			return f[2] == "Up", err
		}
	}
	return false, fmt.Errorf("BIRD has no BFD session with %s: %s, %w", l.ours, out, err)
}

func (b bird) heard(l link, p netip.Prefix) (heard, error) {
	out, err := b.Birdc("show", "route", "protocol", birdName(l), p.String(), "all")
	if err != nil {
		return heard{}, err
	}
	h := heard{localPref: -1, leaving: strings.Contains(out, "(65535,0)")}
	for line := range strings.Lines(out) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); key {
		case "BGP.next_hop":
			h.nextHop, _, _ = strings.Cut(value, " ")
		case "BGP.local_pref":
			if h.localPref, err = strconv.Atoi(value); err != nil {
				return h, err
			}
		}
	}
	if h.nextHop == "" {
		return h, fmt.Errorf("BIRD has no path to %s from %s: %s", p, l.name, out)
	}
	return h, nil
}

func (b bird) refresh(l link) error {
	_, err := b.Birdc("reload", "in", birdName(l))
	return err
}
