package device

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/wg"
)

// saved is what a userspace device would lose with its process and what can
// be kept without a secret: the listen port that the system chose, where the
// peers were last heard of, and what somebody else had put on the device. A
// foreign peer with a preshared key can not come back; its key is not stored.
type saved struct {
	Port      uint16
	Endpoints map[wg.Key]netip.AddrPort
	Foreign   []foreignPeer
}

type foreignPeer struct {
	Key       wg.Key
	Whole     bool // the peer itself is foreign, not only some allowed IPs
	Endpoint  netip.AddrPort
	Keepalive int // seconds
	IPs       []netip.Prefix
}

func savedPath(dir, dev string) string { return filepath.Join(dir, dev+".saved") }

// collectSaved picks out of a full dump what is worth keeping.
func collectSaved(d dump, own *ownership) saved {
	s := saved{Port: d.ListenPort, Endpoints: map[wg.Key]netip.AddrPort{}}
	for i := range d.Peers {
		p := &d.Peers[i]
		by, _ := own.peer(p.Key)
		f := foreignPeer{Key: p.Key, Whole: by == wg.Foreigner, Keepalive: int(p.Keepalive.Seconds())}
		if f.Whole {
			f.Endpoint = p.Endpoint
		} else if p.Endpoint.IsValid() {
			s.Endpoints[p.Key] = p.Endpoint
		}
		for _, ip := range p.AllowedIPs {
			if own.allowedIP(p.Key, ip) == wg.Foreigner {
				f.IPs = append(f.IPs, ip)
			}
		}
		if f.Whole && !p.PresharedKey.IsZero() {
			continue
		}
		if f.Whole || len(f.IPs) > 0 {
			s.Foreign = append(s.Foreign, f)
		}
	}
	return s
}

// encode is deterministic, so that an unchanged state is not written again.
func (s saved) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "port %d\n", s.Port)
	keys := make([]wg.Key, 0, len(s.Endpoints))
	for k := range s.Endpoints {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, wg.Key.Compare)
	for _, k := range keys {
		fmt.Fprintf(&b, "endpoint %s %s\n", k, s.Endpoints[k])
	}
	for _, f := range s.Foreign {
		kind, ep := "part", "-"
		if f.Whole {
			kind = "whole"
		}
		if f.Endpoint.IsValid() {
			ep = f.Endpoint.String()
		}
		fmt.Fprintf(&b, "foreign %s %s %s %d", kind, f.Key, ep, f.Keepalive)
		for _, ip := range f.IPs {
			b.WriteString(" " + ip.String())
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// loadSaved reads what an earlier process kept; anything unreadable is left out.
func loadSaved(dir, dev string) saved {
	s := saved{Endpoints: map[wg.Key]netip.AddrPort{}}
	if dir == "" {
		return s
	}
	b, err := os.ReadFile(savedPath(dir, dev))
	if err != nil {
		return s
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		s.line(strings.Fields(sc.Text()))
	}
	return s
}

func (s *saved) line(f []string) {
	switch {
	case len(f) == 2 && f[0] == "port":
		n, _ := strconv.ParseUint(f[1], 10, 16)
		s.Port = uint16(n)
	case len(f) == 3 && f[0] == "endpoint":
		k, err := wg.ParseKey(f[1])
		a, err2 := netip.ParseAddrPort(f[2])
		if err == nil && err2 == nil {
			s.Endpoints[k] = a
		}
	case len(f) >= 5 && f[0] == "foreign":
		k, err := wg.ParseKey(f[2])
		if err != nil {
			return
		}
		p := foreignPeer{Key: k, Whole: f[1] == "whole"}
		p.Endpoint, _ = netip.ParseAddrPort(f[3])
		p.Keepalive, _ = strconv.Atoi(f[4])
		for _, t := range f[5:] {
			if ip, err := netip.ParsePrefix(t); err == nil {
				p.IPs = append(p.IPs, ip)
			}
		}
		s.Foreign = append(s.Foreign, p)
	}
}
