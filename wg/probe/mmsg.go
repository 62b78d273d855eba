package probe

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
)

// outbox collects packets for one socket.
type outbox struct {
	n    int
	msgs [mmsg.Batch]mmsg.Header
	iovs [mmsg.Batch]unix.Iovec
	bufs [mmsg.Batch][echoLen]byte
	to   [mmsg.Batch]mmsg.Sockaddr
	who  [mmsg.Batch]*target
}

// add appends a packet of n bytes and returns its buffer. The caller flushes
// when full reports true.
func (o *outbox) add(t *target, n int) []byte {
	i := o.n
	o.n++
	o.who[i], o.to[i] = t, t.to
	b := o.bufs[i][:n]
	o.msgs[i].Outgoing(&o.to[i], &o.iovs[i], b)
	return b
}

func (o *outbox) full() bool { return o.n == mmsg.Batch }

// flush sends everything and tells each packet's fate.
func (o *outbox) flush(fd int, fate func(*target, error)) {
	mmsg.Send(fd, o.msgs[:o.n], func(i int, err error) { fate(o.who[i], err) })
	clear(o.who[:o.n])
	o.n = 0
}

// inbox receives packets with the kernel's time of arrival.
type inbox struct {
	msgs [mmsg.Batch]mmsg.Header
	iovs [mmsg.Batch]unix.Iovec
	bufs [mmsg.Batch][256]byte // an error quotes at most IP + ICMP + IP + our request, plus options
	from [mmsg.Batch]mmsg.Sockaddr
	ctl  [mmsg.Batch][64]byte
}

// receive takes what is there, at most one batch.
func (in *inbox) receive(fd int) (int, error) {
	for i := range in.msgs {
		in.msgs[i].Incoming(&in.from[i], &in.iovs[i], in.bufs[i][:], in.ctl[i][:])
	}
	return mmsg.Receive(fd, in.msgs[:])
}

// packet returns the i-th packet, its source and how long ago it arrived.
func (in *inbox) packet(i int, wall time.Time) (b []byte, from netip.Addr, age time.Duration) {
	m := &in.msgs[i]
	m.Control(in.ctl[i][:], func(level, typ int32, data []byte) {
		if level == unix.SOL_SOCKET && typ == unix.SO_TIMESTAMPNS {
			age = mmsg.Age(data, wall)
		}
	})
	return in.bufs[i][:min(int(m.Len), len(in.bufs[i]))], in.from[i].Addr(), age
}
