package traffic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// Config says what to send.
type Config struct {
	Name     string
	From, To *netlab.Host
	Src, Dst netip.Addr // of one family; Src may be invalid: the kernel's choice
	Rate     int        // packets per second over all flows
	// Flows is the number of different source ports, so that a router that
	// hashes flows spreads them; 0: 1. Packet n belongs to flow n mod Flows.
	Flows int
	Size  int // bytes of UDP payload, 0: 64, at least 16
}

// Stream is a running stream.
type Stream struct {
	cfg     Config
	start   time.Time
	flows   []*net.UDPConn
	sink    *net.UDPConn
	log     ledger
	stopped atomic.Bool
	id      uint32

	senders, receivers sync.WaitGroup
	drops              uint32 // of the sink's socket, known after Stop
}

var nextID atomic.Uint32

// Start opens the sockets on both hosts and begins to send.
func Start(cfg Config) (*Stream, error) {
	cfg.Flows = max(cfg.Flows, 1)
	if cfg.Size == 0 {
		cfg.Size = 64
	}
	if cfg.Size < headerLen || cfg.Rate <= 0 || !cfg.Dst.IsValid() {
		return nil, fmt.Errorf("traffic %s: want a destination, a rate above 0 and at least %d bytes", cfg.Name, headerLen)
	}
	s := &Stream{cfg: cfg, id: nextID.Add(1), log: newLedger(cfg.Flows)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("traffic %s: %w", cfg.Name, errors.Join(err, s.close()))
	}
	s.start = time.Now()
	s.receivers.Go(s.receive)
	s.senders.Go(s.send)
	return s, nil
}

func (s *Stream) open() error {
	err := s.cfg.To.Do(func() error {
		var err error
		s.sink, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.cfg.Dst, 0)))
		return err
	})
	if err != nil {
		return fmt.Errorf("receive on %s: %w", s.cfg.To.Name(), err)
	}
	roomForBursts(s.sink)
	to := net.UDPAddrFromAddrPort(s.sink.LocalAddr().(*net.UDPAddr).AddrPort())
	var from *net.UDPAddr
	if s.cfg.Src.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.cfg.Src, 0))
	}
	return s.cfg.From.Do(func() error {
		for range s.cfg.Flows {
			// Connected sockets, because only these are told of ICMP errors.
			c, err := dial(from, to)
			if err != nil {
				return fmt.Errorf("send from %s: %w", s.cfg.From.Name(), err)
			}
			s.flows = append(s.flows, c)
		}
		return nil
	})
}

// dial connects a UDP socket. Connecting looks up a route and would fail while
// there is none, which may be just what the stream is to measure; so it is
// tried for a moment before it is given up.
func dial(from, to *net.UDPAddr) (*net.UDPConn, error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		c, err := net.DialUDP("udp", from, to)
		if err == nil || time.Now().After(deadline) {
			return c, err
		}
		time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
	}
}

// roomForBursts gives the receiver a buffer that bridges some hundred
// milliseconds without a turn on the processor; else the measurement would lose
// what the network delivered.
func roomForBursts(c *net.UDPConn) {
	const bytes = 8 << 20
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// Beyond net.core.rmem_max, which needs CAP_NET_ADMIN on the machine.
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes)
	})
	if err != nil {
		_ = c.SetReadBuffer(bytes)
	}
}

// Stop ends sending, waits for packets under way, and gives the final account.
func (s *Stream) Stop(linger time.Duration) Report {
	if !s.stopped.Swap(true) {
		s.senders.Wait()
		time.Sleep(linger) // packets under way; there is nothing to ask whether they all arrived
		s.drops = socketDrops(s.sink)
		_ = s.close()
		s.receivers.Wait()
	}
	return s.Report(time.Time{}, time.Time{})
}

func (s *Stream) close() error {
	var errs []error
	for _, c := range append(s.flows, s.sink) {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Latest is when the most recent of the packets that arrived was sent; the zero
// time before the first one.
func (s *Stream) Latest() time.Time {
	at, ok := s.log.latest()
	if !ok {
		return time.Time{}
	}
	return s.start.Add(at)
}

// Flowing reports whether a packet sent within the last d has arrived.
func (s *Stream) Flowing(d time.Duration) bool {
	at := s.Latest()
	return !at.IsZero() && time.Since(at) < d
}
