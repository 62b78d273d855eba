package device

import (
	"errors"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// genl is our own connection to the WireGuard family: for dumps, because
// wgctrl does not look at NLM_F_DUMP_INTR and returns short data without an
// error, and for the remove flag, which it can not send.
type genl struct {
	fd     int
	family uint16
	seq    uint32
	buf    []byte
}

// recvBuf lets the kernel cut dumps into pieces of 32 KiB, the largest it
// makes; a smaller buffer gets smaller pieces.
const recvBuf = 32 << 10

// dialGenl returns errNoWireGuard if the kernel does not have the family.
// Asking for it may load the module.
func dialGenl() (*genl, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, translate(err)
	}
	f, err := c.GetFamily(unix.WG_GENL_NAME)
	_ = c.Close()
	if err != nil {
		return nil, errNoWireGuard
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, translate(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return nil, translate(err)
	}
	// A stuck kernel must not hold a device's lock for ever.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	return &genl{fd: fd, family: f.ID, buf: make([]byte, recvBuf)}, nil
}

func (g *genl) close() { _ = unix.Close(g.fd) }

// dump reads one device. It fails with ErrInterrupted when the kernel marks
// any part as overtaken by a change.
func (g *genl) dump(name string, full bool) (dump, error) {
	g.seq++
	msg := request(g.family, unix.WG_CMD_GET_DEVICE, unix.WG_GENL_VERSION, unix.NLM_F_DUMP, g.seq, ifname(nil, name))
	if err := unix.Sendto(g.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return dump{}, translate(err)
	}
	var d dump
	interrupted := false
	err := g.receive(func(flags uint16, data []byte) error {
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		if data == nil {
			return nil
		}
		return deviceMessage(&d, data, full)
	})
	clear(g.buf) // held the private key
	if err != nil {
		return dump{}, translateErrno(err)
	}
	if interrupted {
		return dump{}, ErrInterrupted
	}
	d.finish()
	return d, nil
}

// set sends one configuration message and waits for the answer.
func (g *genl) set(attrs []byte) error {
	g.seq++
	msg := request(g.family, unix.WG_CMD_SET_DEVICE, unix.WG_GENL_VERSION, unix.NLM_F_ACK, g.seq, attrs)
	if err := unix.Sendto(g.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return g.receive(func(uint16, []byte) error { return nil })
}

// receive hands over the messages that answer the current request until its
// end. The end itself comes with nil data.
func (g *genl) receive(f func(flags uint16, data []byte) error) error {
	for done := false; !done; {
		n, _, rflags, _, err := unix.Recvmsg(g.fd, g.buf, nil, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if rflags&unix.MSG_TRUNC != 0 {
			return errNetlink
		}
		err = eachMessage(g.buf[:n], func(typ, flags uint16, seq uint32, data []byte) error {
			if seq != g.seq {
				return nil // left over from a request that was given up
			}
			switch typ {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				done = true
				if len(data) >= 4 {
					if code := int32(native.Uint32(data)); code < 0 {
						return unix.Errno(-code)
					}
				}
				return f(flags, nil)
			}
			return f(flags, data)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func translateErrno(err error) error {
	if errors.Is(err, errNetlink) {
		return errNetlink
	}
	return translate(err)
}
