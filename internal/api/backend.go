package api

import (
	"context"
	"net/netip"
)

// Backend is what the daemon provides. Methods may be called from many
// goroutines at once and should answer from a snapshot; ctx ends when the
// client leaves or its time-out passes. Slices must be in their one fixed
// order (by name, or by bgp.ComparePrefix) and must not be changed after they
// were returned. Errors should be *Error where the exit code matters (see
// NotFound, Refused); any other error becomes CodeFailed.
type Backend interface {
	Status(ctx context.Context) (Status, error)
	Peers(ctx context.Context) ([]Peer, error)
	Sites(ctx context.Context) ([]Site, error)
	Neighbors(ctx context.Context) ([]Neighbor, error)
	BFD(ctx context.Context) ([]BFD, error)
	Discovery(ctx context.Context) (Discovery, error)
	// AdjIn and AdjOut get the exact name of a neighbor that exists.
	AdjIn(ctx context.Context, neighbor string) (AdjIn, error)
	AdjOut(ctx context.Context, neighbor string) (AdjOut, error)
	// RIB and Routes return what q matches; nothing is not an error.
	RIB(ctx context.Context, q PrefixQuery) ([]RIBEntry, error)
	Routes(ctx context.Context, q PrefixQuery) ([]Route, error)
	Health(ctx context.Context) ([]Health, error)
	// MTU returns the chains of all sites or of one; none is not an error.
	MTU(ctx context.Context, site string) ([]MTUChain, error)
	// Explain follows one prefix, or the longest match of an address given as
	// a host prefix, through the gateway. ExplainFrom does the work from the
	// other answers.
	Explain(ctx context.Context, q ExplainQuery) (Explain, error)
	// CheckKernel compares what should be with what the kernel and the WireGuard
	// devices hold, read for this purpose. No difference is an empty list.
	CheckKernel(ctx context.Context) ([]Problem, error)
	// Events is the log the daemon publishes to; the server streams from it.
	Events() *EventLog

	// SetSite carries out an operator's order about one existing site; keep: it
	// outlives a restart of the daemon.
	SetSite(ctx context.Context, site string, disabled, keep bool) error
	// AWSRoutes lists the entries of AWS route tables that follow the sites.
	AWSRoutes(ctx context.Context) (AWSRouteList, error)
	// AWSFront is where clients find this host: target groups and DNS records.
	AWSFront(ctx context.Context) (AWSFront, error)
	// HA says who speaks for each site; Steer carries out an order about that.
	HA(ctx context.Context) (HAList, error)
	Steer(ctx context.Context, o Steer) error
	// Drain begins to take this host out of the paths of others and returns at
	// once; Undrain takes it back. Both are refused where there is nothing to do.
	Drain(ctx context.Context, o Drain) error
	Undrain(ctx context.Context) error
	// RestartCost says what a restart of the daemon would cost; Restart does it,
	// whatever it costs.
	RestartCost(ctx context.Context) (Restart, error)
	Restart(ctx context.Context) error
	// ResetNeighbor closes the session of one existing neighbor so that it
	// starts again (Cease, RFC 4486 subcode 4).
	ResetNeighbor(ctx context.Context, neighbor string) error
	// Reload reads the configuration file again, all or nothing. A report with
	// errors means that the old configuration still runs; it is not an error
	// of the call.
	Reload(ctx context.Context) (ConfigReport, error)
	// ConfigDiff says what a reload with the file at path would change.
	ConfigDiff(ctx context.Context, path string) (ConfigReport, error)
	ConfigShow(ctx context.Context) (Config, error)
}

// PrefixQuery selects prefixes. The zero value selects all.
type PrefixQuery struct {
	Prefix netip.Prefix
	// Longer selects Prefix and everything inside it; otherwise only Prefix.
	Longer bool
}

// All reports whether the query selects everything.
func (q PrefixQuery) All() bool { return !q.Prefix.IsValid() }

// Matches reports whether p is selected.
func (q PrefixQuery) Matches(p netip.Prefix) bool {
	switch {
	case q.All():
		return true
	case q.Longer:
		return p.Bits() >= q.Prefix.Bits() && p.Addr().Is4() == q.Prefix.Addr().Is4() && q.Prefix.Contains(p.Addr())
	default:
		return p == q.Prefix
	}
}

// ExplainQuery is what an operator asks about. Host is set when a bare address
// was given: then the longest matching prefix is explained.
type ExplainQuery struct {
	Prefix netip.Prefix // masked; /32 or /128 when Host
	Host   bool
}

// Text is the query as it was typed.
func (q ExplainQuery) Text() string {
	if q.Host {
		return q.Prefix.Addr().String()
	}
	return q.Prefix.String()
}

// ParseExplainQuery reads an address or a prefix.
func ParseExplainQuery(s string) (ExplainQuery, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.WithZone("").Unmap()
		return ExplainQuery{Prefix: netip.PrefixFrom(a, a.BitLen()), Host: true}, nil
	}
	p, err := ParsePrefix(s)
	return ExplainQuery{Prefix: p}, err
}

// ParsePrefix reads a prefix as operators type it: host bits are cleared, a
// bare address is a host prefix.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.WithZone("").Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, Usagef("%q is neither an address nor a prefix such as 10.1.0.0/16", s)
	}
	return p.Masked(), nil
}
