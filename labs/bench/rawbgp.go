package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// rawPeer is a BGP neighbor that is a TCP connection and a stopwatch: it notes
// when each IPv4 prefix was last announced or withdrawn. It knows just enough
// of RFC 4271 for that.
type rawPeer struct {
	conn net.Conn

	mu   sync.Mutex
	news map[netip.Prefix]news
	err  error
	kick chan struct{} // capacity 1: something came
}

type news struct {
	there bool
	at    time.Time // when the UPDATE was read
}

const (
	msgOpen      = 1
	msgUpdate    = 2
	msgNotice    = 3
	msgKeepalive = 4
)

// dialRaw opens a session from one address to another. The family of the
// addresses is that of the session.
func dialRaw(local, remote string, asn uint16) (*rawPeer, error) {
	from := net.ParseIP(local)
	d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: from}}
	c, err := d.Dial("tcp", net.JoinHostPort(remote, "179"))
	if err != nil {
		return nil, err
	}
	p := &rawPeer{conn: c, news: map[netip.Prefix]news{}, kick: make(chan struct{}, 1)}
	id, afi := from.To4(), byte(1)
	if id == nil {
		id, afi = from[12:], 2
	}
	// OPEN (RFC 4271 section 4.2): version 4, ASN, hold time 90 s, identifier,
	// optional parameters (RFC 5492): multiprotocol unicast (RFC 4760) and
	// four-octet ASNs (RFC 6793).
	open := []byte{4, 0, 0, 0, 90, 0, 0, 0, 0, 16, 2, 6, 1, 4, 0, afi, 0, 1, 2, 6, 65, 4, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(open[1:], asn)
	copy(open[5:], id)
	binary.BigEndian.PutUint16(open[24:], asn)
	if err := errors.Join(p.send(msgOpen, open), p.send(msgKeepalive, nil)); err != nil {
		_ = c.Close()
		return nil, err
	}
	for _, want := range []byte{msgOpen, msgKeepalive} {
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		if typ, body, err := p.receive(); err != nil || typ != want {
			_ = c.Close()
			return nil, fmt.Errorf("no session: message %d % x, %w", typ, body, err)
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	go p.read()
	return p, nil
}

// reset ends the session without a word of BGP: the neighbor's TCP gets an RST.
func (p *rawPeer) reset() error {
	if err := p.conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return p.conn.Close()
}

// run sends keepalives until ctx ends, then closes.
func (p *rawPeer) run(ctx context.Context) {
	t := time.NewTicker(20 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = p.conn.Close()
			return
		case <-t.C:
			_ = p.send(msgKeepalive, nil)
		}
	}
}

func (p *rawPeer) send(typ byte, body []byte) error {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = typ
	_, err := p.conn.Write(append(m, body...))
	return err
}

func (p *rawPeer) receive() (typ byte, body []byte, err error) {
	var head [19]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(head[16:])) - 19
	if n < 0 {
		return 0, nil, fmt.Errorf("bad length %d", n+19)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.conn, body)
	return head[18], body, err
}

func (p *rawPeer) read() {
	for {
		typ, body, err := p.receive()
		at := time.Now()
		p.mu.Lock()
		switch {
		case err != nil:
		case typ == msgNotice:
			err = fmt.Errorf("notification % x", body)
		case typ == msgUpdate:
			err = p.update(body, at)
		}
		if err != nil && p.err == nil {
			p.err = err
		}
		p.mu.Unlock()
		select {
		case p.kick <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// update notes what an UPDATE says about IPv4 (RFC 4271 section 4.3).
func (p *rawPeer) update(b []byte, at time.Time) error {
	short := errors.New("short UPDATE")
	part := func(n int) []byte {
		if n > len(b) {
			return nil
		}
		x := b[:n]
		b = b[n:]
		return x
	}
	length := func() int {
		if x := part(2); x != nil {
			return int(binary.BigEndian.Uint16(x))
		}
		return 1 << 16
	}
	gone := part(length())
	if gone == nil || part(length()) == nil {
		return short
	}
	for i, list := range [][]byte{gone, b} {
		for len(list) > 0 {
			bits := int(list[0])
			n := (bits + 7) / 8
			if bits > 32 || len(list) < 1+n {
				return short
			}
			var a [4]byte
			copy(a[:], list[1:1+n])
			p.news[netip.PrefixFrom(netip.AddrFrom4(a), bits)] = news{there: i == 1, at: at}
			list = list[1+n:]
		}
	}
	return nil
}

// wait returns when the prefix was told to be there, or gone, after an instant.
func (p *rawPeer) wait(prefix netip.Prefix, there bool, after time.Time, within time.Duration) (time.Time, error) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		p.mu.Lock()
		n, err := p.news[prefix], p.err
		p.mu.Unlock()
		if n.there == there && n.at.After(after) {
			return n.at, nil
		}
		if err != nil {
			return time.Time{}, err
		}
		select {
		case <-p.kick:
		case <-limit.C:
			return time.Time{}, fmt.Errorf("%s: no UPDATE within %s (there: %v)", prefix, within, !there)
		}
	}
}
