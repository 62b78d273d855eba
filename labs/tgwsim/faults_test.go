package tgwsim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func (l *lab) describePeers(ids ...string) ([]types.TransitGatewayConnectPeer, error) {
	out, err := l.ec2.DescribeTransitGatewayConnectPeers(ctx, &ec2.DescribeTransitGatewayConnectPeersInput{TransitGatewayConnectPeerIds: ids})
	if err != nil {
		return nil, err
	}
	return out.TransitGatewayConnectPeers, nil
}

func (l *lab) createPeer(inside string) (string, error) {
	out, err := l.ec2.CreateTransitGatewayConnectPeer(ctx, &ec2.CreateTransitGatewayConnectPeerInput{
		TransitGatewayAttachmentId: &l.Connect, PeerAddress: aws.String("10.0.0.77"), InsideCidrBlocks: []string{inside},
		BgpOptions: &types.TransitGatewayConnectRequestBgpOptions{PeerAsn: aws.Int64(65001)},
	})
	if err != nil {
		return "", err
	}
	return *out.TransitGatewayConnectPeer.TransitGatewayConnectPeerId, nil
}

func TestThrottlingByTokenBuckets(t *testing.T) {
	l := newLab(t, world.ExampleOptions{})
	l.SetFaults(tgwsim.Faults{Throttle: tgwsim.AWSThrottle()})
	passed := func() (n int) {
		for {
			_, err := l.describePeers()
			if err == nil {
				n++
				continue
			}
			if code(err) != "RequestLimitExceeded" {
				t.Fatal(err)
			}
			return n
		}
	}
	if n := passed(); n != 100 {
		t.Errorf("%d calls at once, want 100", n)
	}
	l.clock.at = l.clock.at.Add(2 * time.Second)
	if n := passed(); n != 40 {
		t.Errorf("%d calls after two seconds, want 40", n)
	}
	// A list of all instances has its own, smaller bucket besides.
	l.SetFaults(tgwsim.Faults{Throttle: tgwsim.AWSThrottle()})
	n := 0
	for ; n < 200; n++ {
		if _, err := l.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{}); err != nil {
			break
		}
	}
	if n != 50 {
		t.Errorf("%d unfiltered lists at once, want 50", n)
	}
	l.wantViolations(t)
}

func TestPagesAreWholeWhateverTheirSize(t *testing.T) {
	l := newLab(t, world.ExampleOptions{Gateways: 4})
	l.SetFaults(tgwsim.Faults{PageSize: 1})
	var got []string
	p := ec2.NewDescribeTransitGatewayConnectPeersPaginator(l.ec2, &ec2.DescribeTransitGatewayConnectPeersInput{})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, peer := range page.TransitGatewayConnectPeers {
			got = append(got, *peer.TransitGatewayConnectPeerId)
		}
	}
	want := slices.Sorted(slices.Values(l.Peers))
	if !slices.Equal(got, want) {
		t.Errorf("pages of one have %v, want %v", got, want)
	}
	if n := len(l.Calls("DescribeTransitGatewayConnectPeers")); n != 4 {
		t.Errorf("%d calls, want 4", n)
	}
}

func TestLagShowsThePast(t *testing.T) {
	l := newLab(t, world.ExampleOptions{Gateways: 1})
	l.SetFaults(tgwsim.Faults{LagMin: time.Second, LagMax: time.Second})
	id, err := l.createPeer("169.254.200.0/29")
	if err != nil {
		t.Fatal(err)
	}
	const notFound = "InvalidTransitGatewayConnectPeerID.NotFound"
	if _, err := l.describePeers(id); code(err) != notFound {
		t.Errorf("describe at once: %v, want %s", err, notFound)
	}
	if all, err := l.describePeers(); err != nil || len(all) != 1 {
		t.Errorf("list at once: %d peers, %v; want the old one", len(all), err)
	}
	if _, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: &id}); code(err) != notFound {
		t.Errorf("delete at once: %v, want %s", err, notFound)
	}
	l.clock.at = l.clock.at.Add(1100 * time.Millisecond)
	if found, err := l.describePeers(id); err != nil || len(found) != 1 {
		t.Errorf("describe after the lag: %v, %v", found, err)
	}
	if _, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: &id}); err != nil {
		t.Fatal(err)
	}
	if found, err := l.describePeers(id); err != nil || found[0].State != "available" {
		t.Errorf("a deleted peer within the lag: %+v, %v; want it available still", found, err)
	}
	l.wantViolations(t)
}

func TestStatesPassWithTheirDelays(t *testing.T) {
	l := newLab(t, world.ExampleOptions{Gateways: 1})
	l.World().Do(func(s *world.State) {
		s.Delays = world.Delays{Create: 10 * time.Second, Delete: 20 * time.Second, Linger: time.Minute}
	})
	id, err := l.createPeer("169.254.200.0/29")
	if err != nil {
		t.Fatal(err)
	}
	state := func(after time.Duration) string {
		l.clock.at = l.clock.at.Add(after)
		found, err := l.describePeers(id)
		if err != nil {
			return code(err)
		}
		return string(found[0].State)
	}
	remove := func() string {
		_, err := l.ec2.DeleteTransitGatewayConnectPeer(ctx, &ec2.DeleteTransitGatewayConnectPeerInput{TransitGatewayConnectPeerId: &id})
		return code(err)
	}
	for _, step := range []struct{ got, want string }{
		{state(0), "pending"},
		{remove(), "IncorrectState"},
		{state(10 * time.Second), "available"},
		{remove(), ""},
		{state(0), "deleting"},
		{state(20 * time.Second), "deleted"},
		{remove(), "InvalidTransitGatewayConnectPeerID.NotFound"},
		{state(time.Minute), "InvalidTransitGatewayConnectPeerID.NotFound"},
	} {
		if step.got != step.want {
			t.Fatalf("got %q, want %q", step.got, step.want)
		}
	}
}

func TestAnswersAreLostBeforeOrAfterTheAct(t *testing.T) {
	for kind, acted := range map[tgwsim.Kind]bool{tgwsim.CutBefore: false, tgwsim.CutAfter: true} {
		l := newLab(t, world.ExampleOptions{Gateways: 1})
		l.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Operations: []string{"Create*"}, Kind: kind, Count: 1}}})
		if _, err := l.createPeer("169.254.200.0/29"); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s: %v, want EOF", kind, err)
		}
		if all, err := l.describePeers(); err != nil || (len(all) == 2) != acted {
			t.Errorf("%s: %d peers (%v), acted should be %v", kind, len(all), err, acted)
		}
		if _, err := l.createPeer("169.254.201.0/29"); err != nil {
			t.Errorf("%s: the second call: %v, want the fault only once", kind, err)
		}
	}
}

func TestFailuresAndCredentials(t *testing.T) {
	l := newLab(t, world.ExampleOptions{Gateways: 1})
	for _, c := range []struct {
		faults tgwsim.Faults
		want   string
	}{
		{tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail}}}, "InternalError"},
		{tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Code: "ServiceUnavailable", Status: 503}}}, "ServiceUnavailable"},
		{tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Operations: []string{"Create*"}}}}, ""},
		{tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Slow, Delay: time.Millisecond}}}, ""},
		{tgwsim.Faults{Credentials: "ExpiredToken"}, "ExpiredToken"},
		{tgwsim.Faults{Credentials: "RequestExpired"}, "RequestExpired"},
		{tgwsim.Faults{}, ""},
	} {
		l.SetFaults(c.faults)
		if _, err := l.describePeers(); code(err) != c.want {
			t.Errorf("%+v: %v, want code %q", c.faults, err, c.want)
		}
	}
}

func TestChanceDependsOnTheSeedOnly(t *testing.T) {
	run := func() (codes []string) {
		l := newLab(t, world.ExampleOptions{Gateways: 1})
		l.SetFaults(tgwsim.Faults{Plan: []tgwsim.Fault{{Kind: tgwsim.Fail, Chance: 0.5}}})
		for range 20 {
			_, err := l.describePeers()
			codes = append(codes, code(err))
		}
		return codes
	}
	first, second := run(), run()
	if !slices.Equal(first, second) {
		t.Errorf("two runs differ: %q and %q", first, second)
	}
	if !slices.Contains(first, "") || !slices.Contains(first, "InternalError") {
		t.Errorf("%q, want some failures and some not", first)
	}
}

func (l *lab) setPages(size int) { l.SetFaults(tgwsim.Faults{PageSize: size}) }
