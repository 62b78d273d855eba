// Package rawbgp is a BGP neighbor that is a TCP connection and nothing else:
// it opens a session, hands on every message as it came, and sends whatever
// bytes it is given. Labs use it where a real daemon would be too polite.
//
// Start reading at Dial; message.go makes messages.
package rawbgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config is one session to open.
type Config struct {
	Local, Remote netip.Addr
	Port          uint16 // 0: 179
	ASN           uint32
	HoldTime      uint16 // seconds, 0: 90. Keepalives are sent three times as often
	// IPv4Only offers no IPv6. Both families are offered otherwise (RFC 4760).
	IPv4Only bool
	// OnMessage is told every message after the session is Established, from one
	// goroutine; the body is its own. Nil: nobody is.
	OnMessage func(typ byte, body []byte, at time.Time)
}

// NotificationError is the neighbor's reason for ending a session (RFC 4271
// section 4.5).
type NotificationError struct{ Code, Subcode byte }

func (e NotificationError) Error() string {
	return fmt.Sprintf("notification %d/%d", e.Code, e.Subcode)
}

// Peer is an Established session.
type Peer struct {
	conn net.Conn
	cfg  Config
	done chan struct{}
	err  error // valid when done is closed

	write sync.Mutex
}

// openWait bounds each step of opening a session.
const openWait = 3 * time.Second

// Dial opens a session from the calling thread's network namespace and returns
// when it is Established.
func Dial(c Config) (*Peer, error) {
	if c.Port == 0 {
		c.Port = 179
	}
	if c.HoldTime == 0 {
		c.HoldTime = 90
	}
	d := net.Dialer{Timeout: openWait, LocalAddr: &net.TCPAddr{IP: c.Local.AsSlice()}}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", netip.AddrPortFrom(c.Remote, c.Port).String())
	if err != nil {
		return nil, err
	}
	p := &Peer{conn: conn, cfg: c, done: make(chan struct{})}
	if err := p.open(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("session from %s: %w", c.Local, err)
	}
	go p.read()
	go p.keepalives()
	return p, nil
}

func (p *Peer) open() error {
	if err := p.Write(append(openMessage(p.cfg), Message(Keepalive)...)); err != nil {
		return err
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(openWait)); err != nil {
		return err
	}
	for _, want := range []byte{Open, Keepalive} {
		typ, body, err := p.receive()
		switch {
		case err != nil:
			return err
		case typ == Notification && len(body) >= 2:
			return NotificationError{body[0], body[1]}
		case typ != want:
			return fmt.Errorf("message of type %d, want %d", typ, want)
		}
	}
	return p.conn.SetReadDeadline(time.Time{})
}

// openMessage is an OPEN (RFC 4271 section 4.2) with capabilities (RFC 5492):
// the families, route refresh (RFC 2918), four-octet ASN (RFC 6793).
func openMessage(c Config) []byte {
	caps := []byte{1, 4, 0, 1, 0, 1}
	if !c.IPv4Only {
		caps = append(caps, 1, 4, 0, 2, 0, 1)
	}
	caps = append(caps, 2, 0, 65, 4)
	caps = binary.BigEndian.AppendUint32(caps, c.ASN)
	as := uint16(23456) // AS_TRANS
	if c.ASN < 1<<16 {
		as = uint16(c.ASN)
	}
	body := binary.BigEndian.AppendUint16([]byte{4}, as)
	body = binary.BigEndian.AppendUint16(body, c.HoldTime)
	id := c.Local.As16()
	body = append(body, id[12:]...)
	body = append(body, byte(len(caps)+2), 2, byte(len(caps)))
	return Message(Open, append(body, caps...)...)
}

// Write sends bytes as they are.
func (p *Peer) Write(b []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	_, err := p.conn.Write(b)
	return err
}

// Send sends one message.
func (p *Peer) Send(typ byte, body ...byte) error { return p.Write(Message(typ, body...)) }

// Done is closed when the session has ended.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Err says why the session ended, nil while it stands.
func (p *Peer) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close ends the session without a word and waits for its end.
func (p *Peer) Close() {
	_ = p.conn.Close()
	<-p.done
}

func (p *Peer) keepalives() {
	t := time.NewTicker(time.Duration(p.cfg.HoldTime) * time.Second / 3)
	defer t.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-t.C:
			_ = p.Send(Keepalive)
		}
	}
}

func (p *Peer) read() {
	defer close(p.done)
	defer func() { _ = p.conn.Close() }()
	for {
		typ, body, err := p.receive()
		if err != nil {
			p.err = err
			return
		}
		if p.cfg.OnMessage != nil {
			p.cfg.OnMessage(typ, body, time.Now())
		}
		if typ == Notification {
			p.err = errors.New("notification without a code")
			if len(body) >= 2 {
				p.err = NotificationError{body[0], body[1]}
			}
			return
		}
	}
}

func (p *Peer) receive() (typ byte, body []byte, err error) {
	var head [HeaderLen]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(head[16:])) - HeaderLen
	if n < 0 {
		return 0, nil, fmt.Errorf("bad length %d", n+HeaderLen)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.conn, body)
	return head[18], body, err
}
