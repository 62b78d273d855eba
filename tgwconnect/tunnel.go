package tgwconnect

import (
	"fmt"
	"net/netip"
)

// Backend chooses who runs a GRE tunnel.
type Backend string

// Backends. Auto takes the kernel's GRE where it has one, else ours.
const (
	BackendAuto      Backend = "auto"
	BackendKernel    Backend = "kernel"
	BackendUserspace Backend = "userspace"
)

// Tunnel is a GRE tunnel (RFC 2784, no key, checksum or sequence) as it should
// be. Local and Remote are of one family.
type Tunnel struct {
	Name      string // interface name
	Backend   Backend
	Local     netip.Addr     // outer source: the Connect peer's PeerAddress
	Remote    netip.Addr     // outer destination: its TransitGatewayAddress
	Addresses []netip.Prefix // our inside addresses with the length of the inside CIDR
	MTU       int            // 0: 24 (IPv4) or 44 (IPv6) below the path to Remote, at most 8476/8456
	TTL       uint8          // of outer packets, 0: 64
	Mark      uint32         // firewall mark of outer packets
	VRF       string
}

// MTU is the largest packet a Transit Gateway carries, in bytes.
// https://docs.aws.amazon.com/vpc/latest/tgw/transit-gateway-quotas.html
const MTU = 8500

// Overhead is what the tunnel puts around a packet, in bytes: an IP header without
// options and 4 of GRE.
func (t Tunnel) Overhead() int {
	if t.Remote.Is6() {
		return 44
	}
	return 24
}

// TunnelState is the edge's report on one tunnel: what is true now.
type TunnelState struct {
	Name    string
	Gen     uint64
	Backend Backend
	Index   int // interface index, 0 when it does not exist
	Up      bool
	MTU     int
	Rx, Tx  uint64 // packets since the tunnel was made
	Dropped uint64 // packets received and refused (header, checksum, key, sequence bits)
	// TxDropped counts packets that could not be sent: larger than the outer
	// path takes, no route, no local address.
	TxDropped uint64
	Err       string
}

// ConnectPeer is one TGW Connect peer: a GRE tunnel and two BGP sessions.
// https://docs.aws.amazon.com/vpc/latest/tgw/tgw-connect.html
type ConnectPeer struct {
	Name     string
	Device   string       // interface name
	Local    netip.Addr   // outer address of this host (PeerAddress)
	Remote   netip.Addr   // outer address of the TGW (TransitGatewayAddress)
	Inside4  netip.Prefix // the /29 in 169.254.0.0/16
	Inside6  netip.Prefix // the /125 in fd00::/8, invalid: no IPv6
	LocalASN uint32
	TGWASN   uint32
	MTU      int
	Backend  Backend
}

// reserved lists inside blocks AWS refuses (CONNECT page) and blocks that hold
// link-local services of EC2 instances, which a connected route would hide.
var reserved = []struct {
	p   netip.Prefix
	why string
}{
	{netip.MustParsePrefix("169.254.0.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.1.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.2.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.3.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.4.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.5.0/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.169.248/29"), "reserved by AWS"},
	{netip.MustParsePrefix("169.254.169.120/29"), "hides the Amazon time service 169.254.169.123"},
	{netip.MustParsePrefix("169.254.170.0/29"), "hides the ECS credentials service 169.254.170.2"},
	{netip.MustParsePrefix("169.254.170.16/29"), "hides the EKS pod identity service 169.254.170.23"},
	{netip.MustParsePrefix("169.254.169.254/32"), "hides the instance metadata service"},
}

// CheckInside4 says whether p can be the IPv4 inside block of a Connect peer.
func CheckInside4(p netip.Prefix) error {
	linkLocal := netip.MustParsePrefix("169.254.0.0/16")
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() != 29 || p != p.Masked() || !linkLocal.Contains(p.Addr()) {
		return fmt.Errorf("inside block %s: want a /29 of 169.254.0.0/16", p)
	}
	for _, r := range reserved {
		if p.Overlaps(r.p) {
			return fmt.Errorf("inside block %s: %s", p, r.why)
		}
	}
	return nil
}

// CheckInside6 says whether p can be the IPv6 inside block of a Connect peer.
func CheckInside6(p netip.Prefix) error {
	ula := netip.MustParsePrefix("fd00::/8")
	if !p.IsValid() || !p.Addr().Is6() || p.Bits() != 125 || p != p.Masked() || !ula.Contains(p.Addr()) {
		return fmt.Errorf("inside block %s: want a /125 of fd00::/8", p)
	}
	return nil
}

// Host returns host n of an inside block with the block's length: host 1 is
// the appliance, hosts 2 and 3 are the two TGW speakers.
func Host(p netip.Prefix, n int) netip.Prefix {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return netip.PrefixFrom(a, p.Bits())
}

// Tunnel is the GRE half of the Connect peer.
func (c ConnectPeer) Tunnel() Tunnel {
	t := Tunnel{
		Name: c.Device, Backend: c.Backend, Local: c.Local, Remote: c.Remote, MTU: c.MTU,
		Addresses: []netip.Prefix{Host(c.Inside4, 1)},
	}
	if c.Inside6.IsValid() {
		t.Addresses = append(t.Addresses, Host(c.Inside6, 1))
	}
	return t
}
