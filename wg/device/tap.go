package device

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// tap sees, beside the kernel's WireGuard, data packets from watched addresses: two
// packet sockets, one per family, whose filter looks a packet's source up in a map.
// An entry passes one packet and is then spent, until it is armed again sightEvery
// later, so that a client at full speed costs a look-up a packet and no copy.
type tap struct {
	port    uint16
	watcher *watcher
	armed   *ebpf.Map // source to 1: armed, 0: spent
	sockets [2]*os.File
	known   map[source]bool
}

// source is an address, IPv4 as IPv4-mapped, and a port in network order.
type source [20]byte

func sourceOf(a netip.AddrPort) (s source) {
	b := a.Addr().As16()
	copy(s[:], b[:])
	binary.BigEndian.PutUint16(s[16:], a.Port())
	return s
}

// tapLimit bounds the map: as many peers as an interface may have.
const tapLimit = 1 << 16

func openTap(port uint16, w *watcher) (*tap, error) {
	t := &tap{port: port, watcher: w, known: map[source]bool{}}
	var err error
	t.armed, err = ebpf.NewMap(&ebpf.MapSpec{Name: "wgbgp_watch", Type: ebpf.Hash, KeySize: 20, ValueSize: 4, MaxEntries: tapLimit, Flags: unix.BPF_F_NO_PREALLOC})
	if err != nil {
		return nil, fmt.Errorf("make map: %w", err)
	}
	for i, family := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} {
		if t.sockets[i], err = t.open(family); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

func (t *tap) open(family uint16) (*os.File, error) {
	prog, err := ebpf.NewProgram(tapProgram(family, t.port, t.armed))
	if err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	defer func() { _ = prog.Close() }() // the socket holds it
	// Protocol 0 receives nothing before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, prog.FD())
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: family>>8 | family<<8})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("packet socket", err)
	}
	return os.NewFile(uintptr(fd), "tap"), nil
}

// set says whom to look out for.
func (t *tap) set(peers map[netip.AddrPort]*watched) error {
	var errs []error
	fresh := make(map[source]bool, len(peers))
	for at := range peers {
		s := sourceOf(at)
		fresh[s] = true
		if !t.known[s] {
			errs = append(errs, t.armed.Put(s, uint32(1)))
		}
	}
	for s := range t.known {
		if !fresh[s] {
			if err := t.armed.Delete(s); !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, err)
			}
		}
	}
	t.known = fresh
	return errors.Join(errs...)
}

func (t *tap) close() {
	if t == nil {
		return
	}
	for _, s := range t.sockets {
		if s != nil {
			_ = s.Close()
		}
	}
	_ = t.armed.Close()
}

// run reports what passes until the tap is closed or ctx ends.
func (t *tap) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { // ends the reads
		for _, s := range t.sockets {
			_ = s.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	inParallel(len(t.sockets), func(i int) { t.follow(ctx, t.sockets[i]) })
}

func (t *tap) follow(ctx context.Context, s *os.File) {
	type spent struct {
		source
		until time.Time
	}
	var queue []spent
	buf := make([]byte, tapped)
	for ctx.Err() == nil {
		wait := time.Time{}
		if len(queue) > 0 {
			wait = queue[0].until
		}
		if s.SetReadDeadline(wait) != nil || ctx.Err() != nil {
			return
		}
		n, err := s.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed
		}
		now := time.Now()
		if from, data, ok := outer(buf[:n]); err == nil && ok {
			t.watcher.packet(data, func() netip.AddrPort { return from })
			queue = append(queue, spent{sourceOf(from), now.Add(sightEvery)})
		}
		for len(queue) > 0 && !now.Before(queue[0].until) {
			// Unless it was removed meanwhile.
			_ = t.armed.Update(queue[0].source, uint32(1), ebpf.UpdateExist)
			queue = queue[1:]
		}
	}
}

// tapped is how much of a packet is read: IPv6 and UDP headers and more than
// watcher looks at.
const tapped = 40 + 8 + 32

// outer takes the headers off a packet.
func outer(b []byte) (from netip.AddrPort, data []byte, ok bool) {
	if len(b) < 20 {
		return from, nil, false
	}
	var addr netip.Addr
	head := int(b[0]&15) * 4
	switch {
	case b[0]>>4 == 4:
		addr = netip.AddrFrom4([4]byte(b[12:16]))
	case b[0]>>4 == 6 && len(b) >= 40:
		addr, head = netip.AddrFrom16([16]byte(b[8:24])), 40
	}
	if !addr.IsValid() || len(b) < head+8 {
		return from, nil, false
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[head:])), b[head+8:], true
}

// tapProgram passes the head of WireGuard's data packets to a port whose source is
// armed. It uses no helper that asks for a licence.
func tapProgram(family, port uint16, armed *ebpf.Map) *ebpf.ProgramSpec {
	const (
		atIP, atUDP, atKey = -40, -80, -104
		fromNetwork        = 1 // BPF_HDR_START_NET
	)
	fp, ctx, head := asm.RFP, asm.R6, asm.R7
	load := func(to int16, size int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, int32(to)),
			asm.Mov.Imm(asm.R4, size),
			asm.Mov.Imm(asm.R5, fromNetwork),
			asm.FnSkbLoadBytesRelative.Call(),
			asm.JNE.Imm(asm.R0, 0, "no"),
		}
	}
	var p asm.Instructions
	add := func(i ...asm.Instruction) { p = append(p, i...) }
	add(asm.Mov.Reg(ctx, asm.R1), asm.Mov.Imm(asm.R2, 0))
	if family == unix.ETH_P_IP {
		add(load(atIP, 20)...)
		add(
			asm.LoadMem(asm.R1, fp, atIP+9, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "no"),
			asm.LoadMem(asm.R1, fp, atIP+6, asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.And.Imm(asm.R1, 0x1fff), asm.JNE.Imm(asm.R1, 0, "no"), // not the first fragment
			asm.LoadMem(head, fp, atIP, asm.Byte), asm.And.Imm(head, 15), asm.LSh.Imm(head, 2),
			asm.StoreImm(fp, atKey, 0, asm.Word), asm.StoreImm(fp, atKey+4, 0, asm.Word),
			asm.StoreImm(fp, atKey+8, 0, asm.Half), asm.StoreImm(fp, atKey+10, -1, asm.Half), // ::ffff:0:0/96
			asm.LoadMem(asm.R1, fp, atIP+12, asm.Word), asm.StoreMem(fp, atKey+12, asm.R1, asm.Word),
		)
	} else {
		add(load(atIP, 40)...)
		add(
			asm.LoadMem(asm.R1, fp, atIP+6, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "no"),
			asm.Mov.Imm(head, 40),
			asm.LoadMem(asm.R1, fp, atIP+8, asm.DWord), asm.StoreMem(fp, atKey, asm.R1, asm.DWord),
			asm.LoadMem(asm.R1, fp, atIP+16, asm.DWord), asm.StoreMem(fp, atKey+8, asm.R1, asm.DWord),
		)
	}
	add(asm.Mov.Reg(asm.R2, head))
	add(load(atUDP, 8+minData)...) // nothing shorter is WireGuard's
	add(
		asm.LoadMem(asm.R1, fp, atUDP+2, asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half), asm.JNE.Imm(asm.R1, int32(port), "no"),
		asm.LoadMem(asm.R1, fp, atUDP+8, asm.Byte), asm.JNE.Imm(asm.R1, typeData, "no"),
		asm.LoadMem(asm.R1, fp, atUDP, asm.Half), asm.StoreMem(fp, atKey+16, asm.R1, asm.Half),
		asm.StoreImm(fp, atKey+18, 0, asm.Half),
		asm.LoadMapPtr(asm.R1, armed.FD()),
		asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, atKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "no"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.JEq.Imm(asm.R1, 0, "no"),
		asm.StoreImm(asm.R0, 0, 0, asm.Word),
		asm.Mov.Imm(asm.R0, tapped), asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("no"), asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "wgbgp_tap", Type: ebpf.SocketFilter, Instructions: p, License: "Apache-2.0"}
}
