package gre

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Whether a packet in fast form, as a receiveFilter sees it, is wanted.
const (
	takeFast  = true
	takeOther = false
)

// receiveFilter divides what arrives of a tunnel between two sockets, each
// packet to exactly one: the packet socket takes the fast form, the raw socket
// all other forms.
//
// The fast form is a plain header (no option, no GRE flag), and whole as it
// was sent. A raw socket can not take packets that the receive offload of the
// network card's driver has merged (net/ipv4/gre_offload.c): it would be told
// neither the segment size nor that the inner checksum is unfinished. A packet
// socket would not put fragments together. A packet that was in fragments is
// known by don't-fragment being clear (net/ipv4/ip_fragment.c clears it);
// IPv6 has no such mark, but nothing up to 1280 bytes is fragmented.
func receiveFilter(t tgwconnect.Tunnel, fast bool) *ebpf.ProgramSpec {
	fp, ctx, segment := asm.RFP, asm.R6, asm.R7
	p := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(segment, ctx, skbGSOSize, asm.Word),
		asm.LoadMem(asm.R1, ctx, skbPktType, asm.Word),
		asm.JNE.Imm(asm.R1, unix.PACKET_HOST, "other"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, receiveHead),
		asm.Mov.Imm(asm.R4, headLen+20), // no inner packet is shorter
		asm.Mov.Imm(asm.R5, startAtNetwork),
	}
	same := func(at int16, size asm.Size, want int32) {
		p = append(p, asm.LoadMem(asm.R1, fp, receiveHead+at, size), asm.JNE.Imm32(asm.R1, want, "other"))
	}
	plainGRE := func(at int16) {
		p = append(p,
			asm.LoadMem(asm.R1, fp, receiveHead+at, asm.Word),
			asm.JEq.Imm32(asm.R1, beWord(etherIPv4), "fast"),
			asm.JEq.Imm32(asm.R1, beWord(etherIPv6), "fast"),
		)
	}
	address := func(at int16, b []byte) {
		for i := 0; i < len(b); i += 4 {
			same(at+int16(i), asm.Word, beWord(uint32(b[i])<<24|uint32(b[i+1])<<16|uint32(b[i+2])<<8|uint32(b[i+3])))
		}
	}
	if t.Remote.Is4() {
		p = append(p, asm.FnSkbLoadBytesRelative.Call(), asm.JNE.Imm(asm.R0, 0, "other"))
		same(0, asm.Byte, 0x45)
		same(9, asm.Byte, unix.IPPROTO_GRE)
		address(12, t.Remote.AsSlice())
		address(16, t.Local.AsSlice())
		p = append(p,
			asm.LoadMem(asm.R1, fp, receiveHead+6, asm.Half),
			asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.Mov.Reg(asm.R2, asm.R1),
			asm.And.Imm(asm.R2, 0x3fff), // more fragments, offset
			asm.JNE.Imm(asm.R2, 0, "other"),
			asm.JNE.Imm(segment, 0, "whole"),
			asm.And.Imm(asm.R1, 0x4000),
			asm.JEq.Imm(asm.R1, 0, "other"),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("whole"),
		)
		plainGRE(outerLen)
	} else {
		p[len(p)-2] = asm.Mov.Imm(asm.R4, receiveHeadBytes)
		p = append(p, asm.FnSkbLoadBytesRelative.Call(), asm.JNE.Imm(asm.R0, 0, "other"),
			asm.LoadMem(asm.R1, fp, receiveHead, asm.Byte),
			asm.RSh.Imm(asm.R1, 4),
			asm.JNE.Imm(asm.R1, 6, "other"),
		)
		address(8, t.Remote.AsSlice())
		address(24, t.Local.AsSlice())
		p = append(p,
			asm.JNE.Imm(segment, 0, "whole"),
			asm.LoadMem(asm.R1, fp, receiveHead+4, asm.Half),
			asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.JGT.Imm(asm.R1, 1280-ip6Len, "other"),
			asm.LoadMem(asm.R1, fp, receiveHead+6, asm.Byte).WithSymbol("whole"),
			asm.JEq.Imm(asm.R1, unix.IPPROTO_DSTOPTS, "options"),
			asm.JNE.Imm(asm.R1, unix.IPPROTO_GRE, "other"),
		)
		plainGRE(ip6Len)
		p = append(p, asm.Ja.Label("other"))
		// The tunnel encapsulation limit of RFC 2473 4.1.1, which Linux sends.
		p = append(p, asm.LoadMem(asm.R1, fp, receiveHead+ip6Len, asm.Half).WithSymbol("options"),
			asm.JNE.Imm(asm.R1, int32(beHalf(unix.IPPROTO_GRE<<8)), "other"))
		plainGRE(ip6Len + limitLen)
	}
	onFast, onOther := int32(0), int32(-1)
	if fast {
		onFast, onOther = -1, 0
	}
	p = append(p,
		asm.Mov.Imm(asm.R0, onOther).WithSymbol("other"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, onFast).WithSymbol("fast"),
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "wgbgp_gre_recv", Type: ebpf.SocketFilter, Instructions: p, License: "Apache-2.0"}
}
