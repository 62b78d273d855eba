package gre

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// open makes a TCP or UDP packet whose checksum is left open.
func open(v6 bool, protocol byte, payload []byte) (p []byte, at, field int) {
	l4 := append(make([]byte, 20), payload...)
	field = 16
	if protocol == 17 {
		field = 6
	}
	pseudo := append([]byte{0, protocol}, byte(len(l4)>>8), byte(len(l4)))
	if v6 {
		p = append(unhex("60000000"+"0000"+"0040"+"fd000000000000000000000000000001"+"fd000000000000000000000000000002"), l4...)
		p[6] = protocol
		binary.BigEndian.PutUint16(p[4:], uint16(len(l4)))
		at, pseudo = 40, append(pseudo, p[8:40]...)
	} else {
		p = append(unhex("450000000000400040060000"+"a9fe6401"+"a9fe6402"), l4...)
		p[9] = protocol
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		at, pseudo = 20, append(pseudo, p[12:20]...)
	}
	binary.BigEndian.PutUint16(p[at+field:], internetSum(pseudo))
	return p, at, field
}

func TestOpenChecksumIsFinished(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, protocol := range []byte{6, 17} {
			p, at, field := open(v6, protocol, []byte("a payload of odd length"))
			pseudo := uint32(binary.BigEndian.Uint16(p[at+field:]))
			padded := append(bytes.Clone(p), 1, 2, 3) // padding is no part of it
			finishSum(padded)
			sum := pseudo + uint32(internetSum(padded[at:len(p)]))
			if sum = sum>>16 + sum&0xffff; sum != 0xffff {
				t.Errorf("IPv6 %v, protocol %d: the sum over pseudo header and segment is %#x, want 0xffff", v6, protocol, sum)
			}
			once := bytes.Clone(padded)
			if finishSum(padded); !bytes.Equal(padded, once) {
				t.Errorf("IPv6 %v, protocol %d: a finished packet was changed", v6, protocol)
			}
			p[at+field]++
			wrong := bytes.Clone(p)
			if finishSum(p); !bytes.Equal(p, wrong) {
				t.Errorf("IPv6 %v, protocol %d: a wrong checksum was made right", v6, protocol)
			}
		}
	}
}
