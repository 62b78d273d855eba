package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/node"
	"github.com/wgbgp/wgbgp/labs/tgwsim/plain"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// rig is one gateway with one partner.
type rig struct {
	column
	links  []link
	gw     *netlab.Host
	host   *netlab.Host // the partner's
	daemon *netlab.Process
	client *api.Client
}

// newRig makes the hosts and their link, and starts the gateway.
func newRig(lab *netlab.Lab, c column, daemon, nodeProgram string, short string) (*rig, error) {
	r := &rig{column: c, links: siteLinks()}
	if c.role == roleTGW {
		r.links = tgwLinks()
	} else {
		_, without := c.absent[BFD]
		r.links[linkBFD].bfd = !without
	}
	var err error
	if r.gw, err = lab.Host("gw-" + short); err != nil {
		return nil, err
	}
	if r.host, err = lab.Host(short); err != nil {
		return nil, err
	}
	a, b := netlab.End{Host: r.gw, Device: "eth0"}, netlab.End{Host: r.host, Device: "eth0"}
	for i := range linkCount {
		for _, f := range []string{"10.50.%d.%d/24", "fd50:%d::%d/64"} {
			a.Addresses = append(a.Addresses, fmt.Sprintf(f, i+1, 1))
			b.Addresses = append(b.Addresses, fmt.Sprintf(f, i+1, 2))
		}
	}
	if err := netlab.Link(a, b); err != nil {
		return nil, err
	}
	if c.role == roleTGW {
		if err := r.tunnels(nodeProgram); err != nil {
			return nil, err
		}
	}
	if _, err := r.gw.File("wg0.key", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))+"\n"); err != nil {
		return nil, err
	}
	for _, l := range r.links {
		if _, err := r.gw.File(l.name+".password", l.ourPassword+"\n"); err != nil {
			return nil, err
		}
	}
	conf, err := r.gw.File("wgbgpd.toml", r.config())
	if err != nil {
		return nil, err
	}
	if r.daemon, err = r.gw.Start("wgbgpd", daemon, "-f", conf); err != nil {
		return nil, err
	}
	// Unix sockets of another mount namespace are reached through its root.
	r.client, err = api.NewClient(fmt.Sprintf("/proc/%d/root%s", r.daemon.PID(), api.DefaultSocket))
	return r, err
}

const (
	roleRouter = "router"
	roleTGW    = "TGW"
)

// tgwLinks are Connect peers: a TGW has neither passwords nor IPv6 sessions.
func tgwLinks() []link {
	var out []link
	for i, name := range []string{"base", "we-limit", "they-limit", "asn4"} {
		p := connectPeer(i)
		out = append(out, link{
			name: name + "/1", ours: tgwconnect.Host(p.Inside4, 1).Addr(), theirs: tgwconnect.Host(p.Inside4, 2).Addr(),
			ours6: tgwconnect.Host(p.Inside6, 1).Addr(), their6: tgwconnect.Host(p.Inside6, 2).Addr(),
			ourAS: ourASN, theyAS: tgwASN, v4: true, v6: true, ourLimit: 100,
		})
	}
	out[1].ourLimit = limit
	out[2].theirLimit = limit
	out[3].theyAS = theirASN4
	return out
}

// connectPeer is the i-th one, as the TGW sees it.
func connectPeer(i int) plain.Connect {
	return plain.Connect{
		Name: fmt.Sprintf("tgw%d", i), Device: fmt.Sprintf("tgw%d", i),
		Local: netip.MustParseAddr(fmt.Sprintf("10.50.%d.2", i+1)), Remote: netip.MustParseAddr(fmt.Sprintf("10.50.%d.1", i+1)),
		Inside4: netip.MustParsePrefix(fmt.Sprintf("169.254.%d.0/29", 6+i)), Inside6: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/125", 6+i)),
		PeerASN: ourASN,
	}
}

// tunnels makes the partner's ends of the GRE tunnels.
func (r *rig) tunnels(program string) error {
	cfg := plain.Config{TunnelsOnly: true}
	for i := range r.links {
		cfg.Connect = append(cfg.Connect, connectPeer(i))
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	file, err := r.host.File("tgw.json", string(b))
	if err != nil {
		return err
	}
	p, err := r.host.Start("tunnels", program, node.TGW, file)
	if err != nil {
		return err
	}
	return eventually(20*time.Second, func() error {
		if !p.Running() {
			return fmt.Errorf("%s ended: %s", p.Name, p.Tail(10))
		}
		out, err := r.host.Run("ip", "-o", "addr", "show")
		for _, l := range r.links {
			if !strings.Contains(out, " "+l.theirs.String()+"/") {
				err = fmt.Errorf("no address %s on the TGW's host", l.theirs)
			}
		}
		return err
	})
}

// config is the gateway's.
func (r *rig) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `
[gateway]
name = "gw"
asn = %d
router-id = "10.50.1.1"
coalesce = "1ms"
linger = "30s" # how long the drain is watched; a second signal ends it

[wireguard.wg0]
private-key = "file:%s/wg0.key"
address = ["10.255.0.1/24", "fd77:ff::1/64"]

[[site]]
name = "home"
public-key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
address = ["10.255.0.2"]
prefixes = [%q, %q, %q, %q]
heartbeat = false
idle-policy = "announce"
`, ourASN, r.gw.Dir(), ours4, oursMore, oursThird, ours6)
	for i, l := range r.links {
		if r.role == roleTGW {
			p := connectPeer(i)
			fmt.Fprintf(&b, "\n[[tgw-connect]]\nname = %q\ndevice = %q\nlocal = %q\nremote = %q\ninside = [%q, %q]\ntgw-asn = %d\nmax-prefixes = %d\n",
				strings.TrimSuffix(l.name, "/1"), p.Device, p.Remote, p.Local, p.Inside4, p.Inside6, l.theyAS, l.ourLimit)
			continue
		}
		fmt.Fprintf(&b, "\n[[neighbor]]\nname = %q\ngroup = %q\naddress = %q\nlocal-address = %q\nasn = %d\nlocal-asn = %d\nconnect-retry = \"2s\"\nttl-security = %v\nmax-prefixes = %d\nallow = [\"10.60.0.0/14 le 16\", \"10.64.0.0/16\", \"fd60::/48\"]\nexport = true\n",
			l.name, l.name, l.theirs, l.ours, l.theyAS, l.ourAS, l.ttlSecurity, l.ourLimit)
		if l.v4 && l.v6 {
			fmt.Fprintf(&b, "families = [\"ipv4\", \"ipv6\"]\nnext-hop6 = %q\n", l.ours6)
		}
		if l.bfd {
			fmt.Fprintf(&b, "bfd = true\nbfd-interval = %q\nbfd-multiplier = %d\n", bfdInterval, bfdMultiplier)
		}
		if l.ourPassword != "" {
			fmt.Fprintf(&b, "password = \"file:%s/%s.password\"\n", r.gw.Dir(), l.name)
		}
	}
	return b.String()
}

// neighbor is what wgbgpd says about a session.
func (r *rig) neighbor(l link) (api.Neighbor, error) {
	if !r.daemon.Running() {
		return api.Neighbor{}, fmt.Errorf("wgbgpd ended: %s", r.daemon.Tail(20))
	}
	n, err := r.client.Neighbors(context.Background(), l.name)
	if err != nil {
		return api.Neighbor{}, err
	}
	return n.Neighbors[0], nil
}

// learned is a path that wgbgpd accepted by one session.
func (r *rig) learned(l link, p netip.Prefix) (api.Path, error) {
	in, err := r.client.AdjIn(context.Background(), l.name)
	if err != nil {
		return api.Path{}, err
	}
	for _, path := range in.Paths {
		if path.Prefix == p {
			return path, nil
		}
	}
	return api.Path{}, fmt.Errorf("wgbgpd has no path to %s from %s (%d accepted, refused %v)", p, l.name, len(in.Paths), in.Rejected)
}

func eventually(within time.Duration, try func() error) error {
	err := errors.New("never tried")
	for end := time.Now().Add(within); time.Now().Before(end); {
		if err = try(); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond) // pause between tries of a bounded wait
	}
	return err
}

// graceful is the community as wgbgpd prints it.
const graceful = "graceful-shutdown"
