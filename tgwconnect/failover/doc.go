// Package failover keeps route tables that know no BGP pointing at the host that
// carries a prefix: the edge behind tgwconnect.RouteRule. It reads before it
// writes, writes only what differs, reads again after it wrote, and asks rarely
// otherwise.
package failover
