package bfd

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// sample is a control packet as FRR sent it.
var sample = []byte{
	0x20, 0xc0, 3, 24, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
	0, 0x04, 0x93, 0xe0, 0, 0x04, 0x93, 0xe0, 0, 0, 0xc3, 0x50,
}

func TestPacketIsReadAndWritten(t *testing.T) {
	want := packet{
		state: up, mult: 3, my: 0x11223344, your: 0x55667788,
		minTx: 300 * time.Millisecond, minRx: 300 * time.Millisecond, echoRx: 50 * time.Millisecond,
	}
	got, err := parse(sample)
	if err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	var b [packetLen]byte
	got.put(b[:])
	if !bytes.Equal(b[:], sample) {
		t.Errorf("written %x, want %x", b, sample)
	}
}

func TestEveryBitHasItsPlace(t *testing.T) {
	for _, p := range []packet{
		{diag: bgp.BFDDiagAdminDown, state: adminDown, mult: 255, my: 1},
		{diag: 31, state: down, mult: 1, my: 1<<32 - 1},
		{state: initial, poll: true, mult: 1, my: 1, your: 2},
		{state: up, final: true, mult: 1, my: 1, your: 2, minTx: (1<<32 - 1) * time.Microsecond},
		{state: up, demand: true, controlPlaneIndep: true, mult: 1, my: 1, your: 2, minRx: time.Microsecond},
	} {
		var b [packetLen]byte
		p.put(b[:])
		if got, err := parse(b[:]); err != nil || got != p {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
	}
}

func TestIntervalsOutsideOfTheFieldAreCut(t *testing.T) {
	p := packet{state: down, mult: 1, my: 1, minTx: 2 * time.Hour, minRx: -time.Second}
	var b [packetLen]byte
	p.put(b[:])
	got, err := parse(b[:])
	if err != nil || got.minTx != (1<<32-1)*time.Microsecond || got.minRx != 0 {
		t.Errorf("got %s, %s, %v", got.minTx, got.minRx, err)
	}
}

func TestWhatTheRFCDiscardsIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(b []byte) []byte
		want error
	}{
		{"short", func(b []byte) []byte { return b[:23] }, errShort},
		{"empty", func([]byte) []byte { return nil }, errShort},
		{"version", func(b []byte) []byte { b[0] = 0x40; return b }, errVersion},
		{"length below", func(b []byte) []byte { b[3] = 23; return b }, errLength},
		{"length beyond", func(b []byte) []byte { b[3] = 25; return b }, errLength},
		{"mult", func(b []byte) []byte { b[2] = 0; return b }, errMult},
		{"multipoint", func(b []byte) []byte { b[1] |= bitMultipoint; return b }, errMultipoint},
		{"auth", func(b []byte) []byte { b[1] |= bitAuth; return b }, errAuth},
		{"poll and final", func(b []byte) []byte { b[1] |= bitPoll | bitFinal; return b }, errPollFinal},
		{"my", func(b []byte) []byte { clear(b[4:8]); return b }, errMy},
		{"your while up", func(b []byte) []byte { clear(b[8:12]); return b }, errYour},
	} {
		_, err := parse(c.edit(bytes.Clone(sample)))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := parse(append(bytes.Clone(sample), 0, 0)); err != nil {
		t.Errorf("bytes after the packet: %v, want none", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add(append(bytes.Clone(sample), 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		var again [packetLen]byte
		p.put(again[:])
		q, err := parse(again[:])
		if err != nil || q != p {
			t.Fatalf("%x reads as %+v, written as %x reads as %+v, %v", b, p, again, q, err)
		}
	})
}
