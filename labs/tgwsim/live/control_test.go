package live

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/wgbgp/wgbgp/labs/tgwsim/network"
)

// A scenario's words change the world by names and by IDs.
func TestControl(t *testing.T) {
	w, place := build(t)
	n, err := network.New("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := New(w, n, place)
	for _, c := range []struct{ line, want, fails string }{
		{line: "get Interfaces/gw1/SourceDestCheck", want: "true\n"},
		{line: "set Interfaces/gw1/SourceDestCheck false"},
		{line: "get Interfaces/" + ID("eni", "gw1") + "/SourceDestCheck", want: "false\n"},
		{line: "get Interfaces/gw2/SourceDestCheck", want: "true\n"},
		{line: "why gw1", want: "nothing stops it\n"},
		{line: "unset RouteTables/edge/Routes/1"},
		{line: "why gw1", want: "route table " + ID("rtb", "edge") + " does not lead 192.0.2.1 to the Transit Gateway\n"},
		{line: `set RouteTables/edge/Routes/+ {"Prefix":"192.0.2.0/25","Target":{"TransitGatewayID":"` + ID("tgw", "core") + `"}}`},
		{line: "why gw1", want: "nothing stops it\n"},
		{line: `set Denied/ec2:DescribeSubnets true`},
		{line: "get Denied", want: "{\n  \"ec2:DescribeSubnets\": true\n}\n"},
		{line: `set TransitGateways/core/CIDRBlocks ["192.0.2.0/24","198.51.100.0/24"]`},
		{line: "set Interfaces/gw1/Speed 5", fails: "unknown field"},
		{line: "set Interfaces/gw1/SourceDestCheck perhaps", fails: "cannot unmarshal"},
		{line: "get Interfaces/gw9", fails: `nothing is named "gw9"`},
		{line: "unset Interfaces/gw1/GroupIDs/7", fails: "no index"},
		{line: "peer replace gw1 ASN=64512 Inside4=169.254.9.0/29", want: "tgw-connect-peer-00000000000000001\n"},
		{line: "peers", want: "gw1  tgw-connect-peer-00000000000000001  available  down  down  0\ngw2  " + peer2 + "  available  down  down  0\n"},
		{line: "get ConnectPeers/gw1/ASN", want: "64512\n"},
		{line: "get ConnectPeers/gw1/Inside4", want: "\"169.254.9.0/29\"\n"},
		{line: "targets wg", want: "gw1  51820  initial  Elb.RegistrationInProgress\n"},
		{line: "set TargetGroups/wg/Targets/0/State healthy"},
		{line: "targets wg", want: "gw1  51820  healthy  -\n"},
		{line: "get Parameters/gw1/key", fails: "nothing is named"},
		{line: "secret gw1 anew"},
		{line: "get Secrets/gw1/Versions/1/Text", want: "\"anew\"\n"},
		{line: "get Secrets/gw1/Versions/0/Stages/0", want: "\"AWSPREVIOUS\"\n"},
		{line: "parameter /gw1/key anew"},
		{line: "records example.net", want: "example.net.    NS   -              ns-1.awsdns-01.org. ns-2.awsdns-02.net.\n" +
			"example.net.    SOA  -              ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400\n" +
			"a.example.net.  A    gw1 weight=10  198.51.100.1\n"},
		{line: "targets dns", fails: "0 objects"},
		{line: "set HostedZones/example.net/Records/+ {\"Name\":\"b.example.net.\",\"Type\":\"A\",\"TTL\":60,\"Values\":[\"192.0.2.1\"]}"},
		{line: "get HostedZones/example.net/Records/3/Values/0", want: "\"192.0.2.1\"\n"},
		{line: "session gw1 3 down", fails: "usage"},
		{line: "session gw9 1 down", fails: "0 objects"},
		{line: "", fails: "usage"},
	} {
		words := strings.SplitN(c.line, " ", 3)
		if strings.HasPrefix(c.line, "peer ") || strings.HasPrefix(c.line, "session ") {
			words = strings.Fields(c.line)
		}
		got, err := l.Control(words...)
		switch {
		case c.fails == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %q, %v; want %q", c.line, got, err, c.want)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: got %v, want an error with %q", c.line, err, c.fails)
		}
	}
}
