package wg

import (
	"net/netip"
	"time"
)

// Backend chooses who runs a WireGuard interface.
type Backend string

// Backends. Auto takes the kernel's where it has WireGuard, else the embedded
// userspace device.
const (
	BackendAuto      Backend = "auto"
	BackendKernel    Backend = "kernel"
	BackendUserspace Backend = "userspace"
)

// Mode says who decides where a packet for a peer goes.
type Mode string

const (
	// ModeSynced peers share an interface; allowed IPs are the FIB and are
	// kept equal to what the peer owns.
	ModeSynced Mode = "synced"
	// ModeOpen peers have an interface of their own with 0.0.0.0/0 and ::/0;
	// kernel routes decide, an nftables set replaces the source check.
	ModeOpen Mode = "open"
)

// Device is a WireGuard interface as it should be.
type Device struct {
	Name         string
	Backend      Backend
	PrivateKey   PrivateKey
	ListenPort   uint16 // 0: chosen by the system
	FirewallMark uint32 // of the outer packets; keeps them in the underlay
	MTU          int    // 0: derived from the path to each endpoint (smallest, minus 60 or 80)
	Addresses    []netip.Prefix
	VRF          string
	Mode         Mode
	SharedKey    bool   // other hosts of the fleet have PrivateKey too
	Peers        []Peer // sorted by Key
}

// Peer is one WireGuard peer as it should be.
type Peer struct {
	Name         string // site name
	Key          Key
	PresharedKey PresharedKey
	Endpoint     Endpoint       // zero: the peer finds us
	Keepalive    time.Duration  // whole seconds, 0: off
	AllowedIPs   []netip.Prefix // masked, sorted by address then length, no prefix on two peers
	// Dead permits resolving the endpoint's name again and writing the result.
	// A live peer's endpoint belongs to WireGuard's roaming and is never written.
	Dead bool
}

// Endpoint is a peer's outer address as configured: a literal or a name.
type Endpoint struct {
	Host string // IP literal or DNS name; empty: none
	Port uint16
}

// Parked is the outer address of a peer that must not be spoken to until it is
// heard again: the discard port of this host (RFC 863).
var Parked = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9)

// DeviceState is one consistent observation of an interface.
type DeviceState struct {
	Name       string
	Backend    Backend // BackendKernel or BackendUserspace
	Up         bool
	PublicKey  Key
	ListenPort uint16
	MTU        int
	At         time.Time   // when it was read, with monotonic clock
	Peers      []PeerState // sorted by Key
}

// PeerState is what WireGuard says about one peer. Counters say less than they
// seem to: see wg/probe and ha's health for what may be concluded.
type PeerState struct {
	Key      Key
	Endpoint netip.AddrPort // zero: never heard of
	// Handshake is WireGuard's last-handshake wall-clock time in nanoseconds,
	// to be used as an opaque token: only its change means something, because
	// wall clocks step. Zero: none since the peer was created.
	Handshake  int64
	Rx, Tx     uint64         // bytes, outer packets as counted by WireGuard
	AllowedIPs []netip.Prefix // sorted; nil in observations that carry counters only
}

// Applied is the WireGuard edge's report on one device: what is true now.
type Applied struct {
	Device  string
	Gen     uint64
	Backend Backend // who runs it now
	Index   int     // interface index, 0 when the interface does not exist
	MTU     int
	Err     string // the device as a whole failed; nothing below is to be trusted
	// Added lists peers that did not exist before this attempt: their counters
	// and their handshake began at zero.
	Added []Key
	// PeerErrors lists peers that could not be set, by key.
	PeerErrors map[Key]string
	// Failed lists allowed IPs that the plan wants and that are not in place.
	// Everything else wanted is in place.
	Failed map[netip.Prefix]string
	// Foreign lists peers and allowed IPs that somebody else put there.
	Foreign []Foreign // sorted
	// Problems lists what is wrong with the interface itself without stopping
	// its peers: an address that could not be set, no UAPI socket. Sorted.
	Problems []string
}

// Foreign is an entry on our device that is not ours. It is reported and left
// alone until adopted.
type Foreign struct {
	Key       Key
	AllowedIP netip.Prefix // zero: the peer itself is foreign
}
