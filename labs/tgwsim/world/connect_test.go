package world

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// testWorld is an example whose clock the test moves.
type testWorld struct {
	*World
	*Names
	at time.Time
}

func example(o ExampleOptions) *testWorld {
	t := &testWorld{at: time.Unix(1_800_000_000, 0)}
	t.World, t.Names = Example("us-east-1", func() time.Time { return t.at }, o)
	return t
}

// want checks an error's code; "" is none.
func want(t *testing.T, what string, err error, code string) {
	t.Helper()
	var e *Error
	switch {
	case err == nil && code != "":
		t.Errorf("%s: no error, want %s", what, code)
	case err != nil && (!errors.As(err, &e) || e.Code != code):
		t.Errorf("%s: %v, want code %q", what, err, code)
	}
}

func blocks(texts ...string) (ps []netip.Prefix) {
	for _, s := range texts {
		ps = append(ps, prefix(s))
	}
	return ps
}

func TestInsideBlocksOfConnectPeers(t *testing.T) {
	const refused = "InvalidParameterValue"
	for _, c := range []struct {
		inside []netip.Prefix
		code   string
	}{
		{blocks("169.254.200.0/29"), ""},
		{blocks("169.254.200.0/29", "fd00:9::/125"), ""},
		{blocks("fd00:9::/125", "169.254.200.0/29"), ""},
		{blocks("169.254.6.0/29"), ""},
		{blocks(), refused},
		{blocks("fd00:9::/125"), refused},
		{blocks("169.254.200.0/28"), refused},
		{blocks("169.254.200.0/30"), refused},
		{blocks("169.254.200.4/29"), refused},
		{blocks("10.9.9.0/29"), refused},
		{blocks("169.254.200.0/29", "169.254.201.0/29"), refused},
		{blocks("169.254.200.0/29", "2001:db8::/125"), refused},
		{blocks("169.254.200.0/29", "fd00:9::/124"), refused},
		{blocks("169.254.200.0/29", "fd00:9::/125", "fd00:a::/125"), refused},
		{blocks("169.254.0.0/29"), refused},
		{blocks("169.254.5.0/29"), refused},
		{blocks("169.254.169.248/29"), refused},
		{blocks("169.254.100.0/29"), refused}, // of the first peer
		{blocks("169.254.200.0/29", "fd00:100::/125"), refused},
	} {
		w := example(ExampleOptions{Gateways: 1, IPv6: true})
		_, err := w.CreateConnectPeer(NewConnectPeer{AttachmentID: w.Connect, PeerAddress: netip.MustParseAddr("10.0.0.99"), Inside: c.inside})
		want(t, fmt.Sprint(c.inside), err, c.code)
	}
}

func TestOuterAddressesOfConnectPeers(t *testing.T) {
	for _, c := range []struct {
		peer, tgw string
		want      string // the address, or a code
	}{
		{"10.0.0.99", "", "192.0.2.2"}, // .1 is the first peer's
		{"10.0.0.99", "192.0.2.200", "192.0.2.200"},
		{"10.0.0.99", "192.0.2.1", "InvalidParameterValue"},
		{"10.0.0.99", "203.0.113.1", "InvalidParameterValue"},
		{"10.0.0.99", "2001:db8:77::1", "InvalidParameterValue"},
		{"2001:db8::9", "192.0.2.9", "InvalidParameterValue"},
		{"2001:db8::9", "2001:db8:77::9", "2001:db8:77::9"},
		{"2001:db8::9", "", "2001:db8:77::1"},
	} {
		w := example(ExampleOptions{Gateways: 1})
		w.Do(func(s *State) {
			g := s.TransitGateways[w.TransitGateway]
			g.CIDRBlocks = append(g.CIDRBlocks, prefix("2001:db8:77::/64"))
		})
		n := NewConnectPeer{AttachmentID: w.Connect, PeerAddress: netip.MustParseAddr(c.peer), Inside: blocks("169.254.200.0/29")}
		if c.tgw != "" {
			n.TransitGatewayAddress = netip.MustParseAddr(c.tgw)
		}
		id, err := w.CreateConnectPeer(n)
		var e *Error
		got := ""
		if errors.As(err, &e) {
			got = e.Code
		} else {
			got = w.Snapshot().ConnectPeers[id].TransitGatewayAddress.String()
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c, got, c.want)
		}
	}
	none := example(ExampleOptions{Gateways: 1})
	_, err := none.CreateConnectPeer(NewConnectPeer{AttachmentID: none.Connect, PeerAddress: netip.MustParseAddr("2001:db8::9"), Inside: blocks("169.254.200.0/29")})
	want(t, "a TGW without IPv6 block", err, "InsufficientFreeAddresses")
}

func TestConnectPeersAreFourAndTheirASNIsTheTGWsUnlessGiven(t *testing.T) {
	w := example(ExampleOptions{Gateways: 3})
	create := func(i int) (string, error) {
		return w.CreateConnectPeer(NewConnectPeer{AttachmentID: w.Connect, PeerAddress: netip.MustParseAddr("10.0.0.99"), Inside: blocks(fmt.Sprintf("169.254.200.%d/29", 8*i))})
	}
	id, err := create(0)
	want(t, "the fourth peer", err, "")
	if asn := w.Snapshot().ConnectPeers[id].ASN; asn != 64512 {
		t.Errorf("an omitted ASN is %d, want the TGW's 64512", asn)
	}
	_, err = create(1)
	want(t, "the fifth peer", err, "TransitGatewayConnectPeerLimitExceeded")
	want(t, "delete one", w.DeleteConnectPeer(id), "")
	_, err = create(1)
	want(t, "another after it has gone", err, "")
}

func TestWhatConnectNeeds(t *testing.T) {
	w := example(ExampleOptions{})
	_, err := w.CreateConnect(w.Connect, nil)
	want(t, "Connect on Connect", err, "InvalidParameterValue")
	_, err = w.CreateConnect("tgw-attach-no", nil)
	want(t, "Connect on nothing", err, "InvalidTransitGatewayAttachmentID.NotFound")
	// No token, no natural key: twice makes two.
	first, err := w.CreateConnect(w.VPCAttachment, nil)
	want(t, "one", err, "")
	second, err := w.CreateConnect(w.VPCAttachment, nil)
	want(t, "the same again", err, "")
	if first == second {
		t.Error("two creations made one attachment")
	}
	a := w.Snapshot().Attachments[first]
	if a.TableID != w.Table || a.Association.State != "associated" || a.Propagations[w.Table].State != "enabled" {
		t.Errorf("a new attachment has not joined the default tables: %+v", a)
	}
	w.Do(func(s *State) { s.TransitGateways[w.TransitGateway].Encryption = "enabled" })
	_, err = w.CreateConnect(w.VPCAttachment, nil)
	want(t, "with Encryption Support", err, "UnsupportedOperation")
	w.Do(func(s *State) {
		s.TransitGateways[w.TransitGateway].Encryption = "disabled"
		s.Attachments[w.VPCAttachment].State = "modifying"
	})
	_, err = w.CreateConnect(w.VPCAttachment, nil)
	want(t, "on an attachment that is being modified", err, "IncorrectState")
	want(t, "delete with peers", w.DeleteConnect(w.Connect), "DependencyViolation")
	want(t, "delete a VPC attachment as Connect", w.DeleteConnect(w.VPCAttachment), "InvalidTransitGatewayAttachmentID.NotFound")
}

func TestTransitGatewayBlocks(t *testing.T) {
	const refused = "InvalidParameterValue"
	for _, c := range []struct {
		change TransitGatewayChange
		code   string
	}{
		{TransitGatewayChange{AddBlocks: blocks("198.51.100.0/24")}, ""},
		{TransitGatewayChange{AddBlocks: blocks("2001:db8:77::/64")}, ""},
		{TransitGatewayChange{AddBlocks: blocks("198.51.100.0/25")}, refused},
		{TransitGatewayChange{AddBlocks: blocks("2001:db8:77::/65")}, refused},
		{TransitGatewayChange{AddBlocks: blocks("169.254.7.0/24")}, refused},
		{TransitGatewayChange{AddBlocks: blocks("10.0.7.0/24")}, refused},  // in the VPC
		{TransitGatewayChange{AddBlocks: blocks("192.0.2.0/24")}, refused}, // twice
		{TransitGatewayChange{RemoveBlocks: blocks("198.51.100.0/24")}, refused},
		{TransitGatewayChange{RemoveBlocks: blocks("192.0.2.0/24")}, "DependencyViolation"}, // peers use it
		{TransitGatewayChange{AddBlocks: blocks("198.18.0.0/24", "198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24")}, ""},
		{TransitGatewayChange{AddBlocks: blocks("198.18.0.0/24", "198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24", "198.18.4.0/24")}, "TransitGatewayCidrBlockLimitExceeded"},
		{TransitGatewayChange{ASN: new(uint32(64999))}, "IncorrectState"},
		{TransitGatewayChange{Encryption: new(true)}, "UnsupportedOperation"},
		{TransitGatewayChange{DefaultAssociation: new("tgw-rtb-no")}, "InvalidRouteTableID.NotFound"},
		{TransitGatewayChange{DefaultAssociation: new("")}, ""},
	} {
		w := example(ExampleOptions{})
		before := slices.Clone(w.Snapshot().TransitGateways[w.TransitGateway].CIDRBlocks)
		err := w.ModifyTransitGateway(w.TransitGateway, c.change)
		want(t, fmt.Sprintf("%+v", c.change), err, c.code)
		after := w.Snapshot().TransitGateways[w.TransitGateway].CIDRBlocks
		if c.code != "" && !slices.Equal(before, after) {
			t.Errorf("%+v: refused, and yet the blocks are %v", c.change, after)
		}
	}
	w := example(ExampleOptions{})
	w.Do(func(s *State) { s.Delays.Modify = time.Second })
	want(t, "modify", w.ModifyTransitGateway(w.TransitGateway, TransitGatewayChange{AddBlocks: blocks("198.18.0.0/24")}), "")
	want(t, "modify again at once", w.ModifyTransitGateway(w.TransitGateway, TransitGatewayChange{}), "IncorrectState")
	w.at = w.at.Add(time.Second)
	want(t, "modify later", w.ModifyTransitGateway(w.TransitGateway, TransitGatewayChange{}), "")
}
