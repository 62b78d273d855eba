package hostile

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

// The isolated copy of a test reads its flags from the environment.
const (
	envSeed      = "WGBGP_HOSTILE_SEED"
	envMutations = "WGBGP_HOSTILE_MUTATIONS"
)

func TestMain(m *testing.M) {
	seed := flag.String("seed", or(os.Getenv(envSeed), "7606"), "of the mutations")
	mutations := flag.String("mutations", or(os.Getenv(envMutations), "500"), "how many mutated messages are sent")
	flag.Parse()
	_ = os.Setenv(envSeed, *seed)
	_ = os.Setenv(envMutations, *mutations)
	os.Exit(gwlab.Main(m.Run))
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

const (
	ourASN  = 65010
	badASN  = 65101
	goodASN = 65102
	birdASN = 65103

	// GoBGP lets a neighbor whose session ended wait five seconds, so hostility
	// comes from many addresses in rotation.
	attackers = 160
)

var (
	gateway    = netip.MustParseAddr("10.9.0.1")
	goodAddr   = netip.MustParseAddr("10.8.0.2")
	badNextHop = netip.MustParseAddr("10.9.1.1")
	ours       = netip.MustParsePrefix("10.77.0.0/16")
	goodPrefix = netip.MustParsePrefix("10.88.0.0/16")
	birdPrefix = netip.MustParsePrefix("10.99.0.0/16")
	allowed4   = netip.MustParsePrefix("10.66.0.0/16")
	allowed6   = netip.MustParsePrefix("fd66::/32")
)

// rig is a gateway with a good neighbor that the test speaks for, a good one
// that is BIRD, and a host from which the bad ones come.
type rig struct {
	daemon *netlab.Process
	client *api.Client
	bad    *netlab.Host
	good   *rawbgp.Peer
	lost   atomic.Pointer[string] // first thing that the good neighbor lost
	has    atomic.Bool            // the good neighbor has our prefix
	since  map[string]time.Time   // of the good sessions
	idle   chan attacker          // those who rest, the longest first
	out    func() (string, error) // BIRD's routes from us
}

type attacker struct {
	name string
	addr netip.Addr
}

func newRig(t *testing.T) *rig {
	t.Helper()
	nstest.Need(t, "bird", "birdc")
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(false); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *netlab.Host {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	gw, good, bird := host("gw"), host("good"), host("bird")
	r := &rig{bad: host("bad"), since: map[string]time.Time{}, idle: make(chan attacker, attackers)}
	var addresses []string
	for i := range attackers {
		a := attacker{fmt.Sprintf("bad-%03d", i), netip.AddrFrom4([4]byte{10, 9, byte(1 + i/200), byte(1 + i%200)})}
		addresses = append(addresses, a.addr.String()+"/16")
		r.idle <- a
	}
	for _, l := range [][2]netlab.End{
		{{Host: gw, Device: "bad", Addresses: []string{gateway.String() + "/16", "fd66:9::1/64"}}, {Host: r.bad, Device: "eth0", Addresses: addresses}},
		{{Host: gw, Device: "good", Addresses: []string{"10.8.0.1/24"}}, {Host: good, Device: "eth0", Addresses: []string{goodAddr.String() + "/24"}}},
		{{Host: gw, Device: "bird", Addresses: []string{"10.7.0.1/24"}}, {Host: bird, Device: "eth0", Addresses: []string{"10.7.0.2/24"}}},
	} {
		if err := netlab.Link(l[0], l[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := gw.File("wg0.key", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))+"\n"); err != nil {
		t.Fatal(err)
	}
	conf, err := gw.File("wgbgpd.toml", config(gw.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	if r.daemon, err = gw.Start("wgbgpd", os.Getenv(gwlab.EnvDaemon), "-f", conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", r.daemon.Tail(40))
		}
	})
	// Unix sockets of another mount namespace are reached through its root.
	if r.client, err = api.NewClient(fmt.Sprintf("/proc/%d/root%s", r.daemon.PID(), api.DefaultSocket)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	b, err := daemons.StartBIRD(bird, birdConfig)
	if err != nil {
		t.Fatal(err)
	}
	r.out = func() (string, error) { return b.Birdc("show", "route", "protocol", "hub") }
	r.dialGood(t, good)
	nstest.Eventually(t, 30*time.Second, func() error {
		for name, p := range map[string]netip.Prefix{"good": goodPrefix, "bird": birdPrefix} {
			in, err := r.client.AdjIn(context.Background(), name)
			if err != nil || len(in.Paths) != 1 || in.Paths[0].Prefix != p {
				return fmt.Errorf("%s taught %+v, %w, want %s", name, in.Paths, err, p)
			}
			n, err := r.client.Neighbors(context.Background(), name)
			if err != nil {
				return err
			}
			r.since[name] = n.Neighbors[0].Since.Time
		}
		if out, err := r.out(); err != nil || !r.has.Load() || !strings.Contains(out, ours.String()) {
			return fmt.Errorf("our prefix: good neighbor %v, BIRD %q, %w", r.has.Load(), out, err)
		}
		return nil
	})
	return r
}

// dialGood opens the session whose every loss is noticed.
func (r *rig) dialGood(t *testing.T, good *netlab.Host) {
	t.Helper()
	heard := func(typ byte, body []byte, _ time.Time) {
		if typ != rawbgp.Update {
			return
		}
		gone, there, err := rawbgp.ReadUpdate(body)
		if slices.Contains(there, ours) {
			r.has.Store(true)
		}
		if slices.Contains(gone, ours) {
			r.has.Store(false)
		}
		// What the bad ones teach is passed on, and taken back.
		if err != nil || slices.Contains(gone, ours) || slices.Contains(gone, birdPrefix) {
			s := fmt.Sprintf("withdrawn %v, %v", gone, err)
			r.lost.CompareAndSwap(nil, &s)
		}
	}
	nstest.Eventually(t, 30*time.Second, func() error {
		return good.Do(func() (err error) {
			r.good, err = rawbgp.Dial(rawbgp.Config{Local: goodAddr, Remote: netip.MustParseAddr("10.8.0.1"), ASN: goodASN, OnMessage: heard})
			return err
		})
	})
	if err := r.good.Write(rawbgp.Announce([]uint32{goodASN}, goodAddr, 0, nil, goodPrefix)); err != nil {
		t.Fatal(err)
	}
}

// unharmed says what a message did to anybody but its sender.
func (r *rig) unharmed() error {
	if !r.daemon.Running() {
		return fmt.Errorf("the daemon ended: %w\n%s", r.daemon.Err(), r.daemon.Tail(60))
	}
	if err := r.good.Err(); err != nil {
		return fmt.Errorf("the good neighbor's session ended: %w", err)
	}
	if s := r.lost.Load(); s != nil {
		return fmt.Errorf("the good neighbor lost routes: %s", *s)
	}
	for name, since := range r.since {
		n, err := r.client.Neighbors(context.Background(), name)
		if err != nil {
			return err
		}
		if s := n.Neighbors[0]; !s.Since.Time.Equal(since) || s.State != "Established" || s.Accepted != 1 {
			return fmt.Errorf("session of %s: %s since %v with %d paths (%s), want it untouched since %v", name, s.State, s.Since, s.Accepted, s.LossReason, since)
		}
	}
	return nil
}

// rss is the daemon's memory in MB.
func (r *rig) rss(t *testing.T) (mb int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.daemon.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(after, &mb); err != nil {
		t.Fatal(err)
	}
	return mb / 1000
}

func config(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
[gateway]
name = "gw"
asn = %d
router-id = "10.9.0.1"

[wireguard.wg0]
private-key = "file:%s/wg0.key"
address = ["10.255.0.1/24"]

[[site]]
name = "home"
public-key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
address = ["10.255.0.2"]
prefixes = [%q]
heartbeat = false
idle-policy = "announce"

[[neighbor]]
name = "good"
address = %q
asn = %d
passive = true
hold-time = "90s"
allow = [%q]
export = true

[[neighbor]]
name = "bird"
address = "10.7.0.2"
asn = %d
connect-retry = "2s"
allow = [%q]
export = true
`, ourASN, dir, ours, goodAddr, goodASN, goodPrefix, birdASN, birdPrefix)
	for i := range attackers {
		fmt.Fprintf(&b, `
[[neighbor]]
name = "bad-%03d"
group = "bad"
address = "10.9.%d.%d"
asn = %d
passive = true
hold-time = "90s"
families = ["ipv4", "ipv6"]
next-hop6 = "fd66:9::1"
allow = ["%s le 32", "%s le 128"]
max-prefixes = 500
`, i, 1+i/200, 1+i%200, badASN, allowed4, allowed6)
	}
	return b.String()
}

const birdConfig = `
router id 10.7.0.2;
protocol device { }
protocol static { ipv4; route 10.99.0.0/16 blackhole; }
protocol bgp hub {
  local 10.7.0.2 as 65103;
  neighbor 10.7.0.1 as 65010;
  connect delay time 1;
  connect retry time 1;
  ipv4 { import all; export all; };
}
`
