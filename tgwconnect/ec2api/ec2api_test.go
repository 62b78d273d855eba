package ec2api_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

const secretKey = "wJalrXUtnFEMI-EXAMPLEKEY"

// sim is an emulator and a client of it, on the first gateway.
type sim struct {
	*simtest.Sim
	*world.Names
	*ec2api.Client
}

func start(t *testing.T, eo world.ExampleOptions, o ec2api.Options) *sim {
	t.Helper()
	w, names := world.Example("us-east-1", time.Now, eo)
	s := simtest.Start(t, w, tgwsim.Options{})
	s.Setenv(t, names.Instances[0])
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	if o.Backoff == nil {
		o.Backoff = func(int) time.Duration { return time.Millisecond }
	}
	c, err := ec2api.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &sim{s, names, c}
}

func TestPeersInTheWordsOfTgwconnect(t *testing.T) {
	s := start(t, world.ExampleOptions{IPv6: true}, ec2api.Options{})
	s.World().Network().(*world.Memory).SetSessions(s.Peers[1], true, false)
	got, err := s.DescribeTransitGatewayConnectPeers(t.Context(), tgwconnect.ByID(s.Peers[1]))
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	p := got[0]
	if p.ID != s.Peers[1] || p.State != "available" || p.PeerAddress != s.Addresses[1] || p.TransitGatewayAddress != netip.MustParseAddr("192.0.2.2") ||
		p.Inside4 != netip.MustParsePrefix("169.254.100.8/29") || p.Inside6 != netip.MustParsePrefix("fd00:100::8/125") || p.Created.IsZero() {
		t.Errorf("peer %+v", p)
	}
	want := tgwconnect.PeerSession{
		TransitGatewayASN: 64512, PeerASN: 65001, Up: true,
		TransitGatewayAddress: netip.MustParseAddr("169.254.100.10"), PeerAddress: netip.MustParseAddr("169.254.100.9"),
	}
	if len(p.Sessions) < 2 || p.Sessions[0] != want || p.Sessions[1].Up {
		t.Errorf("sessions %+v, want %+v first and the second down", p.Sessions, want)
	}
}

// TestEveryReadIsUnderstood makes each reading call once with a page size of 5 and
// a filter or two; the emulator knows EC2's parameters from the SDK.
func TestEveryReadIsUnderstood(t *testing.T) {
	s := start(t, world.ExampleOptions{Gateways: 7, IPv6: true}, ec2api.Options{PageSize: 5})
	ctx := t.Context()
	s.World().Network().(*world.Memory).SetSessions(s.Peers[0], true, true)
	for name, n := range map[string]func() (int, error){
		"peers 7": func() (int, error) {
			l, err := s.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"connects 1": func() (int, error) {
			l, err := s.DescribeTransitGatewayConnects(ctx, tgwconnect.Where("state", "available"))
			return len(l), err
		},
		"gateways 1": func() (int, error) {
			l, err := s.DescribeTransitGateways(ctx, tgwconnect.ByID(s.TransitGateway))
			return len(l), err
		},
		"attachments 2": func() (int, error) {
			l, err := s.DescribeTransitGatewayAttachments(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"vpcattachments 1": func() (int, error) {
			l, err := s.DescribeTransitGatewayVpcAttachments(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"tgwtables 1": func() (int, error) {
			l, err := s.DescribeTransitGatewayRouteTables(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"associations 2": func() (int, error) {
			l, err := s.GetTransitGatewayRouteTableAssociations(ctx, s.Table, tgwconnect.Query{})
			return len(l), err
		},
		"propagations 2": func() (int, error) {
			l, err := s.GetTransitGatewayRouteTablePropagations(ctx, s.Table, tgwconnect.Query{})
			return len(l), err
		},
		"into 1": func() (int, error) {
			l, err := s.GetTransitGatewayAttachmentPropagations(ctx, s.VPCAttachment)
			return len(l), err
		},
		"rtbs 1": func() (int, error) {
			l, err := s.DescribeRouteTables(ctx, tgwconnect.Where("vpc-id", s.VPC))
			return len(l), err
		},
		"subnets 2": func() (int, error) { l, err := s.DescribeSubnets(ctx, tgwconnect.Query{}); return len(l), err },
		"vpcs 1":    func() (int, error) { l, err := s.DescribeVpcs(ctx, tgwconnect.Query{}); return len(l), err },
		"interfaces 7": func() (int, error) {
			l, err := s.DescribeNetworkInterfaces(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"instances 7": func() (int, error) { l, err := s.DescribeInstances(ctx, tgwconnect.Query{}); return len(l), err },
		"types 1":     func() (int, error) { l, err := s.DescribeInstanceTypes(ctx, "c6in.xlarge"); return len(l), err },
		"groups 1": func() (int, error) {
			l, err := s.DescribeSecurityGroups(ctx, tgwconnect.ByID(s.Group))
			return len(l), err
		},
		"rules 4": func() (int, error) {
			l, err := s.DescribeSecurityGroupRules(ctx, tgwconnect.Where("group-id", s.Group))
			return len(l), err
		},
		"acls 1": func() (int, error) { l, err := s.DescribeNetworkAcls(ctx, tgwconnect.Query{}); return len(l), err },
		"tags 1": func() (int, error) {
			l, err := s.DescribeTags(ctx, tgwconnect.Where("resource-id", s.TransitGateway))
			return len(l), err
		},
		"routeservers 0": func() (int, error) { l, err := s.DescribeRouteServers(ctx, tgwconnect.Query{}); return len(l), err },
		"endpoints 0": func() (int, error) {
			l, err := s.DescribeRouteServerEndpoints(ctx, tgwconnect.Query{})
			return len(l), err
		},
		"serverpeers 0": func() (int, error) { l, err := s.DescribeRouteServerPeers(ctx, tgwconnect.Query{}); return len(l), err },
		"routes 2": func() (int, error) {
			l, err := s.SearchTransitGatewayRoutes(ctx, s.Table, tgwconnect.Query{})
			return len(l.Routes), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want int
			fmt.Sscanf(name[strings.Index(name, " "):], "%d", &want) // the names above
			if got, err := n(); got != want || err != nil {
				t.Errorf("%d, %v; want %d", got, err, want)
			}
		})
	}
}

func TestSelf(t *testing.T) {
	s := start(t, world.ExampleOptions{IPv6: true}, ec2api.Options{})
	got, err := s.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.InstanceID != s.Instances[0] || got.Region != "us-east-1" || got.AZID != "use1-az1" || got.AccountID == "" ||
		len(got.Interfaces) != 1 || got.Interfaces[0].ID != s.Interfaces[0] || len(got.Interfaces[0].Addresses) != 2 || got.Interfaces[0].Addresses[0] != s.Addresses[0] {
		t.Errorf("self %+v", got)
	}
	s.IMDS(s.Instances[0]).ForgetTokens()
	if _, err := s.Self(t.Context()); err != nil {
		t.Errorf("after the tokens had become invalid: %v", err)
	}
}

func TestConnectIsMadeChangedAndRemoved(t *testing.T) {
	s := start(t, world.ExampleOptions{NoPeers: true, NoConnectivity: true}, ec2api.Options{})
	ctx := t.Context()
	cidr := netip.MustParsePrefix("192.0.2.0/24")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.ModifyTransitGateway(ctx, s.TransitGateway, []netip.Prefix{cidr}, nil, true))
	must(s.ModifyTransitGateway(ctx, s.TransitGateway, []netip.Prefix{cidr}, nil, false))
	route := tgwconnect.NewVPCRoute{RouteTableID: s.RouteTable, Prefix: cidr, Target: tgwconnect.RouteTarget{TransitGatewayID: s.TransitGateway}}
	must(s.CreateRoute(ctx, route))
	must(s.ReplaceRoute(ctx, route))
	made, err := s.CreateTransitGatewayConnect(ctx, tgwconnect.NewConnect{TransportID: s.VPCAttachment, Tags: tgwconnect.Tags{"owner": "wgbgp"}})
	must(err)
	if made.TransportID != s.VPCAttachment || made.Tags["owner"] != "wgbgp" || made.Protocol != "gre" {
		t.Errorf("made %+v", made)
	}
	if _, err := s.DescribeTransitGatewayConnects(ctx, tgwconnect.ByID(made.ID)); err != nil {
		t.Error(err)
	}
	spec := tgwconnect.NewPeer{
		AttachmentID: made.ID, PeerAddress: s.Addresses[0], Inside4: netip.MustParsePrefix("169.254.100.0/29"),
		Inside6: netip.MustParsePrefix("fd00:100::/125"), PeerASN: 65001, Tags: tgwconnect.Tags{"owner": "wgbgp"},
	}
	spec.DryRun = true
	if p, err := s.CreateTransitGatewayConnectPeer(ctx, spec); err != nil || p.ID != "" {
		t.Errorf("a dry run made %+v, %v", p, err)
	}
	spec.DryRun = false
	p, err := s.CreateTransitGatewayConnectPeer(ctx, spec)
	must(err)
	if p.Inside6 != spec.Inside6 || len(p.Sessions) == 0 || p.Sessions[0].PeerASN != 65001 {
		t.Errorf("made %+v", p)
	}
	must(s.CreateTags(ctx, p.ID, tgwconnect.Tags{"a": "b"}, false))
	must(s.DeleteTags(ctx, p.ID, tgwconnect.Tags{"a": "b"}, false))
	must(s.ModifyNetworkInterfaceAttribute(ctx, s.Interfaces[0], false, false))
	static := tgwconnect.NewTGWRoute{RouteTableID: s.Table, Prefix: netip.MustParsePrefix("203.0.113.0/24"), AttachmentID: s.VPCAttachment}
	must(s.CreateTransitGatewayRoute(ctx, static))
	must(s.ReplaceTransitGatewayRoute(ctx, static))
	must(s.DeleteTransitGatewayRoute(ctx, s.Table, static.Prefix, false))
	must(s.DisableTransitGatewayRouteTablePropagation(ctx, s.Table, s.VPCAttachment, false))
	must(s.EnableTransitGatewayRouteTablePropagation(ctx, s.Table, s.VPCAttachment, false))
	must(s.DisassociateTransitGatewayRouteTable(ctx, s.Table, s.VPCAttachment, false))
	must(s.AssociateTransitGatewayRouteTable(ctx, s.Table, s.VPCAttachment, false))
	if err := s.DeleteTransitGatewayConnect(ctx, made.ID, false); ec2api.Code(err) != "DependencyViolation" || ec2api.IsUnknownOutcome(err) {
		t.Errorf("delete with a peer: %v", err)
	}
	must(s.DeleteTransitGatewayConnectPeer(ctx, p.ID, false))
	must(s.DeleteTransitGatewayConnect(ctx, made.ID, false))
	must(s.DeleteRoute(ctx, s.RouteTable, cidr, "", false))
}

func TestErrorsSayWhatToMakeOfThem(t *testing.T) {
	s := start(t, world.ExampleOptions{}, ec2api.Options{})
	ctx := t.Context()
	peers := func() error {
		_, err := s.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.Query{})
		return err
	}
	create := func() error {
		_, err := s.CreateTransitGatewayConnect(ctx, tgwconnect.NewConnect{TransportID: s.VPCAttachment})
		return err
	}
	if _, err := s.DescribeTransitGatewayConnectPeers(ctx, tgwconnect.ByID("tgw-connect-peer-00000000000000000")); !ec2api.IsNotFound(err) {
		t.Errorf("an unknown peer: %v", err)
	}
	for _, c := range []struct {
		what  string
		fault tgwsim.Faults
		call  func() error
		is    func(error) bool
		tries int
	}{
		{"throttled for good", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: "RequestLimitExceeded", Status: 503}}}, peers, ec2api.IsThrottled, 4},
		{"throttled a while", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: "RequestLimitExceeded", Status: 503, Count: 2}}}, peers, isNil, 3},
		{"a change throttled", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: "RequestLimitExceeded", Status: 503, Count: 2}}}, create, isNil, 3},
		{"an answer lost", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.CutAfter, Count: 1}}}, peers, isNil, 2},
		{"a change's answer lost", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.CutAfter}}}, create, ec2api.IsUnknownOutcome, 1},
		{"a change never arrived", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.CutBefore}}}, create, ec2api.IsUnknownOutcome, 1},
		{"internal error of a change", tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail}}}, create, ec2api.IsUnknownOutcome, 1},
		{"expired credentials", tgwsim.Faults{Credentials: "ExpiredToken"}, peers, ec2api.IsUnauthorized, 0},
	} {
		s.SetFaults(c.fault)
		s.ForgetCalls()
		err := c.call()
		if !c.is(err) {
			t.Errorf("%s: %v", c.what, err)
		}
		if n := len(s.Calls("*")); c.tries > 0 && n != c.tries {
			t.Errorf("%s: %d calls, want %d", c.what, n, c.tries)
		}
		if err != nil && (strings.Contains(err.Error(), secretKey) || strings.Contains(err.Error(), "AKIAEXAMPLE")) {
			t.Errorf("%s: credentials in %q", c.what, err)
		}
		if err != nil && ec2api.IsUnknownOutcome(err) != (c.is(err) && strings.Contains(c.what, "change")) {
			t.Errorf("%s: unknown outcome of %v", c.what, err)
		}
	}
	s.SetFaults(tgwsim.Faults{})
	s.World().Do(func(w *world.State) { w.Denied = map[string]bool{"ec2:DescribeTransitGatewayConnectPeers": true} })
	if err := peers(); !ec2api.IsUnauthorized(err) || !strings.Contains(err.Error(), "ec2:DescribeTransitGatewayConnectPeers") {
		t.Errorf("without the permission: %v", err)
	}
	st := s.Stats()
	if st.Throttled < 8 || st.Unauthorized < 2 || st.Retries < 7 || st.Requests <= st.Retries || st.Failed < 6 {
		t.Errorf("counted %+v", st)
	}
}

func isNil(err error) bool { return err == nil }

func TestACallEndsWithItsContext(t *testing.T) {
	s := start(t, world.ExampleOptions{}, ec2api.Options{Budget: 50 * time.Millisecond})
	s.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Slow, Delay: 10 * time.Second}}})
	began := time.Now()
	_, err := s.CreateTransitGatewayConnect(context.Background(), tgwconnect.NewConnect{TransportID: s.VPCAttachment})
	if !ec2api.IsUnknownOutcome(err) || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
