package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// world is an account in miniature: objects appear after a look or two, live
// through their states, and calls can get lost. Behaviours are those of
// labs/tgwsim, which says where each is known from.
type world struct {
	mu       sync.Mutex
	calls    int
	at       func(call int) // hears of every call before it is carried out
	lose     map[int]bool   // calls that are carried out and whose answer is lost
	shared   bool           // two peers may share a TGW address
	filters  string         // "", "ignored", or the code that refuses tag filters
	tagged   bool           // a peer may be made only with our tag
	connects []*object[tgwconnect.Connect]
	peers    []*object[tgwconnect.Peer]
	dryRuns  int
	made     int
	touched  []string // foreign objects that were changed
	routes   []tgwconnect.TGWRoute
}

// object is something with the number of looks until its next state.
type object[T any] struct {
	v    T
	wait int
}

type awsError string

func (e awsError) Error() string { return "api: " + string(e) }

var errLost = errors.New("connection reset by peer")

func newWorld() *world {
	w := &world{shared: true, lose: map[int]bool{}, at: func(int) {}}
	w.connects = []*object[tgwconnect.Connect]{{v: tgwconnect.Connect{ID: "tgw-attach-foreign", TransitGatewayID: "tgw-1", State: "available"}}}
	w.peers = []*object[tgwconnect.Peer]{{v: tgwconnect.Peer{
		ID: "tgw-connect-peer-foreign", AttachmentID: "tgw-attach-foreign", State: "available",
		Inside4: netip.MustParsePrefix("169.254.255.0/29"), Tags: tgwconnect.Tags{TagKey: "another-run"},
	}}}
	return w
}

// enter counts a call. A call under an ended context does nothing.
func (w *world) enter(ctx context.Context) (lost bool, err error) {
	w.mu.Lock()
	w.calls++
	n := w.calls
	w.mu.Unlock()
	w.at(n)
	w.mu.Lock()
	if w.lose[n] {
		return true, nil // carried out, whatever becomes of who asked
	}
	return false, ctx.Err()
}

func answer[T any](v T, lost bool, err error) (T, error) {
	if lost {
		var none T
		return none, errLost
	}
	return v, err
}

func (w *world) Code(err error) string {
	var e awsError
	errors.As(err, &e)
	return string(e)
}

func (w *world) Attachment(ctx context.Context, id string) (tgwconnect.Attachment, error) {
	_, err := w.enter(ctx)
	defer w.mu.Unlock()
	return tgwconnect.Attachment{ID: id, TransitGatewayID: "tgw-1", ResourceType: "vpc", State: "available", RouteTableID: "tgw-rtb-1"}, err
}

func (w *world) TransitGateway(ctx context.Context, id string) (tgwconnect.TransitGateway, error) {
	_, err := w.enter(ctx)
	defer w.mu.Unlock()
	return tgwconnect.TransitGateway{ID: id, ASN: 64512, CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, err
}

func (w *world) Connects(ctx context.Context, _ string) ([]tgwconnect.Connect, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	var out []tgwconnect.Connect
	for _, o := range w.connects {
		if o.step(&o.v.State) {
			out = append(out, o.v)
		}
	}
	return answer(out, lost, err)
}

// step moves an object on and reports whether it is visible.
func (o *object[T]) step(state *string) bool {
	if o.wait > 0 {
		o.wait--
		return *state != "pending" || o.wait == 0
	}
	switch *state {
	case "pending":
		*state = "available"
	case "deleting":
		*state = "deleted"
	}
	return true
}

func (w *world) Peers(ctx context.Context, attachment string) ([]tgwconnect.Peer, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	var out []tgwconnect.Peer
	for _, o := range w.peers {
		if o.v.AttachmentID == attachment && o.step(&o.v.State) {
			out = append(out, o.v)
		}
	}
	return answer(out, lost, err)
}

func (w *world) PeersByTag(ctx context.Context, key, value string) ([]tgwconnect.Peer, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	var out []tgwconnect.Peer
	if w.filters != "" && w.filters != "ignored" {
		return nil, awsError(w.filters)
	}
	for _, o := range w.peers {
		if w.filters == "ignored" || o.v.Tags[key] == value {
			out = append(out, o.v)
		}
	}
	return answer(out, lost, err)
}

func (w *world) id(kind string) string {
	w.made++
	return fmt.Sprintf("%s-%d", kind, w.made)
}

func (w *world) CreateConnect(ctx context.Context, transport string, tags tgwconnect.Tags) (tgwconnect.Connect, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	if err != nil {
		return tgwconnect.Connect{}, err
	}
	c := tgwconnect.Connect{ID: w.id("tgw-attach"), TransportID: transport, TransitGatewayID: "tgw-1", State: "pending", Tags: tags}
	w.connects = append(w.connects, &object[tgwconnect.Connect]{v: c, wait: 2})
	return answer(c, lost, nil)
}

func (w *world) CreatePeer(ctx context.Context, s tgwconnect.NewPeer) (tgwconnect.Peer, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	switch {
	case err != nil:
		return tgwconnect.Peer{}, err
	case w.tagged && s.Tags[TagKey] == "":
		return tgwconnect.Peer{}, awsError("UnauthorizedOperation")
	case s.DryRun:
		w.dryRuns++
		return answer(tgwconnect.Peer{}, lost, nil)
	}
	if !s.TransitGatewayAddress.IsValid() {
		s.TransitGatewayAddress = netip.MustParseAddr("192.0.2.5")
	}
	for _, o := range w.peers {
		if o.v.State != "deleted" && o.v.TransitGatewayAddress == s.TransitGatewayAddress && !w.shared {
			return tgwconnect.Peer{}, awsError("InvalidParameterValue")
		}
	}
	p := tgwconnect.Peer{
		ID: w.id("tgw-connect-peer"), AttachmentID: s.AttachmentID, State: "pending", PeerAddress: s.PeerAddress,
		TransitGatewayAddress: s.TransitGatewayAddress, Inside4: s.Inside4, Tags: s.Tags,
	}
	w.peers = append(w.peers, &object[tgwconnect.Peer]{v: p, wait: 2})
	return answer(p, lost, nil)
}

func (w *world) DeletePeer(ctx context.Context, id string) error {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	for _, o := range w.peers {
		if o.v.ID == id {
			return w.drop(id, o.v.Tags, &o.v.State, &o.wait, lost)
		}
	}
	return awsError("InvalidTransitGatewayConnectPeerID.NotFound")
}

func (w *world) DeleteConnect(ctx context.Context, id string) error {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	for _, o := range w.peers {
		if o.v.AttachmentID == id && o.v.State != "deleted" {
			return awsError("DependencyViolation")
		}
	}
	for _, o := range w.connects {
		if o.v.ID == id {
			return w.drop(id, o.v.Tags, &o.v.State, &o.wait, lost)
		}
	}
	return awsError("InvalidTransitGatewayAttachmentID.NotFound")
}

func (w *world) drop(id string, tags tgwconnect.Tags, state *string, wait *int, lost bool) error {
	if tags[TagKey] != "run-1" {
		w.touched = append(w.touched, id)
	}
	if *state != "available" {
		return awsError("IncorrectState")
	}
	*state, *wait = "deleting", 2
	_, err := answer(0, lost, nil)
	return err
}

func (w *world) Routes(ctx context.Context, _ string) ([]tgwconnect.TGWRoute, error) {
	lost, err := w.enter(ctx)
	defer w.mu.Unlock()
	return answer(w.routes, lost, err)
}

// left are the objects of the run that still cost something.
func (w *world) left() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.connects {
		if o.v.Tags[TagKey] == "run-1" && o.v.State != "deleted" {
			out = append(out, o.v.ID)
		}
	}
	for _, o := range w.peers {
		if o.v.Tags[TagKey] == "run-1" && o.v.State != "deleted" {
			out = append(out, o.v.ID)
		}
	}
	return out
}

// gateway is a daemon whose site the world's route table has while it is announced.
type gateway struct {
	w        *world
	sessions []Session
	orders   []bool
}

func (g *gateway) Sessions(context.Context) ([]Session, error) { return g.sessions, nil }

func (g *gateway) SitePrefixes(context.Context, string) ([]netip.Prefix, error) {
	return []netip.Prefix{netip.MustParsePrefix("10.101.0.0/16")}, nil
}

func (g *gateway) SetSite(_ context.Context, _ string, disabled bool) error {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	g.orders = append(g.orders, disabled)
	if g.w.routes = nil; !disabled {
		g.w.routes = []tgwconnect.TGWRoute{{Prefix: netip.MustParsePrefix("10.101.0.0/16"), Type: "propagated"}}
	}
	return nil
}

func options() Options {
	return Options{
		Run: "run-1", Region: "eu-central-1", Transport: "tgw-attach-vpc", PeerASN: 65010,
		PeerAddresses: [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")},
		Budget:        20 * time.Second, Clean: 20 * time.Second, Poll: 50 * time.Microsecond,
	}
}
