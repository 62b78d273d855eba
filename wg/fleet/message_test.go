package fleet

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

func TestOnlyWhoHasThePrivateKeyCanWriteAndRead(t *testing.T) {
	ours, err := newSeal(wg.NewPrivateKey([32]byte{1, 2, 3}))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newSeal(wg.NewPrivateKey([32]byte{1, 2, 4, 8}))
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("where they are")
	packet := ours.close(plain)
	if got, err := ours.open(packet); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("own packet: got %q, %v", got, err)
	}
	if bytes.Contains(packet, plain) {
		t.Error("the text can be read on the wire")
	}
	if _, err := theirs.open(packet); !errors.Is(err, errForged) {
		t.Errorf("with another key: got %v, want %v", err, errForged)
	}
	for i := range packet {
		bad := bytes.Clone(packet)
		bad[i] ^= 1
		if _, err := ours.open(bad); !errors.Is(err, errForged) {
			t.Fatalf("byte %d changed: got %v, want %v", i, err, errForged)
		}
	}
	for n := range packet {
		if _, err := ours.open(packet[:n]); !errors.Is(err, errForged) {
			t.Fatalf("cut to %d bytes: got %v, want %v", n, err, errForged)
		}
	}
}

func TestAddressesThatNobodyMaySendToAreNotBelieved(t *testing.T) {
	for _, at := range []string{
		"127.0.0.1:9", "0.0.0.0:51820", "224.0.0.1:51820", "255.255.255.255:1", "169.254.169.254:80", "192.0.2.1:0",
		"[::1]:9", "[::]:51820", "[ff02::1]:51820", "[fe80::1]:51820",
	} {
		m := entries{to: 1, list: []entry{{key: wg.Key{1}, endpoint: netip.MustParseAddrPort(at)}}}
		got, err := parseEntries(m.append(nil))
		if err != nil || len(got.list) != 1 || got.list[0].endpoint.IsValid() {
			t.Errorf("%s: got %+v, %v, want an entry without endpoint", at, got, err)
		}
	}
}

func TestEntriesSurviveTheWire(t *testing.T) {
	want := entries{from: 3, to: 9, list: []entry{
		{slot: 7, key: wg.Key{1}, endpoint: netip.MustParseAddrPort("192.0.2.1:1000"), age: 5 * time.Second},
		{slot: maxSlots - 1, key: wg.Key{2}, endpoint: netip.MustParseAddrPort("[2001:db8::1]:65535")},
		{slot: 0, key: wg.Key{3}},
	}}
	got, err := parseEntries(want.append(nil))
	if err != nil || got.from != want.from || got.to != want.to || len(got.list) != len(want.list) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range want.list {
		if got.list[i] != want.list[i] {
			t.Errorf("entry %d: got %+v, want %+v", i, got.list[i], want.list[i])
		}
	}
}

// FuzzReceive gives a link any bytes at all, as a host with the key could send:
// nothing may panic, and what it remembers stays bounded.
func FuzzReceive(f *testing.F) {
	a, b := newLink(start), newLink(start.Add(1))
	a.them, b.them = b.me, a.me
	m := entries{to: 2, list: []entry{{slot: 1, key: wg.Key{1}, endpoint: netip.MustParseAddrPort("192.0.2.1:1000")}}}
	f.Add(m.append(a.head(kindEntries)))
	n := beat{have: 1, poll: time.Second, first: 8, heard: []byte{1, 2, 255}}
	f.Add(n.append(a.head(kindBeat)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		b := newLink(start.Add(1))
		b.them = a.me
		b.slots = []wg.Key{{1}, {2}}
		_ = b.receive(start.Add(time.Second), packet, 5)
		if len(b.slots) > maxSlots || len(b.known) > len(packet) || b.acked > 5 {
			t.Errorf("slots %d, known %d, acked %d of 5", len(b.slots), len(b.known), b.acked)
		}
		b.roster(start.Add(time.Second), "a", "wg0")
	})
}
