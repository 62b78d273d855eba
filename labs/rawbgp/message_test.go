package rawbgp

import (
	"net/netip"
	"slices"
	"testing"
)

func TestUpdateIsReadBackAsWritten(t *testing.T) {
	a, b := netip.MustParsePrefix("10.66.0.0/15"), netip.MustParsePrefix("192.0.2.128/25")
	m := Announce([]uint32{65101, 4200000001}, netip.MustParseAddr("192.0.2.1"), 7, nil, a, b)
	if gone, there, err := ReadUpdate(m[HeaderLen:]); err != nil || len(gone) != 0 || !slices.Equal(there, []netip.Prefix{a, b}) {
		t.Errorf("announcement: got %v, %v, %v, want nothing withdrawn, %v announced", gone, there, err, []netip.Prefix{a, b})
	}
	m = Withdraw(a)
	if gone, there, err := ReadUpdate(m[HeaderLen:]); err != nil || !slices.Equal(gone, []netip.Prefix{a}) || len(there) != 0 {
		t.Errorf("withdrawal: got %v, %v, %v, want %v withdrawn", gone, there, err, a)
	}
}

func TestBrokenUpdatesAreErrors(t *testing.T) {
	for name, body := range map[string][]byte{
		"empty": nil, "withdrawn beyond the end": {0, 9, 0, 0}, "attributes beyond the end": {0, 0, 0, 1},
		"prefix too long": {0, 0, 0, 0, 33, 1, 2, 3, 4, 5}, "prefix cut": {0, 0, 0, 0, 24, 1, 2},
	} {
		if _, _, err := ReadUpdate(body); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
