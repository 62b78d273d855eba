// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// The kernel lets only GPL-compatible programs ask for routes
// (bpf_fib_lookup), so the programs of this file are offered under both.

package gre

import (
	"encoding/binary"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// programLicense is what the kernel is told; see the head of this file.
const programLicense = "GPL"

// Offsets in struct __sk_buff (include/uapi/linux/bpf.h).
const (
	skbLen     = 0
	skbPktType = 4
	skbMark    = 8
	skbGSOSegs = 164
	skbGSOSize = 176
)

// Verdicts (include/uapi/linux/bpf.h, enum tcx_action_base).
const (
	tcxNext = -1
	tcxDrop = 2
)

// Flags and modes of helpers (include/uapi/linux/bpf.h).
const (
	adjRoomMAC       = 1
	adjFixedGSO      = 1 << 0
	adjEncapIPv4     = 1 << 1
	adjEncapIPv6     = 1 << 2
	adjEncapGRE      = 1 << 3
	fibSkipNeighbor  = 1 << 2
	fibMark          = 1 << 5
	startAtNetwork   = 1
	fibLen           = 64
	etherHeaderLen   = 14
	loopbackIndex    = 1 // in every namespace
	counterSent      = 0
	counterLost      = 8
	counterLen       = 16
	maxOuter         = 65535
	encapInner       = -64             // stack of the sending program: inner header,
	encapFIB         = encapInner - 64 // struct bpf_fib_lookup,
	encapHead        = encapFIB - 48   // outer headers,
	encapByte        = encapHead - 8   // one byte of the TCP header
	receiveHead      = -56             // stack of the receiving filter
	receiveHeadBytes = 52
)

// sendProgram encapsulates what leaves the TUN, before it is queued there, and
// hands it to the device the route to the far end says, whole: a segment of
// 64 KB stays one packet until the hardware, or the last moment before it,
// takes it apart. What it does not want goes on to the TUN and so to the
// userspace path: no route, a path that is too small, forwarding switched off.
//
// The route is asked for as the kernel itself would for a packet of its own, so
// routes and rules are obeyed at once; the neighbor is resolved by the kernel.
func sendProgram(t tgwconnect.Tunnel, counters *ebpf.Map) *ebpf.ProgramSpec {
	room := int32(t.Overhead())
	v6 := t.Remote.Is6()
	fp, ctx, class, size, l4 := asm.RFP, asm.R6, asm.R7, asm.R8, asm.R9
	var p asm.Instructions
	add := func(i ...asm.Instruction) { p = append(p, i...) }

	add(
		asm.Mov.Reg(ctx, asm.R1),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, encapInner),
		asm.Mov.Imm(asm.R4, 20),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R1, fp, encapInner, asm.Byte),
		asm.Mov.Reg(size, asm.R1),
		asm.RSh.Imm(asm.R1, 4),
		asm.StoreImm(fp, encapHead+int16(room)-4, 0, asm.Half),
		asm.JEq.Imm(asm.R1, 4, "inner4"),
		asm.JNE.Imm(asm.R1, 6, "next"),

		asm.LoadMem(class, fp, encapInner+1, asm.Byte),
		asm.RSh.Imm(class, 4),
		asm.LSh.Imm(size, 4),
		asm.And.Imm(size, 0xf0),
		asm.Or.Reg(class, size),
		asm.Mov.Imm(size, ip6Len),
		asm.LoadMem(l4, fp, encapInner+6, asm.Byte),
		asm.StoreImm(fp, encapHead+int16(room)-2, int64(beHalf(etherIPv6)), asm.Half),
		asm.Ja.Label("segment"),

		asm.And.Imm(size, 0xf).WithSymbol("inner4"),
		asm.LSh.Imm(size, 2),
		asm.LoadMem(class, fp, encapInner+1, asm.Byte),
		asm.LoadMem(l4, fp, encapInner+9, asm.Byte),
		asm.StoreImm(fp, encapHead+int16(room)-2, int64(beHalf(etherIPv4)), asm.Half),

		// How large is the largest packet on the wire? Of segmentation only
		// TCP is known here.
		asm.LoadMem(asm.R1, ctx, skbLen, asm.Word).WithSymbol("segment"),
		asm.JGT.Imm(asm.R1, maxOuter-room, "next"),
		asm.LoadMem(asm.R2, ctx, skbGSOSize, asm.Word),
		asm.JNE.Imm(asm.R2, 0, "super"),
		asm.Mov.Reg(size, asm.R1),
		asm.Ja.Label("route"),
		asm.JNE.Imm(l4, unix.IPPROTO_TCP, "next").WithSymbol("super"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, size), asm.Add.Imm(asm.R2, 12), // data offset
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, encapByte),
		asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R1, fp, encapByte, asm.Byte),
		asm.RSh.Imm(asm.R1, 4),
		asm.LSh.Imm(asm.R1, 2),
		asm.Add.Reg(size, asm.R1),
		asm.LoadMem(asm.R1, ctx, skbGSOSize, asm.Word),
		asm.Add.Reg(size, asm.R1),
		asm.JGT.Imm(size, maxOuter-room, "next"),
		asm.Add.Imm(size, room).WithSymbol("route"),
	)

	// struct bpf_fib_lookup.
	for i := int16(0); i < fibLen; i += 4 {
		add(asm.StoreImm(fp, encapFIB+i, 0, asm.Word))
	}
	family := int64(unix.AF_INET)
	if v6 {
		family = unix.AF_INET6
	}
	add(
		asm.StoreImm(fp, encapFIB, family, asm.Byte),
		asm.StoreImm(fp, encapFIB+1, unix.IPPROTO_GRE, asm.Byte),
		asm.StoreMem(fp, encapFIB+6, size, asm.Half),
		asm.StoreImm(fp, encapFIB+8, loopbackIndex, asm.Word),
	)
	p = putAddr(p, encapFIB+16, t.Local)
	p = putAddr(p, encapFIB+32, t.Remote)
	flags := int32(fibSkipNeighbor)
	if t.Mark != 0 {
		flags |= fibMark
		add(asm.StoreImm(fp, encapFIB+52, int64(int32(t.Mark)), asm.Word))
	}
	if v6 {
		add(
			asm.Mov.Reg(asm.R1, class), asm.LSh.Imm(asm.R1, 20),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(fp, encapFIB+12, asm.R1, asm.Word),
		)
	} else {
		add(asm.StoreMem(fp, encapFIB+12, class, asm.Byte))
	}
	add(
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, encapFIB),
		asm.Mov.Imm(asm.R3, fibLen),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnFibLookup.Call(),
		asm.JNE.Imm(asm.R0, 0, "next"),
		asm.LoadMem(size, ctx, skbLen, asm.Word),
		asm.Add.Imm(size, room),
		// Counted before the packet is touched: it says later how many.
		asm.LoadMem(l4, ctx, skbGSOSegs, asm.Word),
		asm.JNE.Imm(l4, 0, "counted"),
		asm.Mov.Imm(l4, 1),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("counted"),
	)
	encap := int32(adjFixedGSO | adjEncapGRE)
	if v6 {
		encap |= adjEncapIPv6
		p = outerHead6(p, t)
	} else {
		encap |= adjEncapIPv4
		p = outerHead4(p, t)
	}
	add(
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, room),
		asm.Mov.Imm(asm.R3, adjRoomMAC),
		asm.Mov.Imm(asm.R4, encap),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "next"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, encapHead),
		asm.Mov.Imm(asm.R4, room),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		// The redirection takes an Ethernet header away; a TUN has none.
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, etherHeaderLen),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkbChangeHead.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm32(asm.R1, int32(t.Mark)),
		asm.StoreMem(ctx, skbMark, asm.R1, asm.Word),
		asm.LoadMapValue(asm.R1, counters.FD(), counterSent),
		asm.AddAtomic.Mem(asm.R1, l4, asm.DWord, 0),
		// Without a next hop of ours, so that the kernel gives the packet the
		// outer route: with the inner one it would forget the Ethernet header
		// of a packet that waits for its neighbor (net/core/neighbour.c,
		// neigh_update).
		asm.LoadMem(asm.R1, fp, encapFIB+8, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRedirectNeigh.Call(),
		asm.Return(),

		asm.LoadMapValue(asm.R1, counters.FD(), counterLost).WithSymbol("drop"),
		asm.AddAtomic.Mem(asm.R1, l4, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "wgbgp_gre_send", Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, Instructions: p, License: programLicense}
}

// outerHead4 writes the outer IPv4 header for R8 bytes in all and the traffic
// class R7: that of putOuter4, with its checksum.
func outerHead4(p asm.Instructions, t tgwconnect.Tunnel) asm.Instructions {
	var head [outerLen]byte
	putOuter4(head[:], t.Local.As4(), t.Remote.As4(), ttlOf(t))
	for i := int16(0); i < outerLen; i += 4 {
		p = append(p, asm.StoreImm(asm.RFP, encapHead+i, int64(int32(binary.NativeEndian.Uint32(head[i:]))), asm.Word))
	}
	return append(p,
		asm.StoreMem(asm.RFP, encapHead+1, asm.R7, asm.Byte),
		asm.Mov.Imm(asm.R1, int32(internetSum(head[:]))),
		asm.Add.Reg(asm.R1, asm.R7),
		asm.Add.Reg(asm.R1, asm.R8),
		asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 16), asm.And.Imm(asm.R1, 0xffff), asm.Add.Reg(asm.R1, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 16), asm.And.Imm(asm.R1, 0xffff), asm.Add.Reg(asm.R1, asm.R2),
		asm.Xor.Imm(asm.R1, 0xffff),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, encapHead+10, asm.R1, asm.Half),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, encapHead+2, asm.R1, asm.Half),
	)
}

// outerHead6 is outerHead4 for IPv6.
func outerHead6(p asm.Instructions, t tgwconnect.Tunnel) asm.Instructions {
	var head [ip6Len]byte
	putOuter6(head[:], t.Local.As16(), t.Remote.As16(), ttlOf(t))
	for i := int16(0); i < ip6Len; i += 4 {
		p = append(p, asm.StoreImm(asm.RFP, encapHead+i, int64(int32(binary.NativeEndian.Uint32(head[i:]))), asm.Word))
	}
	return append(p,
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.LSh.Imm(asm.R1, 20),
		asm.Or.Imm(asm.R1, 0x60000000),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, encapHead, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Sub.Imm(asm.R1, ip6Len),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, encapHead+4, asm.R1, asm.Half),
	)
}

// putAddr stores an address on the stack.
func putAddr(p asm.Instructions, at int16, a netip.Addr) asm.Instructions {
	b := a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		p = append(p, asm.StoreImm(asm.RFP, at+int16(i), int64(int32(binary.NativeEndian.Uint32(b[i:]))), asm.Word))
	}
	return p
}

// beHalf is v in network byte order, as a number of this machine.
func beHalf(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// beWord is beHalf for 32 bits, sign-extended as BPF immediates are.
func beWord(v uint32) int32 {
	return int32(binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, v)))
}
