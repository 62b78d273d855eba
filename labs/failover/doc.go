// Package failover measures how long traffic from a Transit Gateway to a site is
// interrupted when the tunnel of one of two gateways dies, or one of the gateways
// itself: by wgbgpd, by wgbgpd without its takeover, and by FRR with BFD in its
// place. The Transit Gateway is the double of labs/tgwsim with a hold time of
// 30 s, and has no BFD, as AWS's has none.
//
// Start reading at Lab.Measure. Command labs/cmd/failover prints the table.
package failover
