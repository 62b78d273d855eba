package gre

import (
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// classicFilter is receiveFilter in the old language, which needs no privilege.
// It does not see whether a packet was merged or put together from fragments,
// and leaves every whole one to the packet socket: without eBPF, outer packets
// in fragments are lost.
func classicFilter(t tgwconnect.Tunnel, fast bool) []bpf.Instruction {
	const network = uint32(0xfff00000) // SKF_NET_OFF (include/uapi/linux/filter.h)
	var p []bpf.Instruction
	load := func(at uint32, size int) { p = append(p, bpf.LoadAbsolute{Off: network + at, Size: size}) }
	// Jumps are given as places in the program; patched below.
	const other, taken = 254, 255
	want := func(v uint32) { p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: other}) }
	plainGRE := func(at uint32) {
		load(at, 4)
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv4, SkipTrue: taken})
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv6, SkipTrue: taken, SkipFalse: other})
	}
	address := func(at uint32, b []byte) {
		for ; len(b) > 0; at, b = at+4, b[4:] {
			load(at, 4)
			want(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		}
	}
	// A load from beyond the packet ends the program with 0, so the raw
	// socket's must ask for the length first. Its packets start at the outer
	// IPv4 header, or behind the IPv6 one.
	least := uint32(headLen + 20)
	if t.Remote.Is6() {
		least = greLen + 20
	}
	if !fast {
		p = append(p, bpf.LoadExtension{Num: bpf.ExtLen}, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: least, SkipTrue: other})
	} else if t.Remote.Is6() {
		load(ip6Len+least-1, 1)
	} else {
		load(least-1, 1)
	}
	p = append(p, bpf.LoadExtension{Num: bpf.ExtType})
	want(unix.PACKET_HOST)
	if t.Remote.Is4() {
		load(0, 1)
		want(0x45)
		load(9, 1)
		want(unix.IPPROTO_GRE)
		address(12, t.Remote.AsSlice())
		address(16, t.Local.AsSlice())
		load(6, 2)
		p = append(p, bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: other})
		plainGRE(outerLen)
	} else {
		load(0, 1)
		p = append(p, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
		want(6)
		address(8, t.Remote.AsSlice())
		address(24, t.Local.AsSlice())
		load(6, 1)
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_DSTOPTS, SkipTrue: 4})
		want(unix.IPPROTO_GRE)
		plainGRE(ip6Len) // 3 instructions
		load(ip6Len, 2)
		want(unix.IPPROTO_GRE << 8)
		plainGRE(ip6Len + limitLen)
	}
	end := len(p)
	for i := range p {
		j, ok := p[i].(bpf.JumpIf)
		if !ok {
			continue
		}
		for _, skip := range []*uint8{&j.SkipTrue, &j.SkipFalse} {
			switch *skip {
			case other:
				*skip = uint8(end - i - 1)
			case taken:
				*skip = uint8(end + 1 - i - 1)
			}
		}
		p[i] = j
	}
	const all = ^uint32(0)
	if fast {
		return append(p, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: all})
	}
	return append(p, bpf.RetConstant{Val: all}, bpf.RetConstant{Val: 0})
}

func attachClassic(fd int, p []bpf.Instruction) error {
	raw, err := bpf.Assemble(p)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(raw)))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}
