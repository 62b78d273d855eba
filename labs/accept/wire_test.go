package accept

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// capture records BGP on one device of a host until read.
type capture struct {
	t    *testing.T
	file string
	p    *netlab.Process
}

func startCapture(t *testing.T, h *netlab.Host, device string) *capture {
	t.Helper()
	c := &capture{t: t, file: filepath.Join(h.Dir(), "bgp-"+device+".pcap")}
	var err error
	// -U: packet by packet; -Z: root keeps the right to write into the lab.
	c.p, err = h.Start("tcpdump-"+device, "tcpdump", "-i", device, "-U", "-Z", "root", "-w", c.file, "tcp port 179")
	if err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 10*time.Second, func() error {
		b, err := os.ReadFile(c.file)
		if err == nil && len(b) < pcapHeader {
			err = os.ErrNotExist
		}
		return err
	})
	return c
}

// message is one BGP message seen on the wire.
type message struct {
	at       time.Time
	src, dst netip.Addr
	typ      byte // RFC 4271 section 4.1
	body     []byte
}

const (
	bgpOpen         = 1
	bgpUpdate       = 2
	bgpNotification = 3
	bgpKeepalive    = 4

	pcapHeader = 24
)

// messages parses what was captured so far.
func (c *capture) messages() []message {
	c.t.Helper()
	b, err := os.ReadFile(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	return parseCapture(c.t, b)
}

// stop ends the capture, so that nothing is missing at its end.
func (c *capture) stop() []message {
	c.t.Helper()
	_ = c.p.Signal(syscall.SIGINT)
	<-c.p.Done()
	return c.messages()
}

type flowKey struct{ src, dst netip.AddrPort }

// parseCapture puts TCP streams together and cuts them into BGP messages.
func parseCapture(t *testing.T, b []byte) []message {
	t.Helper()
	if len(b) < pcapHeader || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		t.Fatal("not a pcap file of this machine")
	}
	skip := map[uint32]int{1: 14, 101: 0, 12: 0}[binary.LittleEndian.Uint32(b[20:])&0xffff] // Ethernet, raw IP
	b = b[pcapHeader:]
	streams := map[flowKey]*stream{}
	var out []message
	for len(b) >= 16 {
		at := time.Unix(int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))*1000)
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if len(b) < 16+n {
			break // in the writing
		}
		p := b[16+skip : 16+n]
		b = b[16+n:]
		k, seq, syn, data, ok := parseTCP(p)
		if !ok {
			continue
		}
		s := streams[k]
		if s == nil || syn {
			s = &stream{next: seq}
			if syn {
				s.next++
			}
			streams[k] = s
		}
		for _, m := range s.add(seq, data) {
			out = append(out, message{at: at, src: k.src.Addr(), dst: k.dst.Addr(), typ: m[18], body: m[19:]})
		}
	}
	return out
}

func parseTCP(p []byte) (k flowKey, seq uint32, syn bool, data []byte, ok bool) {
	var src, dst netip.Addr
	var tcp []byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && p[9] == 6:
		src, dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		tcp = p[int(p[0]&15)*4 : min(int(binary.BigEndian.Uint16(p[2:])), len(p))]
	case len(p) >= 40 && p[0]>>4 == 6 && p[6] == 6:
		src, dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
		tcp = p[40:]
	}
	if len(tcp) < 20 {
		return k, 0, false, nil, false
	}
	k = flowKey{netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:]))}
	return k, binary.BigEndian.Uint32(tcp[4:]), tcp[13]&2 != 0, tcp[int(tcp[12]>>4)*4:], true
}

// stream is one direction of a connection; segments come in order here, apart
// from repetitions.
type stream struct {
	next uint32
	buf  []byte
}

func (s *stream) add(seq uint32, data []byte) (out [][]byte) {
	marker := bytes.Repeat([]byte{0xff}, 16)
	switch d := s.next - seq; {
	case d > 0 && d < 1<<31: // repeated
		data = data[min(int(d), len(data)):]
	case d != 0: // the capture missed something: go on at the next message
		s.buf, s.next = nil, seq
		i := bytes.Index(data, marker)
		if i < 0 {
			i = len(data)
		}
		s.next += uint32(i)
		data = data[i:]
	}
	s.next += uint32(len(data))
	s.buf = append(s.buf, data...)
	for len(s.buf) >= 19 && bytes.Equal(s.buf[:16], marker) {
		n := int(binary.BigEndian.Uint16(s.buf[16:]))
		if n < 19 || len(s.buf) < n {
			break
		}
		out = append(out, slices.Clone(s.buf[:n]))
		s.buf = s.buf[n:]
	}
	return out
}

// update is what an UPDATE says (RFC 4271 section 4.3, RFC 4760).
type update struct {
	reach, gone []netip.Prefix
	nextHop     netip.Addr // of reach
	linkLocal   netip.Addr // second next hop of IPv6 (RFC 2545)
}

func parseUpdate(b []byte) (u update) {
	n := int(binary.BigEndian.Uint16(b))
	u.gone = nlri(b[2:2+n], false)
	b = b[2+n:]
	n = int(binary.BigEndian.Uint16(b))
	attrs := b[2 : 2+n]
	u.reach = nlri(b[2+n:], false)
	for len(attrs) >= 3 {
		flags, typ := attrs[0], attrs[1]
		size, head := int(attrs[2]), 3
		if flags&0x10 != 0 {
			size, head = int(binary.BigEndian.Uint16(attrs[2:])), 4
		}
		v := attrs[head : head+size]
		attrs = attrs[head+size:]
		switch {
		case typ == 3:
			u.nextHop = netip.AddrFrom4([4]byte(v))
		case typ == 14 && v[1] == 2: // MP_REACH_NLRI of IPv6
			hop := v[4 : 4+int(v[3])]
			u.nextHop = netip.AddrFrom16([16]byte(hop))
			if len(hop) == 32 {
				u.linkLocal = netip.AddrFrom16([16]byte(hop[16:]))
			}
			u.reach = append(u.reach, nlri(v[5+len(hop):], true)...)
		case typ == 15 && v[1] == 2:
			u.gone = append(u.gone, nlri(v[3:], true)...)
		}
	}
	return u
}

func nlri(b []byte, v6 bool) (out []netip.Prefix) {
	for len(b) > 0 {
		bits := int(b[0])
		n := (bits + 7) / 8
		var a [16]byte
		copy(a[:], b[1:1+n])
		b = b[1+n:]
		addr := netip.AddrFrom4([4]byte(a[:4]))
		if v6 {
			addr = netip.AddrFrom16(a)
		}
		out = append(out, netip.PrefixFrom(addr, bits))
	}
	return out
}
