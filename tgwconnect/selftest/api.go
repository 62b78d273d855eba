package selftest

import (
	"context"
	"net/netip"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// TagKey marks what a run has made; the value is the run's name.
const TagKey = "wgbgp:selftest"

// API is what is asked of EC2, in tgwconnect's words.
type API interface {
	Attachment(ctx context.Context, id string) (tgwconnect.Attachment, error)
	TransitGateway(ctx context.Context, id string) (tgwconnect.TransitGateway, error)
	// Connects lists the Connect attachments of a Transit Gateway in any state.
	Connects(ctx context.Context, transitGatewayID string) ([]tgwconnect.Connect, error)
	// Peers lists the Connect peers of a Connect attachment in any state.
	Peers(ctx context.Context, attachmentID string) ([]tgwconnect.Peer, error)
	// PeersByTag asks with the filter "tag:KEY", which is not documented for this call.
	PeersByTag(ctx context.Context, key, value string) ([]tgwconnect.Peer, error)
	CreateConnect(ctx context.Context, transportID string, tags tgwconnect.Tags) (tgwconnect.Connect, error)
	// CreatePeer with DryRun only asks whether it may be made: no error is yes.
	CreatePeer(ctx context.Context, p tgwconnect.NewPeer) (tgwconnect.Peer, error)
	DeletePeer(ctx context.Context, id string) error
	DeleteConnect(ctx context.Context, id string) error
	// Routes lists the routes of a TGW route table.
	Routes(ctx context.Context, tableID string) ([]tgwconnect.TGWRoute, error)
	// Code is AWS's word for an error of these calls, "" for any other error.
	Code(err error) string
}

// Session is a BGP session of the daemon with a Transit Gateway.
type Session struct {
	Name             string
	LocalAddress     netip.Addr // inside
	Established      bool
	HoldTimeSeconds  int // negotiated
	Announced, Limit int // prefixes; Limit 0: none
}

// Daemon is the running wgbgpd, for what only packets can show.
type Daemon interface {
	Sessions(ctx context.Context) ([]Session, error)
	// SetSite takes the prefixes of a site back, or announces them again.
	SetSite(ctx context.Context, site string, disabled bool) error
	// SitePrefixes are the prefixes of a site that are announced.
	SitePrefixes(ctx context.Context, site string) ([]netip.Prefix, error)
}
