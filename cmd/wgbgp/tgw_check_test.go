package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/internal/api/apitest"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
	"github.com/wgbgp/wgbgp/tgwconnect/doctor"
)

// simulated is a healthy region with the environment that leads there; CloudWatch
// denies, since tgwsim has none.
func simulated(t *testing.T) (*simtest.Sim, *world.Names) {
	t.Helper()
	w, names := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	s := simtest.Start(t, w, tgwsim.Options{})
	s.Mount("monitoring", deny)
	s.Setenv(t, names.Instances[0])
	return s, names
}

func checkupOf(t *testing.T, r result) (c checkup) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &c); err != nil {
		t.Fatalf("%v in %+v", err, r)
	}
	return c
}

func TestTGWCheckNamesWhatIsBroken(t *testing.T) {
	s, names := simulated(t)
	none := filepath.Join(t.TempDir(), "no.sock")
	r := wgbgp(t.Context(), none, "tgw", "check", "-j", "--sample", "0", "--row", "1,9,22")
	if c := checkupOf(t, r); r.code != 0 || len(c.Results) != 3 || !c.OK || c.Region != "us-east-1" {
		t.Errorf("healthy: %+v", r)
	}
	s.World().Do(func(x *world.State) {
		x.RouteTables[names.RouteTable].Routes = slices.DeleteFunc(x.RouteTables[names.RouteTable].Routes, func(v world.VPCRoute) bool { return v.Target.TransitGatewayID != "" })
	})
	r = wgbgp(t.Context(), none, "tgw", "check", "--sample", "0", "--row", "tgw-cidr-route")
	for _, want := range []string{"Problems (1)", "9-tgw-cidr-route", "has no route for 192.0.2.0/24", "> aws ec2 create-route --route-table-id " + names.RouteTable} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in\n%s", want, r.out)
		}
	}
	if r.code != 5 || !strings.Contains(r.err, "1 problem") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	r = wgbgp(t.Context(), none, "tgw", "check", "-T", "--sample", "0", "--row", "9")
	if f := strings.Split(r.out, "\t"); r.code != 5 || len(f) != 5 || f[0] != "9-tgw-cidr-route" || f[1] != "problem" {
		t.Errorf("dump: %+v", r)
	}
	if r := wgbgp(t.Context(), none, "tgw", "check", "--row", "56"); r.code != 3 {
		t.Errorf("an unknown row: %+v", r)
	}
}

func TestTGWCheckWithoutAWSIsUnreachable(t *testing.T) {
	simulated(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	r := wgbgp(t.Context(), filepath.Join(t.TempDir(), "no.sock"), "tgw", "check", "-j", "--sample", "0", "--row", "9")
	if r.code != 4 || checkupOf(t, r).Results[0].Verdict != doctor.Unknown {
		t.Errorf("%+v", r)
	}
}

func TestCheckHostReadsTheDaemon(t *testing.T) {
	socket := serve(t, apitest.New())
	r := wgbgp(t.Context(), socket, "check", "--host", "-j", "--sample", "1ms", "--row", "26,28,32")
	c := checkupOf(t, r)
	if len(c.Results) != 3 || c.Results[0].Verdict != doctor.Problem || !strings.Contains(c.Results[0].Evidence[0], "lyon") || r.code != 5 {
		t.Errorf("%+v", r)
	}
}

// checkedHost is a namespace with the outer address of the tunnel tgw-a, which the
// daemon of apitest says it has.
func checkedHost(t *testing.T) func(rows string) map[int]doctor.Result {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.LinkSetUp(lo), netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipnet("10.0.0.10/32")})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	socket := serve(t, apitest.New())
	return func(rows string) map[int]doctor.Result {
		out := map[int]doctor.Result{}
		for _, x := range checkupOf(t, wgbgp(t.Context(), socket, "check", "--host", "-j", "--sample", "1ms", "--row", rows)).Results {
			out[x.Row] = x
		}
		return out
	}
}

// A new namespace does not forward; the kernel says so itself, and when it does.
func TestCheckHostReadsTheKernel(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	rows := checkedHost(t)
	set := func(v string) {
		for _, f := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			if err := os.WriteFile(f, []byte(v), 0o644); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	set("0")
	bad := rows("27,30,33")
	if bad[30].Verdict != doctor.Problem || !strings.Contains(strings.Join(bad[30].Evidence, " "), "net.ipv4.ip_forward is 0") {
		t.Errorf("forwarding: %+v", bad[30])
	}
	if bad[27].Verdict != doctor.OK || !strings.Contains(strings.Join(bad[27].Evidence, " "), "IPv4 fragments made: 0") {
		t.Errorf("fragments: %+v", bad[27])
	}
	if bad[33].Verdict != doctor.OK || !strings.Contains(strings.Join(bad[33].Evidence, " "), "no route") {
		t.Errorf("metadata without a route: %+v", bad[33])
	}
	set("1")
	for _, e := range rows("30")[30].Evidence {
		if strings.Contains(e, "is 0") && !strings.Contains(e, ": ") {
			t.Errorf("forwarding is on: %s", e)
		}
	}
}

// The kernel's own tunnels: one with a key and too large an MTU.
func TestCheckHostReadsKernelGRE(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	rows := checkedHost(t)
	gre := func(key uint32, mtu int) {
		l := &netlink.Gretun{LinkAttrs: netlink.LinkAttrs{Name: "tgw-a", MTU: mtu}, Local: ip("10.0.0.10"), Remote: ip("192.0.2.1"), IKey: key, OKey: key}
		if err := netlink.LinkAdd(l); err != nil {
			t.Skipf("this kernel has no interfaces of kind gre: %v", err)
		}
	}
	gre(0, 1400)
	fine := rows("8,25")
	if fine[8].Verdict != doctor.OK || fine[25].Verdict != doctor.OK {
		t.Errorf("healthy: %+v", fine)
	}
	l, err := netlink.LinkByName("tgw-a")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	gre(7, 8477)
	bad := rows("8,25")
	if bad[8].Verdict != doctor.Problem || !strings.Contains(bad[8].Evidence[0], "tgw-a has key") {
		t.Errorf("key: %+v", bad[8])
	}
	if bad[25].Verdict != doctor.Problem || !strings.Contains(bad[25].Evidence[0], "MTU 8477") {
		t.Errorf("MTU: %+v", bad[25])
	}
}

func ip(s string) net.IP { return net.ParseIP(s).To4() }

func ipnet(s string) *net.IPNet {
	p := netip.MustParsePrefix(s)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// deny answers as AWS does where the permission is missing.
func deny(w http.ResponseWriter, _ *http.Request, _ tgwsim.Scope, _ *wire.Error) {
	w.Header().Set("X-Amzn-Query-Error", "AccessDenied;Sender")
	w.WriteHeader(http.StatusForbidden)
}
