package swarm

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// Echoes remembers when echo requests (RFC 792) were sent and which were answered.
type Echoes struct {
	mu    sync.Mutex
	first uint32
	sent  []time.Time
	back  []time.Time // zero: not answered
}

// Request is the ICMP message of the next request.
func (e *Echoes) Request() []byte {
	b := make([]byte, 8+4+28)
	b[0] = 8
	e.mu.Lock()
	n := e.first + uint32(len(e.sent))
	e.sent, e.back = append(e.sent, time.Now()), append(e.back, time.Time{})
	e.mu.Unlock()
	binary.BigEndian.PutUint16(b[6:], uint16(n))
	binary.BigEndian.PutUint32(b[8:], n)
	binary.BigEndian.PutUint16(b[2:], ^checksum(b))
	return b
}

// Answer takes an ICMP message that came back.
func (e *Echoes) Answer(b []byte) {
	if len(b) < 12 || b[0] != 0 {
		return
	}
	n := binary.BigEndian.Uint32(b[8:])
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := int(int32(n - e.first)); i >= 0 && i < len(e.back) && e.back[i].IsZero() {
		e.back[i] = time.Now()
	}
}

// Forget drops all requests so far.
func (e *Echoes) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.first += uint32(len(e.sent))
	e.sent, e.back = nil, nil
}

// Answered is when the first answer came to a request that was sent after a time,
// and how many of those before it were lost; false: none has come.
func (e *Echoes) Answered(after time.Time) (at time.Time, lost int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, s := range e.sent {
		if !s.After(after) {
			continue
		}
		if !e.back[i].IsZero() {
			return e.back[i], lost, true
		}
		lost++
	}
	return at, lost, false
}

// Talker is the inner end of a peer that sends an echo request at an interval.
type Talker struct {
	Echoes
	from, to netip.Addr
	tick     *time.Ticker
	closed   chan struct{}
	events   chan tun.Event
	once     sync.Once
}

// NewTalker makes one, with IPv4 addresses.
func NewTalker(from, to netip.Addr, every time.Duration) *Talker {
	return &Talker{from: from, to: to, tick: time.NewTicker(every), closed: make(chan struct{}), events: make(chan tun.Event)}
}

// File is of tun.Device, as the other methods.
func (t *Talker) File() *os.File           { return nil }
func (t *Talker) MTU() (int, error)        { return device.DefaultMTU, nil }
func (t *Talker) Name() (string, error)    { return "talker", nil }
func (t *Talker) Events() <-chan tun.Event { return t.events }
func (t *Talker) BatchSize() int           { return 1 }

func (t *Talker) Close() error {
	t.once.Do(func() { t.tick.Stop(); close(t.closed); close(t.events) })
	return nil
}

func (t *Talker) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case <-t.closed:
		return 0, os.ErrClosed
	case <-t.tick.C:
	}
	p := bufs[0][offset:]
	n := 20 + copy(p[20:], t.Request())
	clear(p[:20])
	p[0], p[8], p[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	copy(p[12:], t.from.AsSlice())
	copy(p[16:], t.to.AsSlice())
	binary.BigEndian.PutUint16(p[10:], ^checksum(p[:20]))
	sizes[0] = n
	return 1, nil
}

func (t *Talker) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		if p := b[offset:]; len(p) > 20 && p[0] == 0x45 && p[9] == 1 {
			t.Answer(p[20:])
		}
	}
	return len(bufs), nil
}
