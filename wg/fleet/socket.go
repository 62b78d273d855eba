package fleet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/wg"
)

// All goroutines of the package start in this file.

// tasks are those that Run has to wait for.
type tasks struct{ wg sync.WaitGroup }

func (t *tasks) start(run func()) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		run()
	}()
}

func (t *tasks) wait() { t.wg.Wait() }

// every runs f now and at an interval until ctx ends.
func (t *tasks) every(ctx context.Context, d time.Duration, f func(now time.Time)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		f(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// socket is connected to one partner, so that the kernel drops what others send.
type socket struct {
	c     *net.UDPConn // nil: closed
	again time.Time    // no attempt before
}

const openAgain = time.Second

// open makes the socket, unless it is open, and hands what it receives to a
// function that must not keep it.
func (s *socket) open(p Partner, receive func([]byte), t *tasks) error {
	if s.c != nil {
		return nil
	}
	if time.Now().Before(s.again) {
		return errLater
	}
	s.again = time.Now().Add(openAgain)
	c, err := dial(p)
	if err != nil {
		return err
	}
	s.c = c
	t.start(func() {
		buf := make([]byte, 2048)
		for {
			n, err := c.Read(buf)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err == nil:
				receive(buf[:n])
			}
			// Other errors tell that an earlier packet was refused: nobody
			// listens there, yet.
		}
	})
	return nil
}

var errLater = errors.New("its socket could not be opened a moment ago")

// dial makes a socket whose both ends are fixed. Several share the port: the kernel
// gives a packet to the one that is connected to its sender.
func dial(p Partner) (*net.UDPConn, error) {
	local, network := p.Local, "udp4"
	if p.Address.Is6() {
		network = "udp6"
	}
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
		if p.Address.Is6() {
			local = netip.IPv6Unspecified()
		}
	}
	if local.IsLinkLocalUnicast() && local.Zone() == "" {
		local = local.WithZone(p.Address.Zone())
	}
	d := net.Dialer{
		LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, wg.FleetPort)),
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				if err == nil && p.Device != "" {
					err = unix.BindToDevice(int(fd), p.Device)
				}
			}); e != nil {
				return e
			}
			return err
		},
	}
	c, err := d.Dial(network, netip.AddrPortFrom(p.Address, wg.FleetPort).String())
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	_ = u.SetReadBuffer(1 << 20)
	return u, nil
}

// send may lose the packet: what matters is told again. An error that is not the
// refusal of an earlier packet is the socket's: an address or a link is gone.
func (s *socket) send(b []byte) {
	if s.c == nil {
		return
	}
	if _, err := s.c.Write(b); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		s.close()
	}
}

func (s *socket) close() {
	if s.c != nil {
		_ = s.c.Close()
		s.c = nil
	}
}
