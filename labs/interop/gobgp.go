package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/wgbgp/wgbgp/labs/daemons"
)

type gobgp struct{ *daemons.GoBGP }

// gobgp4 is what version 4 has besides.
type gobgp4 struct{ gobgp }

func startGoBGP4(daemon, cli string) func(r *rig) (partner, error) {
	return func(r *rig) (partner, error) {
		p, err := startGoBGP(daemon, cli)(r)
		if err != nil {
			return nil, err
		}
		return gobgp4{p.(gobgp)}, nil
	}
}

func (g gobgp4) bfdUp(l link) (bool, error) {
	out, err := g.CLI("-j", "neighbor", l.ours.String())
	if err != nil {
		return false, err
	}
	var n struct {
		State struct {
			BFD struct {
				State int `json:"session_state"` // of its API's BfdSessionState
			} `json:"bfd_state"`
		}
	}
	if err := json.Unmarshal([]byte(out), &n); err != nil {
		return false, fmt.Errorf("%w in %s", err, out)
	}
	const up = 1
	return n.State.BFD.State == up, nil
}

func startGoBGP(daemon, cli string) func(r *rig) (partner, error) {
	return func(r *rig) (partner, error) {
		g, err := daemons.StartGoBGP(r.host, daemon, cli, gobgpConfig(r))
		if err != nil {
			return nil, err
		}
		for _, p := range theirs {
			args := []string{"global", "rib", "add", p.String()}
			if p == theirLeaving {
				args = append(args, "community", "65535:0")
			}
			if _, err := g.CLI(args...); err != nil {
				return nil, err
			}
		}
		_, err = g.CLI("global", "rib", "add", "-a", "ipv6", theirs6.String(), "nexthop", r.links[0].their6.String())
		return gobgp{g}, err
	}
}

func gobgpConfig(r *rig) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
[global.config]
as = %d
router-id = "10.50.1.2"
[global.apply-policy.config]
import-policy-list = ["taken"]
default-import-policy = "accept-route"
default-export-policy = "accept-route"
[[defined-sets.bgp-defined-sets.community-sets]]
community-set-name = "leaving"
community-list = ["65535:0"]
[[policy-definitions]]
name = "taken"
[[policy-definitions.statements]]
name = "leaving"
[policy-definitions.statements.conditions.bgp-conditions.match-community-set]
community-set = "leaving"
[policy-definitions.statements.conditions.bgp-conditions]
route-type = "external"
[policy-definitions.statements.actions.bgp-actions]
set-local-pref = 1
`, r.ownASN())
	for _, l := range r.links {
		fmt.Fprintf(&b, "[[neighbors]]\n[neighbors.config]\nneighbor-address = %q\npeer-as = %d\nlocal-as = %d\nauth-password = %q\n", l.ours, l.ourAS, l.theyAS, l.password)
		fmt.Fprintf(&b, "[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n[neighbors.transport.config]\nlocal-address = %q\n", l.theirs)
		if l.ttlSecurity {
			b.WriteString("[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n")
		}
		if l.bfd {
			us := bfdInterval.Microseconds()
			fmt.Fprintf(&b, "[neighbors.bfd.config]\nenabled = true\ndesired-minimum-tx-interval = %d\nrequired-minimum-receive = %d\ndetection-multiplier = %d\n", us, us, bfdMultiplier)
		}
		for _, f := range []struct {
			on   bool
			name string
		}{{l.v4, "ipv4-unicast"}, {l.v6, "ipv6-unicast"}} {
			if !f.on {
				continue
			}
			fmt.Fprintf(&b, "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = %q\n", f.name)
			if l.theirLimit > 0 {
				fmt.Fprintf(&b, "[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = %d\n", l.theirLimit)
			}
		}
	}
	return b.String()
}

func (g gobgp) version() (string, error) {
	out, err := g.CLI("--version")
	v := regexp.MustCompile(`[0-9]+\.[0-9.]+`).FindString(out)
	return v, err
}

func (g gobgp) up(l link) (bool, error) {
	out, err := g.CLI("neighbor", l.ours.String())
	return strings.Contains(out, "ESTABLISHED"), err
}

func (g gobgp) heard(l link, p netip.Prefix) (heard, error) {
	out, err := g.CLI("global", "rib", "-j", "-a", family(p), p.String())
	if err != nil {
		return heard{}, err
	}
	var table map[string][]struct {
		Neighbor string `json:"neighbor-ip"`  // version 3
		Peer     string `json:"peer-address"` // version 4
		Attrs    []struct {
			Type        int
			Nexthop     string
			Value       json.RawMessage
			Communities []uint32
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return heard{}, fmt.Errorf("%w in %s", err, out)
	}
	for _, paths := range table {
		for _, path := range paths {
			if path.Neighbor != l.ours.String() && path.Peer != l.ours.String() {
				continue
			}
			h := heard{localPref: -1}
			for _, a := range path.Attrs {
				switch a.Type {
				case 3, 14:
					h.nextHop = a.Nexthop
				case 5:
					if err := json.Unmarshal(a.Value, &h.localPref); err != nil {
						return h, err
					}
				case 8:
					h.leaving = strings.Contains(fmt.Sprint(a.Communities), "4294901760")
				}
			}
			return h, nil
		}
	}
	return heard{}, fmt.Errorf("GoBGP has no path to %s from %s: %s", p, l.ours, out)
}

func (g gobgp) refresh(l link) error {
	_, err := g.CLI("neighbor", l.ours.String(), "softresetin")
	return err
}
