package traffic

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A packet is: magic, stream, sequence number, padding.
const (
	magic     = 0x77674267 // "wgBg"
	headerLen = 16
)

// tick is the shortest pause of the sender. At more than 1000 packets a second
// it sends small bursts instead of keeping a processor busy with timers.
const tick = time.Millisecond

// send sends packet n at start + n/Rate, catching up when it comes late.
func (s *Stream) send() {
	buf := make([]byte, s.cfg.Size)
	binary.BigEndian.PutUint32(buf, magic)
	binary.BigEndian.PutUint32(buf[4:], s.id)
	interval := time.Second / time.Duration(s.cfg.Rate)
	for n := uint64(0); !s.stopped.Load(); {
		for due := uint64(time.Since(s.start)/interval) + 1; n < due; n++ {
			binary.BigEndian.PutUint64(buf[8:], n)
			s.log.sent(time.Since(s.start))
			s.write(s.flows[n%uint64(len(s.flows))], buf)
		}
		next := s.start.Add(time.Duration(n) * interval)
		time.Sleep(max(time.Until(next), min(interval, tick)))
	}
}

// write sends one packet. A connected socket reports an ICMP error about an
// earlier packet instead of sending; that error is noted and the packet tried
// again, so that one refusal is not counted as two losses.
func (s *Stream) write(c *net.UDPConn, b []byte) {
	for range 2 {
		_, err := c.Write(b)
		if err == nil {
			return
		}
		var no syscall.Errno
		if !errors.As(err, &no) {
			no = 0
		}
		s.log.refused(no)
	}
}

func (s *Stream) receive() {
	buf := make([]byte, 1<<16)
	for {
		n, err := s.sink.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < headerLen || binary.BigEndian.Uint32(buf) != magic || binary.BigEndian.Uint32(buf[4:]) != s.id {
			continue
		}
		s.log.received(binary.BigEndian.Uint64(buf[8:]), time.Since(s.start))
	}
}

// socketDrops is how many packets the socket's buffer had no room for
// (SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h).
func socketDrops(c *net.UDPConn) uint32 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	const soMeminfo, memDrops, memVars = 55, 8, 9
	var info [memVars * 4]byte
	_ = raw.Control(func(fd uintptr) {
		var s string
		if s, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, soMeminfo); err == nil {
			copy(info[:], s)
		}
	})
	return binary.NativeEndian.Uint32(info[memDrops*4:])
}
