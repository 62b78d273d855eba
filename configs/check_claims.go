package configs

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// claim is one prefix of one site.
type claim struct {
	prefix netip.Prefix
	site   *siteDoc
	key    string // "prefixes" or "address"
	index  int
}

// checkClaims compares sites with each other: cryptokey routing gives a prefix
// to the last peer that claims it, silently, so two claims without a common
// redundancy group are refused here (AC-1).
func (l *loader) checkClaims() {
	var claims []claim
	keys := map[string]map[wg.Key]*siteDoc{}
	for _, s := range l.doc.Site {
		if s.ok("public-key", "interface") {
			if keys[s.Interface] == nil {
				keys[s.Interface] = map[wg.Key]*siteDoc{}
			}
			if first := keys[s.Interface][s.PublicKey.Key]; first != nil {
				l.wrong(&s.meta, "public-key", fmt.Sprintf("site %s has this key on interface %s already (%s)", first.Name, s.Interface, where(first.at("public-key"))),
					"every peer of an interface needs a key of its own")
			} else {
				keys[s.Interface][s.PublicKey.Key] = s
			}
		}
		if s.ok("prefixes") {
			for i, p := range s.Prefixes {
				claims = append(claims, claim{p, s, "prefixes", i})
			}
		}
		if s.ok("address") {
			for i, a := range s.Address {
				// A link-local address belongs to its interface only.
				if a = a.WithZone(""); !a.IsLinkLocalUnicast() {
					claims = append(claims, claim{netip.PrefixFrom(a, a.BitLen()), s, "address", i})
				}
			}
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return bgp.ComparePrefix(a.prefix, b.prefix) })
	l.checkExact(claims)
	l.checkCovers(claims)
	l.checkEndpoints(claims)
}

func sameGroup(a, b *siteDoc) bool { return a == b || a.Group != "" && a.Group == b.Group }

// checkExact reports every claim that an earlier site made already.
func (l *loader) checkExact(claims []claim) {
	for i, c := range claims {
		j := i - 1
		for j >= 0 && claims[j].prefix == c.prefix {
			j--
		}
		for _, first := range claims[j+1 : i] {
			if sameGroup(first.site, c.site) {
				continue
			}
			l.wrong(&c.site.meta, c.key, fmt.Sprintf("%s of site %s is claimed by site %s too (%s)",
				c.prefix, c.site.Name, first.site.Name, where(first.site.at(first.key, first.index))),
				"remove it from one of them, or give both sites the same group", c.index)
			break
		}
	}
}

// checkCovers warns of a prefix inside another site's: it is legal, longest
// match decides, but it surprises.
func (l *loader) checkCovers(claims []claim) {
	var stack []claim
	for _, c := range claims {
		for len(stack) > 0 && !stack[len(stack)-1].prefix.Overlaps(c.prefix) {
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 {
			top := stack[len(stack)-1]
			if top.prefix != c.prefix && top.site != c.site && !sameGroup(top.site, c.site) && c.key == "prefixes" {
				l.warn("W-COVERS", c.site.problem(c.key, fmt.Sprintf("%s of site %s lies inside %s of site %s (%s): the longer prefix wins",
					c.prefix, c.site.Name, top.prefix, top.site.Name, where(top.site.at(top.key, top.index))), "give both sites the same group if they are one place", c.index))
			}
		}
		stack = append(stack, c)
	}
}

// checkEndpoints refuses a prefix that would route a tunnel into itself. Names
// are left to the running daemon, which sees the resolved address.
func (l *loader) checkEndpoints(claims []claim) {
	byPrefix := make(map[netip.Prefix]claim, len(claims))
	var lengths [2][129]bool
	for _, c := range claims {
		if slices.Contains(l.doc.FIB.Permit, c.prefix) || c.key != "prefixes" {
			continue
		}
		if _, ok := byPrefix[c.prefix]; !ok {
			byPrefix[c.prefix] = c
		}
		lengths[familyIndex(c.prefix.Addr())][c.prefix.Bits()] = true
	}
	for _, s := range l.doc.Site {
		a, err := netip.ParseAddr(s.Endpoint.Host)
		if err != nil || !s.ok("endpoint") {
			continue
		}
		for bits := range a.BitLen() + 1 {
			if !lengths[familyIndex(a)][bits] {
				continue
			}
			p, err := a.Prefix(bits)
			if err != nil {
				continue
			}
			if c, ok := byPrefix[p]; ok {
				l.wrong(&c.site.meta, c.key, fmt.Sprintf("%s holds %s, the endpoint of site %s (%s), so that the tunnel would run into itself", p, a, s.Name, where(s.at("endpoint"))),
					"split the prefix around the endpoint, or name it in permit of [fib] if it is meant", c.index)
			}
		}
	}
}

func familyIndex(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// keys judges opened secrets: they must be keys, and a site can not have the
// key of the interface it is on.
func (l *loader) keys() {
	if l.opt.CheckOnly {
		return
	}
	public := map[string]wg.Key{}
	for _, w := range l.doc.devices() {
		if w.PrivateKey.value.IsZero() || !w.ok("private-key") {
			continue
		}
		k, err := wg.ParsePrivateKey(w.PrivateKey.value.Reveal())
		if err != nil || k.IsZero() {
			l.wrong(&w.meta, "private-key", w.PrivateKey.text()+" does not hold a WireGuard private key", "make one: wg genkey")
			continue
		}
		public[w.name] = k.Public()
	}
	for _, s := range l.doc.Site {
		if k, ok := public[s.Interface]; ok && k == s.PublicKey.Key {
			l.wrong(&s.meta, "public-key", fmt.Sprintf("this is the key of our own interface %s", s.Interface), "use the output of wg pubkey at the site")
		}
		if s.PresharedKey.value.IsZero() || !s.ok("preshared-key") {
			continue
		}
		if _, err := wg.ParsePresharedKey(s.PresharedKey.value.Reveal()); err != nil {
			l.wrong(&s.meta, "preshared-key", s.PresharedKey.text()+" does not hold a preshared key", "make one: wg genpsk")
		}
	}
}
