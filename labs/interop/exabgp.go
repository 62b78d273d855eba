package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/wgbgp/wgbgp/labs/daemons"
)

type exabgp struct {
	*daemons.ExaBGP
	r *rig
}

func startExaBGP(r *rig) (partner, error) {
	e, err := daemons.StartExaBGP(r.host, exabgpConfig(r))
	return exabgp{e, r}, err
}

func exabgpConfig(r *rig) string {
	var b strings.Builder
	for _, l := range r.links {
		fmt.Fprintf(&b, "neighbor %s {\n  router-id 10.50.1.2;\n  local-address %s;\n  local-as %d;\n  peer-as %d;\n  hold-time 90;\n", l.ours, l.theirs, l.theyAS, l.ourAS)
		if l.password != "" {
			fmt.Fprintf(&b, "  md5-password %q;\n", l.password)
		}
		if l.ttlSecurity {
			b.WriteString("  outgoing-ttl 255;\n  incoming-ttl 255;\n")
		}
		b.WriteString("  capability { asn4 enable; route-refresh enable; }\n  family {\n")
		if l.v4 {
			b.WriteString("    ipv4 unicast;\n")
		}
		if l.v6 {
			b.WriteString("    ipv6 unicast;\n")
		}
		fmt.Fprintf(&b, "  }\n  api { processes [ %s ]; neighbor-changes; receive { parsed; update; } }\n  announce {\n", daemons.ExaBGPProcess)
		if l.v4 {
			b.WriteString("    ipv4 {\n")
			for _, p := range theirs {
				more := ""
				if p == theirLeaving {
					more = " community [ 65535:0 ]"
				}
				fmt.Fprintf(&b, "      unicast %s next-hop self%s;\n", p, more)
			}
			b.WriteString("    }\n")
		}
		if l.v6 {
			fmt.Fprintf(&b, "    ipv6 { unicast %s next-hop %s; }\n", theirs6, l.their6)
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

func (e exabgp) version() (string, error) {
	out, err := e.r.host.Run("exabgp", "--version")
	for line := range strings.Lines(out) {
		if _, v, ok := strings.Cut(line, "ExaBGP : "); ok {
			v, _, _ = strings.Cut(strings.TrimSpace(v), "-")
			return v, nil
		}
	}
	return "", fmt.Errorf("version in %q: %w", out, err)
}

// exaMessage is one line of what ExaBGP tells its process.
type exaMessage struct {
	Type     string
	Neighbor struct {
		Address struct{ Peer string }
		State   string
		Message struct {
			Update struct {
				Attribute struct{ Community [][]int }
				Announce  map[string]map[string]json.RawMessage
			}
		}
	}
}

func (e exabgp) messages(l link) (out []exaMessage, err error) {
	text, err := e.Received()
	for line := range strings.Lines(text) {
		var m exaMessage
		if json.Unmarshal([]byte(line), &m) == nil && m.Neighbor.Address.Peer == l.ours.String() { // the last line may be half
			out = append(out, m)
		}
	}
	return out, err
}

func (e exabgp) up(l link) (up bool, err error) {
	ms, err := e.messages(l)
	for _, m := range ms {
		if m.Type == "state" {
			up = m.Neighbor.State == "up"
		}
	}
	return up, err
}

func (e exabgp) heard(l link, p netip.Prefix) (h heard, err error) {
	ms, err := e.messages(l)
	if err != nil {
		return h, err
	}
	found := false
	for _, m := range ms {
		u := m.Neighbor.Message.Update
		for hop, nlri := range u.Announce[family(p)+" unicast"] {
			if strings.Contains(string(nlri), `"`+p.String()+`"`) {
				found = true
				h = heard{nextHop: hop, localPref: -1, leaving: strings.Contains(fmt.Sprint(u.Attribute.Community), "[65535 0]")}
			}
		}
	}
	if !found {
		err = fmt.Errorf("ExaBGP received nothing about %s from %s", p, l.ours)
	}
	return h, err
}

func (e exabgp) refresh(l link) error {
	return e.Command(fmt.Sprintf("neighbor %s announce route-refresh ipv4 unicast", l.ours))
}
