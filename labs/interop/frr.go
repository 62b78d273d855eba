package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/wgbgp/wgbgp/labs/daemons"
)

type frr struct{ *daemons.FRR }

func startFRR(r *rig) (partner, error) {
	f, err := daemons.StartFRR(r.host, frrConfig(r))
	if err == nil && r.role == roleRouter {
		ms := bfdInterval.Milliseconds()
		err = f.StartBFDD(fmt.Sprintf("bfd\n profile lab\n  transmit-interval %d\n  receive-interval %d\n  detect-multiplier %d\n !\n!\n", ms, ms, bfdMultiplier))
	}
	return frr{f}, err
}

func frrConfig(r *rig) string {
	var b, four, six, maps strings.Builder
	own := r.ownASN()
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id 10.50.1.2\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n no bgp network import-check\n", own)
	for _, l := range r.links {
		n := "neighbor " + l.ours.String()
		fmt.Fprintf(&b, " %s remote-as %d\n %s timers connect 1\n %s update-source %s\n", n, l.ourAS, n, n, l.theirs)
		if l.theyAS != own {
			fmt.Fprintf(&b, " %s local-as %d no-prepend replace-as\n", n, l.theyAS)
		}
		if l.password != "" {
			fmt.Fprintf(&b, " %s password %s\n", n, l.password)
		}
		if l.ttlSecurity {
			fmt.Fprintf(&b, " %s ttl-security hops 1\n", n)
		}
		if r.role == roleTGW {
			fmt.Fprintf(&b, " %s ebgp-multihop 2\n %s passive\n", n, n)
		}
		if l.bfd {
			fmt.Fprintf(&b, " %s bfd profile lab\n", n)
		}
		if l.v4 {
			fmt.Fprintf(&four, "  %s activate\n  %s route-map leave out\n", n, n)
			if l.theirLimit > 0 {
				fmt.Fprintf(&four, "  %s maximum-prefix %d\n", n, l.theirLimit)
			}
		}
		if l.v6 {
			name := "nh-" + strings.ReplaceAll(l.name, "/", "-")
			fmt.Fprintf(&six, "  %s activate\n  %s route-map %s out\n", n, n, name)
			fmt.Fprintf(&maps, "route-map %s permit 10\n set ipv6 next-hop global %s\n", name, l.their6)
		}
	}
	for _, p := range theirs {
		fmt.Fprintf(&four, "  network %s\n", p)
	}
	fmt.Fprintf(&six, "  network %s\n", theirs6)
	fmt.Fprintf(&b, " address-family ipv4 unicast\n%s exit-address-family\n address-family ipv6 unicast\n%s exit-address-family\n%s", &four, &six, &maps)
	fmt.Fprintf(&b, "ip prefix-list leaving permit %s\nroute-map leave permit 10\n match ip address prefix-list leaving\n set community graceful-shutdown\nroute-map leave permit 20\n", theirLeaving)
	return b.String()
}

func (f frr) version() (string, error) {
	out, err := f.Vtysh("show version")
	_, v, _ := strings.Cut(out, "FRRouting ")
	v, _, _ = strings.Cut(v, " ")
	return v, err
}

func (f frr) up(l link) (bool, error) {
	out, err := f.Vtysh("show bgp neighbors " + l.ours.String() + " json")
	return strings.Contains(out, `"bgpState":"Established"`), err
}

func (f frr) bfdUp(l link) (bool, error) {
	out, err := f.VtyshBFD("show bfd peers json")
	if err != nil {
		return false, err
	}
	var peers []struct{ Peer, Status string }
	if err := json.Unmarshal([]byte(out), &peers); err != nil {
		return false, fmt.Errorf("%w in %s", err, out)
	}
	for _, p := range peers {
		if p.Peer == l.ours.String() {
			return p.Status == "up", nil
		}
	}
	return false, fmt.Errorf("bfdd has no session with %s: %s", l.ours, out)
}

func (f frr) heard(l link, p netip.Prefix) (heard, error) {
	out, err := f.Vtysh(fmt.Sprintf("show bgp %s unicast %s json", family(p), p))
	if err != nil {
		return heard{}, err
	}
	var table struct {
		Paths []struct {
			Peer      struct{ PeerID string }
			LocPrf    *int
			Community struct{ String string }
			Nexthops  []struct{ IP, Scope string }
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return heard{}, err
	}
	for _, path := range table.Paths {
		if path.Peer.PeerID != l.ours.String() {
			continue
		}
		h := heard{localPref: -1, leaving: strings.Contains(path.Community.String, "graceful-shutdown")}
		if path.LocPrf != nil {
			h.localPref = *path.LocPrf
		}
		for _, hop := range path.Nexthops {
			if hop.Scope != "link-local" {
				h.nextHop = hop.IP
			}
		}
		return h, nil
	}
	return heard{}, fmt.Errorf("FRR has no path to %s from %s: %s", p, l.ours, out)
}

func (f frr) refresh(l link) error {
	_, err := f.Vtysh("clear bgp ipv4 unicast " + l.ours.String() + " soft in")
	return err
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// ownASN is what the partner calls itself where nothing else is agreed on.
func (r *rig) ownASN() uint32 { return r.links[0].theyAS }
