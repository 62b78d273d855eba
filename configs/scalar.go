package configs

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/wg"
)

func parseAddr(s string, dst *netip.Addr) error {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if p, perr := netip.ParsePrefix(s); perr == nil {
			return refusal{quote(s) + " is a prefix, not an address", fmt.Sprintf("write %q", p.Addr())}
		}
		return refusal{quote(s) + " is no IP address", `write it as "192.0.2.1" or "2001:db8::1"`}
	}
	if a.Is4In6() {
		return refusal{quote(s) + " is an IPv4 address in IPv6 clothes", fmt.Sprintf("write %q", a.Unmap())}
	}
	*dst = a
	return nil
}

func parsePrefix(s string, dst *netip.Prefix, host bool) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, aerr := netip.ParseAddr(s); aerr == nil && a.Zone() == "" {
			return refusal{quote(s) + " has no prefix length", fmt.Sprintf("write \"%s/%d\"", a, a.BitLen())}
		}
		return refusal{quote(s) + " is no prefix", `write it as "10.1.0.0/16" or "2001:db8::/32"`}
	}
	if p.Addr().Is4In6() {
		return refusal{quote(s) + " is an IPv4 prefix in IPv6 clothes", "write the IPv4 prefix"}
	}
	if !host && p != p.Masked() {
		return refusal{quote(s) + " has host bits set", fmt.Sprintf("write %q", p.Masked())}
	}
	*dst = p
	return nil
}

// prefixRule is "PREFIX [ge N] [le N]", as in FRR's prefix lists.
type prefixRule struct{ bgp.PrefixRule }

func (r *prefixRule) parse(s string) error {
	w := strings.Fields(s)
	if len(w) == 0 {
		return refusal{"an empty rule", `write it as "10.1.0.0/16 le 24"`}
	}
	var out bgp.PrefixRule
	if err := parsePrefix(w[0], &out.Prefix, false); err != nil {
		return err
	}
	bits, most := out.Prefix.Bits(), out.Prefix.Addr().BitLen()
	for w = w[1:]; len(w) > 0; w = w[2:] {
		if len(w) < 2 || w[0] != "ge" && w[0] != "le" {
			return refusal{quote(s) + " is no prefix rule", `write it as "10.1.0.0/16", "10.1.0.0/16 le 24" or "10.0.0.0/8 ge 16 le 24"`}
		}
		n, err := strconv.Atoi(w[1])
		if err != nil || n < bits || n > most {
			return refusal{fmt.Sprintf("%s %s does not fit %s", w[0], quote(w[1]), out.Prefix), fmt.Sprintf("use %d to %d", bits, most)}
		}
		field := &out.GE
		if w[0] == "le" {
			field = &out.LE
		}
		if *field != 0 {
			return refusal{w[0] + " is given twice", "keep one of them"}
		}
		*field = uint8(n)
	}
	if out.GE != 0 && out.LE != 0 && out.GE > out.LE {
		return refusal{fmt.Sprintf("ge %d is greater than le %d, so nothing matches", out.GE, out.LE), "swap them"}
	}
	if out.Prefix.Bits() == 0 && strings.Contains(s, "ge 0") && out.LE == 0 {
		out.LE = uint8(most) // "ge 0" alone: GE 0 means "not given" to bgp.PrefixRule
	}
	r.PrefixRule = out
	return nil
}

func (r *prefixRule) text() string {
	s := r.Prefix.String()
	if r.GE != 0 {
		s += fmt.Sprintf(" ge %d", r.GE)
	}
	if r.LE != 0 {
		s += fmt.Sprintf(" le %d", r.LE)
	}
	return s
}

// endpoint is "ADDRESS:PORT", "[ADDRESS]:PORT" or "NAME:PORT".
type endpoint struct{ wg.Endpoint }

func (e *endpoint) parse(s string) error {
	const how = `write it as "192.0.2.1:51820", "[2001:db8::1]:51820" or "vpn.example.net:51820"`
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if a, aerr := netip.ParseAddr(strings.Trim(s, "[]")); aerr == nil {
			return refusal{quote(s) + " has no port", fmt.Sprintf("write %q", net.JoinHostPort(a.String(), "51820"))}
		}
		return refusal{quote(s) + " is no endpoint", how}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return refusal{quote(port) + " is no port", "use 1 to 65535"}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	} else if !isHostname(host) {
		return refusal{quote(host) + " is neither an address nor a host name", how}
	}
	e.Endpoint = wg.Endpoint{Host: host, Port: uint16(n)}
	return nil
}

func (e *endpoint) text() string {
	if e.Host == "" {
		return ""
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// isHostname follows RFC 1123 section 2.1. A name of digits and dots only is a
// misspelt address.
func isHostname(s string) bool {
	letter := false
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range l {
			if !isBare(c) {
				return false
			}
			letter = letter || c < '0' || c > '9'
		}
	}
	return letter && len(s) <= 253
}

// publicKey is a WireGuard public key in base64.
type publicKey struct{ wg.Key }

func (k *publicKey) parse(s string) error {
	v, err := wg.ParseKey(s)
	if err != nil {
		return refusal{err.Error(), "paste the output of wg pubkey"}
	}
	if v.IsZero() {
		return refusal{"the all-zero key is no public key", "paste the output of wg pubkey"}
	}
	k.Key = v
	return nil
}

func (k *publicKey) text() string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

// secretRef is a reference to a secret, and the secret once it is opened.
type secretRef struct {
	ref   secret.Ref
	value secret.Value
}

func (r *secretRef) parse(s string) error {
	ref, err := secret.ParseRef(s)
	if err != nil {
		return refusal{
			"a secret must not stand in the configuration itself",
			`put it into a file of mode 0600 and write "file:/PATH" (also: "credential:ID", "env:NAME"), and replace the secret, since it was in a readable file`,
		}
	}
	r.ref = ref
	return nil
}

func (r *secretRef) text() string { return r.ref.String() }

// fileMode is an octal mode in quotes, as chmod takes it.
type fileMode struct{ fs.FileMode }

func (m *fileMode) parse(s string) error {
	v, err := strconv.ParseUint(s, 8, 32)
	if err != nil || v > 0o777 {
		return refusal{quote(s) + " is no file mode", `write it as "0660"`}
	}
	m.FileMode = fs.FileMode(v)
	return nil
}

func (m *fileMode) text() string { return fmt.Sprintf("%04o", m.FileMode) }

// logLevel is a level of log/slog in lower case.
type logLevel struct{ slog.Level }

func (l *logLevel) parse(s string) error {
	for _, v := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(v.String(), s) {
			l.Level = v
			return nil
		}
	}
	return refusal{quote(s) + " is no log level", "use debug, info, warn or error"}
}

func (l *logLevel) text() string { return strings.ToLower(l.String()) }

// community is "ASN:VALUE" or one of the well-known names.
type community struct{ bgp.Community }

// wellKnown are the communities that have a name.
var wellKnown = []bgp.Community{bgp.GracefulShutdown, bgp.Blackhole, bgp.NoExport, bgp.NoAdvertise}

func (c *community) parse(s string) error {
	for _, n := range wellKnown {
		if n.String() == s {
			c.Community = n
			return nil
		}
	}
	hi, lo, ok := strings.Cut(s, ":")
	a, aerr := strconv.ParseUint(hi, 10, 16)
	v, verr := strconv.ParseUint(lo, 10, 16)
	if !ok || aerr != nil || verr != nil {
		return refusal{quote(s) + " is no community", `write it as "65010:100", or graceful-shutdown, blackhole, no-export, no-advertise`}
	}
	c.Community = bgp.Community(a<<16 | v)
	return nil
}

func (c *community) text() string {
	return c.String()
}

// validName is the form of every name that an operator gives: it appears in
// file names, log keys and metric labels, and has no slash, because the two
// sessions of a Connect peer are NAME/1 and NAME/2.
func validName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i, c := range s {
		if !isBare(c) && (c != '.' || i == 0) || i == 0 && c == '-' {
			return false
		}
	}
	return true
}

// validDevice is the kernel's dev_valid_name (net/core/dev.c) without the
// characters that shells and sysctl paths trip over.
func validDevice(s string) bool { return len(s) <= 15 && validName(s) && s != "all" && s != "default" }

// family is "ipv4" or "ipv6", the unicast families that a session carries.
type family string

func (f *family) parse(s string) error {
	if s != "ipv4" && s != "ipv6" {
		return refusal{quote(s) + " is no address family", "use ipv4, ipv6"}
	}
	*f = family(s)
	return nil
}

func (f *family) text() string { return string(*f) }
