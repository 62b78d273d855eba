package bfd

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/mmsg"
)

// outbox collects packets for one socket.
type outbox struct {
	n    int
	msgs [mmsg.Batch]mmsg.Header
	iovs [mmsg.Batch]unix.Iovec
	bufs [mmsg.Batch][packetLen]byte
	who  [mmsg.Batch]*session
}

// add appends a packet. The caller flushes when full reports true.
func (o *outbox) add(s *session, p *packet) {
	i := o.n
	o.n++
	o.who[i] = s
	p.put(o.bufs[i][:])
	o.msgs[i].Outgoing(&s.to, &o.iovs[i], o.bufs[i][:])
}

func (o *outbox) full() bool { return o.n == mmsg.Batch }

// flush sends everything and tells each packet's fate.
func (o *outbox) flush(fd int, fate func(*session, error)) {
	mmsg.Send(fd, o.msgs[:o.n], func(i int, err error) { fate(o.who[i], err) })
	o.discard()
}

// discard empties the box.
func (o *outbox) discard() {
	clear(o.who[:o.n])
	o.n = 0
}

// inbox receives packets with the kernel's time of arrival and their TTL.
type inbox struct {
	msgs [mmsg.Batch]mmsg.Header
	iovs [mmsg.Batch]unix.Iovec
	bufs [mmsg.Batch][64]byte // 24 are read; more is authentication, which is refused
	from [mmsg.Batch]mmsg.Sockaddr
	ctl  [mmsg.Batch][128]byte // room for a timestamp and a TTL
}

// receive takes what is there, at most one batch.
func (in *inbox) receive(fd int) (int, error) {
	for i := range in.msgs {
		in.msgs[i].Incoming(&in.from[i], &in.iovs[i], in.bufs[i][:], in.ctl[i][:])
	}
	return mmsg.Receive(fd, in.msgs[:])
}

// arrival is what the kernel says about a packet.
type arrival struct {
	from netip.Addr
	ttl  int           // or hop limit; -1: not told
	age  time.Duration // since it was received
}

// packet returns the i-th packet. The age is what keeps a late reader honest;
// without a usable timestamp it is 0.
func (in *inbox) packet(i int, wall time.Time) ([]byte, arrival) {
	m := &in.msgs[i]
	a := arrival{from: in.from[i].Addr(), ttl: -1}
	m.Control(in.ctl[i][:], func(level, typ int32, data []byte) {
		switch {
		case level == unix.SOL_SOCKET && typ == unix.SO_TIMESTAMPNS:
			a.age = mmsg.Age(data, wall)
		case (level == unix.IPPROTO_IP && typ == unix.IP_TTL || level == unix.IPPROTO_IPV6 && typ == unix.IPV6_HOPLIMIT) && len(data) >= 4:
			a.ttl = int(*(*int32)(unsafe.Pointer(&data[0])))
		}
	})
	return in.bufs[i][:min(int(m.Len), len(in.bufs[i]))], a
}
