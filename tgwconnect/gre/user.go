package gre

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// bufLen holds the largest packet, and lets the TUN's receive offload merge
// segments into one buffer. Pages not touched cost nothing.
const bufLen = 1 << 16

// userTunnel is one running userspace tunnel: a TUN, raw sockets, and one
// goroutine a direction (two a direction are slower on two cores). Where the
// kernel can, offload takes the bulk off them.
type userTunnel struct {
	t     tgwconnect.Tunnel // what the socket was opened for
	dev   tun.Device
	outer *outerSocket
	off   *offload
	log   *slog.Logger
	kick  func() // asks the manager to look again

	rx, tx  atomic.Uint64
	txLost  atomic.Uint64
	refused [refusals]atomic.Uint64
	told    sync.Map // what was logged once: a string each
	stopped atomic.Bool
	ended   atomic.Bool // a direction ended by itself
	wg      sync.WaitGroup
}

func newUserTunnel(t tgwconnect.Tunnel, dev tun.Device, outer *outerSocket, off *offload, log *slog.Logger, kick func()) *userTunnel {
	return &userTunnel{t: t, dev: dev, outer: outer, off: off, log: log.With("tunnel", t.Name), kick: kick}
}

// stop closes both ends and waits. The device stays, without carrier.
func (u *userTunnel) stop() {
	u.stopped.Store(true)
	u.close()
	u.wg.Wait()
}

func (u *userTunnel) close() {
	u.off.close()
	_ = u.dev.Close()
	u.outer.close()
}

// sent counts packets of both ways of sending.
func (u *userTunnel) sent() (sent, lost uint64) {
	sent, lost = u.off.sent()
	return sent + u.tx.Load(), lost + u.txLost.Load()
}

func (u *userTunnel) dropped() uint64 {
	var n uint64
	for i := range u.refused {
		n += u.refused[i].Load()
	}
	return n
}

// refuse counts a received packet that is not delivered.
func (u *userTunnel) refuse(why refusal) {
	u.refused[why].Add(1)
	u.once("received packets are refused: "+why.String(), "remote", u.t.Remote)
}

// once logs a condition the first time; the counters tell the rest.
func (u *userTunnel) once(what string, args ...any) {
	if _, known := u.told.LoadOrStore(what, true); !known {
		u.log.Warn(what, args...)
	}
}

func (u *userTunnel) tooBig() {
	u.once("outer path is smaller than the tunnel's MTU", "remote", u.t.Remote)
	u.kick()
}

// runTransmit carries packets from the TUN to the socket until either closes.
func (u *userTunnel) runTransmit() {
	defer u.end()
	defer func() { _ = unix.Close(u.outer.out) }()
	x := u.newTransmitter()
	for {
		n, err := u.dev.Read(x.bufs[:], x.sizes[:], x.room)
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
			if closed(err) {
				return
			}
			// One packet the offload can not take apart; the next may be fine.
			u.txLost.Add(1)
			u.once("read from TUN", "err", err)
			if errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) {
				time.Sleep(time.Millisecond) // device down: do not spin
			}
			continue
		}
		if k := x.encapsulate(n); k > 0 {
			if !x.out.send(k) {
				return
			}
			u.tx.Add(uint64(k - x.out.lost))
			if x.out.lost > 0 {
				u.txLost.Add(uint64(x.out.lost))
				u.once("send outer packet", "remote", u.t.Remote, "err", x.out.cause)
			}
		}
	}
}

// runReceive carries packets from the socket to the TUN until either closes.
func (u *userTunnel) runReceive() {
	defer u.end()
	r := u.newDecapsulator()
	for {
		n, err := r.in.receive()
		if err != nil {
			return
		}
		inner := r.decapsulate(n)
		if len(inner) == 0 {
			continue
		}
		u.rx.Add(uint64(len(inner)))
		_, err = u.dev.Write(inner, headLen)
		if u.written(err) != nil {
			return
		}
	}
}

// runUnpack is runReceive for the packet socket.
func (u *userTunnel) runUnpack() {
	defer u.end()
	r := u.newUnpacker(u.off.in)
	for {
		n, err := r.in.receive()
		if err != nil || r.deliver(n) != nil {
			return
		}
	}
}

// written passes on that the TUN is closed; other errors concern packets: EIO
// while the link is down.
func (u *userTunnel) written(err error) error {
	if err == nil || closed(err) {
		return err
	}
	u.once("write to TUN", "err", err)
	return nil
}

// end makes the other direction end as well, and the manager look, when one
// ended without stop: somebody deleted the device.
func (u *userTunnel) end() {
	u.ended.Store(true)
	if !u.stopped.Load() {
		u.close()
		u.kick()
	}
}
