package selftest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// questions are the open points, in order.
var questions = []string{
	"The smallest hold time that a Transit Gateway accepts, and the time from withdrawal to change",
	"What happens at 1,001 prefixes from the appliance",
	"Whether a GRE key or checksum is ignored or drops the packet",
	"Whether two Connect peers may share one TGW address",
	"Whether the two sessions of a Connect peer may carry different MEDs, and which counts",
	"Whether ICMP errors with a link-local source survive the Transit Gateway",
	"Whether CreateTransitGatewayConnectPeer heeds conditions on tags",
	"Whether DescribeTransitGatewayConnectPeers takes tag: filters",
}

// transient are refusals that pass by themselves.
func transient(code string) bool {
	switch code {
	case "ConcurrentMutationLimitExceeded", "DependencyViolation", "IncorrectState", "InternalError", "RequestLimitExceeded", "ResourceNotReady", "ServiceUnavailable":
		return true
	}
	return strings.HasSuffix(code, ".NotFound")
}

const noDaemon = "no wgbgpd answers here, and only packets can show it"

// hold: the daemon's sessions say what was negotiated; and with a site that may be
// withdrawn, the route table says when that has arrived.
func (r *run) hold(ctx context.Context, _ tgwconnect.Peer) (Point, error) {
	p := Point{
		Result: NotMeasured, Answer: noDaemon,
		How: `set hold-time = "9s" in [[tgw-connect]], reset the session, run this again; name a site that may be withdrawn with --site`,
	}
	if r.opt.Daemon == nil {
		return p, nil
	}
	sessions, err := r.opt.Daemon.Sessions(ctx)
	if err != nil {
		return p, err
	}
	least := 0
	for _, s := range sessions {
		if s.Established {
			p.Evidence = append(p.Evidence, fmt.Sprintf("%s: hold time %d s negotiated", s.Name, s.HoldTimeSeconds))
			if least == 0 || s.HoldTimeSeconds < least {
				least = s.HoldTimeSeconds
			}
		}
	}
	p.Answer = "no session of this host with a Transit Gateway is Established"
	if least > 0 {
		p.Answer = fmt.Sprintf("%d s, the default; nothing smaller was proposed", least)
		if least < 30 {
			p.Result, p.Answer = Measured, fmt.Sprintf("%d s was accepted", least)
		}
	}
	if r.opt.Site == "" || least == 0 {
		return p, nil
	}
	took, err := r.withdraw(ctx)
	if err != nil {
		return p, err
	}
	p.Result = Measured
	p.Evidence = append(p.Evidence, took)
	return p, nil
}

// withdraw takes a site's prefixes back and watches the route table. The site is
// announced again whatever happens.
func (r *run) withdraw(ctx context.Context) (evidence string, err error) {
	prefixes, err := r.opt.Daemon.SitePrefixes(ctx, r.opt.Site)
	if err != nil || len(prefixes) == 0 {
		return "", fmt.Errorf("site %s: nothing of it is announced: %w", r.opt.Site, err)
	}
	_, err = r.step(withdrawSite, func() (string, error) {
		before, err := r.has(ctx, prefixes)
		if err != nil || !before {
			return "", fmt.Errorf("its prefixes are not in route table %s: %w", r.table, err)
		}
		defer func() {
			back, end := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer end()
			if e := r.opt.Daemon.SetSite(back, r.opt.Site, false); e != nil && err == nil {
				err = e
			}
		}()
		start := time.Now()
		if err := r.opt.Daemon.SetSite(ctx, r.opt.Site, true); err != nil {
			return "", err
		}
		err = r.until(ctx, func() (bool, error) {
			still, err := r.has(ctx, prefixes)
			return err == nil && !still, err
		})
		evidence = fmt.Sprintf("%.1f s after the withdrawal route table %s has no route any more (looked every %s; forwarding is not seen here)", time.Since(start).Seconds(), r.table, r.opt.Poll)
		return r.opt.Site, err
	})
	return evidence, err
}

// has reports whether the route table has one of the prefixes by propagation.
func (r *run) has(ctx context.Context, prefixes []netip.Prefix) (bool, error) {
	routes, err := r.api.Routes(ctx, r.table)
	for _, x := range routes {
		if x.Type == "propagated" && slices.Contains(prefixes, x.Prefix) {
			return true, err
		}
	}
	return false, err
}

// overflow only looks: whoever wants to know lets the daemon announce more.
func (r *run) overflow(ctx context.Context, _ tgwconnect.Peer) (Point, error) {
	p := Point{
		Result: NotMeasured, Answer: noDaemon,
		How: "in a sandbox, set announce-limit = 0 in [[tgw-connect]] and give a site 1,001 prefixes, run this again",
	}
	if r.opt.Daemon == nil {
		return p, nil
	}
	sessions, err := r.opt.Daemon.Sessions(ctx)
	if err != nil {
		return p, err
	}
	p.Answer = "no session announces more than 1,000"
	for _, s := range sessions {
		if s.Announced <= 1000 {
			continue
		}
		p.Result = Measured
		p.Answer = fmt.Sprintf("%s announces %d prefixes and is %s", s.Name, s.Announced, map[bool]string{true: "Established", false: "down"}[s.Established])
		routes, err := r.api.Routes(ctx, r.table)
		if err != nil {
			return p, err
		}
		n := 0
		for _, x := range routes {
			if x.Type == "propagated" {
				n++
			}
		}
		p.Evidence = append(p.Evidence, fmt.Sprintf("route table %s has %d propagated routes", r.table, n))
	}
	return p, nil
}

func (r *run) greKey(context.Context, tgwconnect.Peer) (Point, error) {
	return Point{
		Result: NotMeasured, Answer: "wgbgpd sends neither, and this program sends no packets",
		How: "ip link add gre9 type gre local PEER remote TGW ttl 64 okey 1 (then: ocsum) with host 1 of the /29, ping host 2, count with tcpdump proto 47",
	}, nil
}

// sharedAddress makes the second Connect peer.
func (r *run) sharedAddress(ctx context.Context, first tgwconnect.Peer) (Point, error) {
	p := Point{Result: Measured}
	var refused error
	id, err := r.step(makeSecond, func() (string, error) {
		inside, err := r.inside(ctx)
		if err != nil {
			return "", err
		}
		s := r.spec(first.AttachmentID, 1, inside)
		s.TransitGatewayAddress = first.TransitGatewayAddress
		made, err := r.api.CreatePeer(ctx, s)
		if code := r.api.Code(err); err != nil && code != "" && !transient(code) {
			refused = err // an answer, too
			return "", nil
		}
		return made.ID, err
	})
	if err != nil {
		return p, err
	}
	if refused != nil {
		p.Answer = "no: " + r.api.Code(refused)
		p.Evidence = append(p.Evidence, refused.Error())
		return p, nil
	}
	p.Answer = "yes: both exist with " + first.TransitGatewayAddress.String()
	p.Evidence = append(p.Evidence, first.ID, id)
	return p, nil
}

func (r *run) meds(context.Context, tgwconnect.Peer) (Point, error) {
	return Point{
		Result: NotMeasured, Answer: "wgbgpd tells both sessions of a Connect peer the same, and the API shows no MED",
		How: "announce a prefix with different MEDs on the two sessions of one peer (a second speaker such as FRR), the same with a MED between them on another peer, and see which peer SearchTransitGatewayRoutes names",
	}, nil
}

func (r *run) icmp(context.Context, tgwconnect.Peer) (Point, error) {
	return Point{
		Result: NotMeasured, Answer: "this program sends no packets",
		How: "from a VPC behind the Transit Gateway send DF packets that do not fit the tunnel to a site, once with [fib] source set and once without, and look for ICMP type 3 code 4 with tcpdump at the sender",
	}, nil
}

// permission asks twice without doing: a policy such as iam-apply.json lets a peer
// be made only with its tag.
func (r *run) permission(ctx context.Context, first tgwconnect.Peer) (Point, error) {
	p := Point{Result: Measured}
	var with, without string
	_, err := r.step(askPermission, func() (string, error) {
		inside, err := r.inside(ctx)
		if err != nil {
			return "", err
		}
		s := r.spec(first.AttachmentID, 1, inside)
		s.DryRun = true
		if _, err = r.api.CreatePeer(ctx, s); err != nil && r.api.Code(err) == "" {
			return "", err
		}
		with = r.verdict(err)
		s.Tags = nil
		if _, err = r.api.CreatePeer(ctx, s); err != nil && r.api.Code(err) == "" {
			return "", err
		}
		without = r.verdict(err)
		return "", nil
	})
	p.Evidence = []string{"with the tag: " + with, "without: " + without}
	switch {
	case with == permitted && without == "UnauthorizedOperation":
		p.Answer = "yes: what the policy permits only with a tag is refused without"
	case with == permitted && without == permitted:
		p.Result = NotMeasured
		p.Answer = "these credentials may do it either way"
		p.How = "run this with a role that has only configs/aws/iam-readonly.json and iam-apply.json"
	default:
		p.Answer = "these credentials may not do it with the tag: either the condition is not heeded or the permission is missing"
	}
	return p, err
}

// permitted is a dry run's success (AWS answers DryRunOperation).
const permitted = "permitted"

func (r *run) verdict(err error) string {
	if err == nil {
		return permitted
	}
	return r.api.Code(err)
}

// tagFilter: refused, heeded, or silently ignored.
func (r *run) tagFilter(ctx context.Context, first tgwconnect.Peer) (Point, error) {
	p := Point{Result: Measured}
	var got, none []tgwconnect.Peer
	var code string
	_, err := r.step(askTags, func() (string, error) {
		var err error
		got, err = r.api.PeersByTag(ctx, TagKey, r.opt.Run)
		if err == nil {
			none, err = r.api.PeersByTag(ctx, TagKey, r.opt.Run+"-nobody")
		}
		if code = r.api.Code(err); code != "" && !transient(code) {
			p.Evidence, err = append(p.Evidence, err.Error()), nil
		}
		return "", err
	})
	found := slices.ContainsFunc(got, func(x tgwconnect.Peer) bool { return x.ID == first.ID })
	switch {
	case err != nil:
	case code != "":
		p.Answer = "no: " + code
	case found && len(none) == 0:
		p.Answer = "yes"
	case len(none) > 0:
		p.Answer = "no: it is ignored, peers without the tag come too"
	default:
		p.Answer = "it is taken and does not find the peer, which has the tag"
	}
	return p, err
}
