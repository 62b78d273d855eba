package bfd

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// packetLen is the length of a control packet without authentication.
const packetLen = 24

// state is Sta of RFC 5880 section 4.1.
type state uint8

const (
	adminDown state = iota
	down
	initial
	up
)

func (s state) word() bgp.BFDSessionState {
	return [...]bgp.BFDSessionState{bgp.BFDAdminDown, bgp.BFDDown, bgp.BFDInit, bgp.BFDUp}[s&3]
}

// packet is a control packet (RFC 5880 section 4.1). Intervals are whole
// microseconds on the wire.
type packet struct {
	diag                 bgp.BFDDiag
	state                state
	poll, final, demand  bool
	controlPlaneIndep    bool
	mult                 uint8
	my, your             uint32
	minTx, minRx, echoRx time.Duration
}

// Why a packet is discarded (RFC 5880 section 6.8.6).
var (
	errShort      = errors.New("shorter than a control packet")
	errVersion    = errors.New("version is not 1")
	errLength     = errors.New("length field does not fit")
	errMult       = errors.New("detect mult is zero")
	errMultipoint = errors.New("multipoint bit is set")
	errMy         = errors.New("my discriminator is zero")
	errYour       = errors.New("your discriminator is zero in state Init or Up")
	errAuth       = errors.New("authenticated, and no authentication is in use")
	errPollFinal  = errors.New("poll and final bits are both set")
)

const (
	bitPoll       = 0x20
	bitFinal      = 0x10
	bitControl    = 0x08
	bitAuth       = 0x04
	bitDemand     = 0x02
	bitMultipoint = 0x01
)

// parse reads a control packet and applies every check of RFC 5880 section
// 6.8.6 that needs no session.
func parse(b []byte) (p packet, err error) {
	if len(b) < packetLen {
		return p, errShort
	}
	if b[0]>>5 != 1 {
		return p, errVersion
	}
	flags, length := b[1], int(b[3])
	switch {
	case length < packetLen || length > len(b):
		return p, errLength
	case b[2] == 0:
		return p, errMult
	case flags&bitMultipoint != 0:
		return p, errMultipoint
	case flags&bitAuth != 0:
		return p, errAuth
	case flags&bitPoll != 0 && flags&bitFinal != 0:
		return p, errPollFinal
	}
	p = packet{
		diag: bgp.BFDDiag(b[0] & 0x1f), state: state(flags >> 6),
		poll: flags&bitPoll != 0, final: flags&bitFinal != 0, demand: flags&bitDemand != 0,
		controlPlaneIndep: flags&bitControl != 0,
		mult:              b[2],
		my:                binary.BigEndian.Uint32(b[4:]), your: binary.BigEndian.Uint32(b[8:]),
		minTx: micros(b[12:]), minRx: micros(b[16:]), echoRx: micros(b[20:]),
	}
	switch {
	case p.my == 0:
		return p, errMy
	case p.your == 0 && p.state != down && p.state != adminDown:
		return p, errYour
	}
	return p, nil
}

// put writes the packet into the first packetLen bytes of b.
func (p *packet) put(b []byte) {
	_ = b[packetLen-1]
	b[0] = 1<<5 | byte(p.diag)&0x1f
	b[1] = byte(p.state) << 6
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{p.poll, bitPoll}, {p.final, bitFinal}, {p.controlPlaneIndep, bitControl}, {p.demand, bitDemand}} {
		if f.set {
			b[1] |= f.bit
		}
	}
	b[2], b[3] = p.mult, packetLen
	binary.BigEndian.PutUint32(b[4:], p.my)
	binary.BigEndian.PutUint32(b[8:], p.your)
	putMicros(b[12:], p.minTx)
	putMicros(b[16:], p.minRx)
	putMicros(b[20:], p.echoRx)
}

func micros(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func putMicros(b []byte, d time.Duration) {
	binary.BigEndian.PutUint32(b, uint32(min(max(d/time.Microsecond, 0), 1<<32-1)))
}
