package gre

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// Golden packets, written out by hand from RFC 2784 2 and RFC 791/8200.
var (
	inner4 = unhex("4500001c00014000400100000a0000010a00000208000000" + "00010001")
	inner6 = unhex("6000000000003b40fd000000000000000000000000000001fd000000000000000000000000000002")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestReceivedGREHeaders(t *testing.T) {
	withSum := cat(unhex("8000080000000000"), inner4)
	binary.BigEndian.PutUint16(withSum[4:], ^internetSum(withSum))
	wrongSum := bytes.Clone(withSum)
	wrongSum[5] ^= 1
	for _, c := range []struct {
		name  string
		p     []byte
		inner []byte
		why   refusal
	}{
		{"bare header with IPv4", cat(unhex("00000800"), inner4), inner4, accepted},
		{"bare header with IPv6", cat(unhex("000086dd"), inner6), inner6, accepted},
		{"bits 6 to 12 are ignored", cat(unhex("03f80800"), inner4), inner4, accepted},
		{"right checksum", withSum, inner4, accepted},
		{"wrong checksum", wrongSum, nil, refuseSum},
		{"checksum bit without the field", unhex("80000800"), nil, refuseShort},
		{"routing bit", cat(unhex("40000800"), inner4), nil, refuseBits},
		{"key", cat(unhex("2000080000000001"), inner4), nil, refuseBits},
		{"sequence number", cat(unhex("1000080000000001"), inner4), nil, refuseBits},
		{"strict source route bit", cat(unhex("08000800"), inner4), nil, refuseBits},
		{"bit 5", cat(unhex("04000800"), inner4), nil, refuseBits},
		{"version 1", cat(unhex("00010800"), inner4), nil, refuseVersion},
		{"nothing", nil, nil, refuseShort},
		{"three bytes", unhex("000008"), nil, refuseShort},
		{"no payload", unhex("00000800"), nil, refuseShort},
		{"ethernet payload", cat(unhex("00006558"), inner4), nil, refusePayload},
		{"keepalive", unhex("00000000"), nil, refusePayload},
		{"IPv6 said to be IPv4", cat(unhex("00000800"), inner6), nil, refusePayload},
		{"IPv4 said to be IPv6", cat(unhex("000086dd"), inner4, inner4), nil, refusePayload},
		{"IPv4 longer than the packet", cat(unhex("00000800"), inner4[:24]), nil, refuseShort},
		{"IPv6 header cut", cat(unhex("000086dd"), inner6[:39]), nil, refuseShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner, why := parseGRE(c.p)
			if why != c.why {
				t.Fatalf("got %q, want %q", why, c.why)
			}
			if why == accepted && !bytes.Equal(inner, c.inner) {
				t.Errorf("inner packet: got %x, want %x", inner, c.inner)
			}
		})
	}
}

func TestOuterHeadersAreByteForByteThoseOfTheRFCs(t *testing.T) {
	b := cat(make([]byte, headLen), inner4)
	putOuter4(b, [4]byte{192, 0, 2, 1}, [4]byte{192, 0, 2, 2}, 64)
	putGRE(b[outerLen:], etherIPv4)
	setOuter4(b, 0xb9)
	want := cat(unhex("45b9003400004000402f0000"+"c0000201"+"c0000202"+"00000800"), inner4)
	if !bytes.Equal(b, want) {
		t.Errorf("IPv4:\n got %x\nwant %x", b, want)
	}
	b = cat(make([]byte, ip6Len+greLen), inner6)
	var src, dst [16]byte
	src[0], src[15], dst[0], dst[15] = 0xfd, 1, 0xfd, 2
	putOuter6(b, src, dst, 64)
	putGRE(b[ip6Len:], etherIPv6)
	setOuter6(b, 0xb9)
	want = cat(unhex("6b900000002c2f40"), src[:], dst[:], unhex("000086dd"), inner6)
	if !bytes.Equal(b, want) {
		t.Errorf("IPv6:\n got %x\nwant %x", b, want)
	}
}

// RFC 6040 4.2, figure 4, rows of the outer header CE.
func TestCongestionMarkReachesTheInnerPacket(t *testing.T) {
	for _, c := range []struct {
		inner, outer, want byte
		deliver            bool
	}{{0, 3, 0, false}, {1, 3, 3, true}, {2, 3, 3, true}, {3, 3, 3, true}, {2, 0, 2, true}, {0, 0, 0, true}} {
		for _, p := range [][]byte{bytes.Clone(inner4), bytes.Clone(inner6)} {
			if p[0]>>4 == 4 {
				p[1] = c.inner
				binary.BigEndian.PutUint16(p[10:], 0)
				binary.BigEndian.PutUint16(p[10:], ^internetSum(p[:20]))
			} else {
				p[1] = c.inner << 4
			}
			if got := markECN(p, c.outer); got != c.deliver {
				t.Errorf("inner %d outer %d: delivered %v, want %v", c.inner, c.outer, got, c.deliver)
			}
			if got := trafficClass(p) & ecnMask; c.deliver && got != c.want {
				t.Errorf("inner %d outer %d: got %d, want %d", c.inner, c.outer, got, c.want)
			}
			if p[0]>>4 == 4 && internetSum(p[:20]) != 0xffff {
				t.Errorf("inner %d outer %d: header checksum is wrong", c.inner, c.outer)
			}
		}
	}
}

func FuzzParseGRE(f *testing.F) {
	f.Add(cat(unhex("00000800"), inner4), byte(3))
	f.Add(cat(unhex("000086dd"), inner6), byte(0))
	f.Add(unhex("80000800ffff0000"), byte(1))
	f.Add(unhex("2000880b"), byte(2))
	f.Fuzz(func(t *testing.T, p []byte, class byte) {
		inner, why := parseGRE(bytes.Clone(p))
		if why != accepted {
			if inner != nil && why < refuseShort {
				t.Fatalf("refused as %q but returned %x", why, inner)
			}
			return
		}
		if et, ok := etherTypeOf(inner); !ok || et != binary.BigEndian.Uint16(p[2:]) {
			t.Fatalf("accepted %x as %x", inner, p[2:4])
		}
		if p[0]&0x7c != 0 || p[1]&7 != 0 {
			t.Fatalf("accepted flags %x", p[:2])
		}
		if !bytes.HasSuffix(p, inner) {
			t.Fatal("inner packet is not the end of the outer one")
		}
		markECN(inner, class)
		outer4(p)
	})
}
