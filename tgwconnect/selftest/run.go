package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Options say what a run may use.
type Options struct {
	Run       string // unique name, the value of TagKey
	Region    string
	Version   string // of this program
	Transport string // id of an existing VPC attachment, which is only read
	DryRun    bool   // do nothing but read, and say what would be done
	// Leftovers: ask nothing, and delete what earlier runs of any name have left
	// behind, because they were killed.
	Leftovers bool
	// PeerASN of the Connect peers; it must differ from the Transit Gateway's.
	PeerASN uint32
	// PeerAddresses are the two outer addresses of the Connect peers. Nothing
	// answers there.
	PeerAddresses [2]netip.Addr
	// Site of the daemon that may be withdrawn for some seconds, to measure how
	// long the Transit Gateway takes; "": that is not measured.
	Site   string
	Budget time.Duration // for everything but the cleaning up
	Clean  time.Duration // for the cleaning up
	Poll   time.Duration // between two looks at a state
	Daemon Daemon        // nil: there is none
	Log    func(string)  // hears of every step as it begins
}

// run is one run under way.
type run struct {
	opt    Options
	api    API
	report *Report
	tgw    tgwconnect.TransitGateway
	table  string // route table that the transport attachment is associated with
}

// Run asks the account. The report is complete whatever happens; an error of the
// run is its Error.
func Run(ctx context.Context, api API, opt Options) *Report {
	r := &run{opt: opt, api: api, report: &Report{
		Schema: Schema, Run: opt.Run, Version: opt.Version, Region: opt.Region, Transport: opt.Transport, DryRun: opt.DryRun,
		Started: time.Now().UTC(), Steps: []Step{}, Points: []Point{}, Left: []string{},
	}}
	work, cancel := context.WithTimeout(ctx, opt.Budget)
	defer cancel()
	err := r.look(work)
	switch {
	case err == nil && opt.DryRun:
		r.intend()
	case err == nil:
		if !opt.Leftovers {
			err = r.ask(work)
		}
		// The interrupt that ended the run must not end the cleaning up.
		clean, end := context.WithTimeout(context.WithoutCancel(ctx), opt.Clean)
		defer end()
		r.clean(clean)
	}
	if err != nil {
		r.report.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			r.report.Error = fmt.Sprintf("more than %s: %s", opt.Budget, err)
		}
	}
	r.report.Ended = time.Now().UTC()
	return r.report
}

// look reads what the operator named and refuses what can not work.
func (r *run) look(ctx context.Context) error {
	a, err := r.api.Attachment(ctx, r.opt.Transport)
	if err != nil {
		return fmt.Errorf("read the transport attachment: %w", err)
	}
	if a.ResourceType != "vpc" || a.State != "available" {
		return fmt.Errorf("transport attachment %s: is of type %s and %s, must be an available VPC attachment", a.ID, a.ResourceType, a.State)
	}
	if r.tgw, err = r.api.TransitGateway(ctx, a.TransitGatewayID); err != nil {
		return fmt.Errorf("read the Transit Gateway: %w", err)
	}
	r.report.TransitGateway, r.table = r.tgw.ID, a.RouteTableID
	if !slices.ContainsFunc(r.tgw.CIDRBlocks, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
		return fmt.Errorf("transit gateway %s: has no IPv4 CIDR block, which Connect needs", r.tgw.ID)
	}
	if r.tgw.ASN == r.opt.PeerASN {
		return fmt.Errorf("transit gateway %s: has ASN %d, and so have the peers: choose another --asn", r.tgw.ID, r.tgw.ASN)
	}
	return nil
}

// The steps by name, as they are done and as a dry run names them.
const (
	makeConnect   = "create a Connect attachment"
	makePeer      = "create a Connect peer"
	makeSecond    = "create a second Connect peer with the first one's TGW address"
	askTags       = "list Connect peers by a tag filter"
	askPermission = "ask (DryRun) for a Connect peer with and without our tag"
	withdrawSite  = "withdraw the site, wait until the Transit Gateway has no route, announce it again"
	dropPeer      = "delete Connect peer"
	dropConnect   = "delete Connect attachment"
)

func (r *run) intend() {
	steps := []string{makeConnect, makePeer, makeSecond, askTags, askPermission}
	if r.opt.Site != "" && r.opt.Daemon != nil {
		steps = append(steps, withdrawSite)
	}
	for _, s := range append(steps, dropPeer, dropPeer, dropConnect) {
		r.report.Steps = append(r.report.Steps, Step{What: s})
	}
}

func (r *run) ask(ctx context.Context) error {
	c, err := r.connect(ctx)
	if err != nil {
		return err
	}
	first, err := r.peer(ctx, c.ID)
	if err != nil {
		return err
	}
	for _, f := range []func(context.Context, tgwconnect.Peer) (Point, error){
		r.hold, r.overflow, r.greKey, r.sharedAddress, r.meds, r.icmp, r.permission, r.tagFilter,
	} {
		p, err := f(ctx, first)
		p.ID, p.Question = len(r.report.Points)+1, questions[len(r.report.Points)]
		if err != nil {
			p.Result, p.Answer = Failed, err.Error()
		}
		r.report.Points = append(r.report.Points, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// step does something and records it with how long it took.
func (r *run) step(what string, f func() (id string, err error)) (string, error) {
	if r.opt.Log != nil {
		r.opt.Log(what)
	}
	start := time.Now()
	id, err := f()
	s := Step{What: what, ID: id, Seconds: time.Since(start).Seconds()}
	if err != nil {
		s.Error = err.Error()
		err = fmt.Errorf("%s: %w", what, err)
	}
	r.report.Steps = append(r.report.Steps, s)
	return id, err
}

func (r *run) tags() tgwconnect.Tags { return tgwconnect.Tags{TagKey: r.opt.Run} }

func (r *run) ours(t tgwconnect.Tags) bool {
	name := t[TagKey]
	return name != "" && (name == r.opt.Run || r.opt.Leftovers)
}

// connect makes the Connect attachment and waits until it can be used. When the
// answer to the creating call is lost, the tag finds what it made.
func (r *run) connect(ctx context.Context) (tgwconnect.Connect, error) {
	var c tgwconnect.Connect
	_, err := r.step(makeConnect, func() (string, error) {
		made, err := r.api.CreateConnect(ctx, r.opt.Transport, r.tags())
		if err != nil && r.api.Code(err) != "" {
			return "", err // AWS said no
		}
		err = r.until(ctx, func() (bool, error) {
			all, err := r.api.Connects(ctx, r.tgw.ID)
			for _, x := range all {
				if r.ours(x.Tags) && (made.ID == "" || x.ID == made.ID) {
					c = x
				}
			}
			return c.State == "available" || c.State == "failed", err
		})
		if err == nil && c.State == "failed" {
			err = errors.New("its state is failed")
		}
		return c.ID, err
	})
	return c, err
}

// peer makes the first Connect peer.
func (r *run) peer(ctx context.Context, attachment string) (tgwconnect.Peer, error) {
	var p tgwconnect.Peer
	_, err := r.step(makePeer, func() (string, error) {
		inside, err := r.inside(ctx)
		if err != nil {
			return "", err
		}
		made, err := r.api.CreatePeer(ctx, r.spec(attachment, 0, inside))
		if err != nil && r.api.Code(err) != "" {
			return "", err
		}
		err = r.until(ctx, func() (bool, error) {
			all, err := r.api.Peers(ctx, attachment)
			for _, x := range all {
				if r.ours(x.Tags) && (made.ID == "" || x.ID == made.ID) {
					p = x
				}
			}
			return p.State == "available", err
		})
		return p.ID, err
	})
	return p, err
}

func (r *run) spec(attachment string, n int, inside netip.Prefix) tgwconnect.NewPeer {
	return tgwconnect.NewPeer{
		AttachmentID: attachment, PeerAddress: r.opt.PeerAddresses[n], Inside4: inside, PeerASN: r.opt.PeerASN, Tags: r.tags(),
	}
}

// inside finds a /29 that no Connect peer of the Transit Gateway has.
func (r *run) inside(ctx context.Context) (netip.Prefix, error) {
	connects, err := r.api.Connects(ctx, r.tgw.ID)
	if err != nil {
		return netip.Prefix{}, err
	}
	var taken []netip.Prefix
	for _, c := range connects {
		peers, err := r.api.Peers(ctx, c.ID)
		if err != nil {
			return netip.Prefix{}, err
		}
		for _, p := range peers {
			taken = append(taken, p.Inside4)
		}
	}
	for n := range 1 << 13 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, byte(255 - n>>5), byte(n << 3)}), 29)
		if tgwconnect.CheckInside4(p) == nil && !slices.Contains(taken, p) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no /29 of 169.254.0.0/16 is free")
}

// until looks until done, an error that AWS means, or the end of ctx. "NotFound"
// just after a create means "not yet", and an answer may get lost.
func (r *run) until(ctx context.Context, look func() (done bool, err error)) error {
	for {
		done, err := look()
		if done {
			return nil
		}
		if code := r.api.Code(err); err != nil && code != "" && !transient(code) {
			return err
		}
		if ended := r.pause(ctx); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// pause waits for the next look, or the end of ctx.
func (r *run) pause(ctx context.Context) error {
	t := time.NewTimer(r.opt.Poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
