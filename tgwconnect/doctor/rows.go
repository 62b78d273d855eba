package doctor

import "fmt"

// Row is one pitfall.
type Row struct {
	Number int
	Slug   string
	Title  string // what is wrong when it is wrong
	How    string // what is read
	// Host says that it needs no AWS: it is judged from this host and its daemon.
	Host  bool
	judge func(*Facts, *tally)
}

// ID is the row's number and slug.
func (r Row) ID() string { return fmt.Sprintf("%d-%s", r.Number, r.Slug) }

// Rows are all rows, by number.
func Rows() []Row {
	return []Row{
		{1, "ibgp-trap", "The Connect peer has the TGW's own ASN (iBGP): routes that start here are never installed", "PeerAsn = TransitGatewayAsn", false, ibgpTrap},
		{2, "local-asn", "The local ASN is not the Connect peer's PeerAsn", "the daemon's session against BgpConfigurations", false, localASN},
		{3, "second-session", "One of a Connect peer's two sessions is missing or down", "BgpStatus per peer, and the daemon's sessions", false, secondSession},
		{4, "multihop-ttl", "The TTL of the session toward the TGW is less than 2", "configured TTL; TCP opens where the session does not", true, multihopTTL},
		{5, "inside-host-1", "The tunnel's inside address is not host 1 of the block", "addresses of the tunnel against InsideCidrBlocks", false, insideHost1},
		{6, "outer-addresses", "The tunnel's outer addresses are swapped or old", "local and remote of the tunnel against PeerAddress and TransitGatewayAddress", false, outerAddresses},
		{7, "peer-address-elsewhere", "PeerAddress is not on this host", "own addresses against PeerAddress", false, peerAddressElsewhere},
		{8, "gre-options", "The tunnel has a GRE key, checksum or sequence", "flags of the kernel's tunnels", true, greOptions},
		{9, "tgw-cidr-route", "The subnet's route table has no route to the TGW's CIDR block", "DescribeRouteTables of the own subnet", false, tgwCIDRRoute},
		{10, "zone-not-attached", "The VPC attachment has no subnet in the own availability zone", "SubnetIds of the VPC attachment", false, zoneNotAttached},
		{11, "group-gre", "The security group does not admit GRE (protocol 47)", "DescribeSecurityGroupRules of the own interface", false, groupGRE},
		{12, "acl-gre", "A network ACL blocks GRE (protocol 47)", "DescribeNetworkAcls of the own and the attached subnets", false, aclGRE},
		{13, "group-wireguard", "The security group does not admit WireGuard's UDP port", "DescribeSecurityGroupRules and listening ports", false, groupWireGuard},
		{14, "source-dest-check", "Source/dest check is on while packets are routed to the interface", "SourceDestCheck, and VPC routes to the own interface", false, sourceDestCheck},
		{15, "not-associated", "The Connect attachment is associated with no route table: nothing is advertised", "Association of the attachment", false, notAssociated},
		{16, "policy-table", "The Connect attachment has a policy table: the TGW advertises nothing", "TransitGatewayPolicyTableId", false, policyTable},
		{17, "no-propagation", "The Connect attachment propagates to no route table", "GetTransitGatewayAttachmentPropagations", false, noPropagation},
		{18, "prefix-loses", "An announced prefix loses to another kind of route", "the TGW route of the same prefix", false, prefixLoses},
		{19, "more-specific", "Somebody's more specific route captures an announced prefix", "TGW routes inside of it", false, moreSpecific},
		{20, "no-ecmp", "AS_PATH, ASN or MED differ between peers or hosts: no ECMP", "ASNs of all peers, own and the partner's paths", false, noECMP},
		{21, "prefix-limits", "A prefix limit is 80 % used (1,000 out, 5,000 in, 10,000 per TGW)", "the daemon's counters, TGW routes", false, prefixLimits},
		{22, "asn-shared", "Two Transit Gateways have one ASN: loop drops", "AmazonSideAsn of all Transit Gateways of the region", false, asnShared},
		{23, "encryption-support", "Encryption Support of the TGW excludes Connect", "EncryptionState", false, encryptionSupport},
		{24, "not-available", "A Connect peer or attachment is not available", "states", false, notAvailable},
		{25, "gre-mtu", "The GRE tunnel's MTU is more than the TGW carries", "MTU of tunnels and paths", true, greMTU},
		{26, "wireguard-mtu", "WireGuard's MTU is too large for the path", "MTU of the interface against the path's", true, wireguardMTU},
		{27, "fragments", "Outer packets are fragmented (1,024 fragments a second pass)", "/proc/net/snmp, pps_allowance_exceeded", true, fragments},
		{28, "no-mss-clamp", "TCP's MSS is not clamped between tunnels of different MTU", "the daemon's clamp and the kernel's filter", true, noMSSClamp},
		{29, "icmp-source", "ICMP errors would come from 169.254/16", "preferred source of learned routes", true, icmpSource},
		{30, "forwarding-off", "The kernel does not forward", "/proc/sys", true, forwardingOff},
		{31, "rp-filter", "Strict reverse path filter drops what comes back by another tunnel", "rp_filter and its counter", true, rpFilter},
		{32, "route-not-in-kernel", "A learned route is not in the kernel, or another's wins", "the daemon's comparison with the kernel", true, routeNotInKernel},
		{33, "metadata-hidden", "A route hides the instance metadata service", "lookup of 169.254.169.254", true, metadataHidden},
		{34, "inside-reserved", "The inside block is reserved or holds a service of EC2", "InsideCidrBlocks and the configuration", false, insideReserved},
		{35, "metadata-hop-limit", "The metadata service does not reach a container (hop limit 1)", "IMDSv2; MetadataOptions", false, metadataHopLimit},
		{36, "clock", "The clock is wrong", "adjtimex; handshakes in the future", true, clock},
		{37, "forwarding-dead", "WireGuard has handshakes, yet nothing comes through", "probes; counters read twice", true, forwardingDead},
		{38, "allowed-ips-overlap", "Two peers of one interface claim the same allowed IP", "allowed IPs of all peers", true, allowedIPsOverlap},
		{39, "nothing-behind", "A prefix is announced with no live peer behind it", "sites, peers and announcements", true, nothingBehind},
		{40, "lb-target", "A load balancer's target is not healthy", "DescribeTargetHealth", false, lbTarget},
		{41, "lb-fail-open", "All targets are unhealthy: the load balancer sends to all of them", "DescribeTargetHealth", false, lbFailOpen},
		{42, "lb-keys", "Targets of one load balancer have different WireGuard keys", "shared-key of the configuration", false, lbKeys},
		{43, "keepalive", "The keepalive is longer than what tracks the flow", "configuration; ConnectionTrackingConfiguration", false, keepalive},
		{44, "dead-endpoint", "A peer is pinned to a dead endpoint", "handshakes and counters of peers that are dialled", true, deadEndpoint},
		{45, "bandwidth", "A bandwidth or packet rate limit is reached", "ethtool counters read twice; 5 Gbit/s, 300,000 packets/s a tunnel", true, bandwidth},
		{46, "conntrack", "Connection tracking is nearly full", "nf_conntrack; conntrack_allowance_*", true, conntrack},
		{47, "tgw-drops", "The Transit Gateway drops packets", "CloudWatch PacketDropCount*", false, tgwDrops},
		{48, "throttling", "AWS throttles our questions", "RequestLimitExceeded of this run", false, throttling},
		{49, "permissions", "A permission is missing", "answers of this run; DryRun", false, permissions},
		{50, "hold-time", "The negotiated hold time is not the configured one", "the daemon's sessions", true, holdTime},
		{51, "restart-cuts", "A restart would cut traffic: only this host announces a prefix", "TGW routes and the partner's paths", false, restartCuts},
		{52, "route-server-rejected", "A Route Server knows a route and has not installed it", "GetRouteServerRoutingDatabase", false, routeServerRejected},
		{53, "route-server-limit", "A Route Server has nearly 100 routes", "GetRouteServerRoutingDatabase", false, routeServerLimit},
		{54, "static-beats-backup", "A static route to a peering equals an announced prefix: the backup always wins", "static TGW routes", false, staticBeats},
		{55, "underlay-moves", "A route from the TGW covers a WireGuard endpoint or the TGW's own address", "paths of the TGW's sessions; lookup of every endpoint", true, underlayMoves},
	}
}
