package bench

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/daemons"
)

// subject is one BGP daemon that is measured, ours or another's.
type subject struct {
	name  string
	start func(h *netlab.Host, n network) ([]*netlab.Process, error)
}

// network is what a subject is configured for: a link on which it has the first
// address and its neighbors the others.
type network struct {
	id    byte // of those that exist at once
	six   bool
	peers int  // neighbors that only send, from the second address on
	watch bool // one more neighbor is told everything
	// closely: the observer looks ten times a millisecond, which costs the subject more.
	closely bool
}

const (
	routerASN   = 65000
	firstASN    = 65001
	watchASN    = 64900
	sendersFrom = 2 // host part of the first sender's address
)

// address is that of the subject (0), or of neighbor i from 1 on.
func (n network) address(i int) netip.Addr {
	host := sendersFrom - 1 + i
	if n.six {
		return netip.AddrFrom16([16]byte{0xfd, 0x10, 2: n.id, 14: byte(host >> 8), 15: byte(host)})
	}
	return netip.AddrFrom4([4]byte{10, 10 + n.id, byte(host >> 8), byte(host)})
}

func (n network) prefix(i int) string {
	if n.six {
		return n.address(i).String() + "/64"
	}
	return n.address(i).String() + "/16"
}

// device is the neighbors' end of the link.
func (n network) device() string { return fmt.Sprintf("subject%d", n.id) }

// asn is that of neighbor i.
func (n network) asn(i int) uint16 {
	if n.watch && i == n.peers+1 {
		return watchASN
	}
	return uint16(firstASN + i - 1)
}

func (n network) neighbors() int {
	if n.watch {
		return n.peers + 1
	}
	return n.peers
}

// subjects lists ours first. The program is wgbgpd with its arguments.
func subjects(program ...string) []subject {
	return []subject{
		{"wgbgpd", func(h *netlab.Host, n network) ([]*netlab.Process, error) { return startOurs(h, n, program) }},
		{"frr", startFRR},
		{"bird", startBIRD},
	}
}

func startOurs(h *netlab.Host, n network, program []string) ([]*netlab.Process, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[gateway]\nname = \"gw\"\nasn = %d\nrouter-id = \"10.10.0.1\"\n", routerASN)
	all := "0.0.0.0/0 le 32"
	if n.six {
		all = "::/0 le 128"
	}
	for i := 1; i <= n.neighbors(); i++ {
		fmt.Fprintf(&b, "\n[[neighbor]]\nname = \"n%d\"\naddress = %q\nasn = %d\npassive = true\nallow = [%q]\nmax-prefixes = 0\nexport = %v\n",
			i, n.address(i), n.asn(i), all, i > n.peers)
	}
	conf, err := h.File("wgbgpd.toml", b.String())
	if err != nil {
		return nil, err
	}
	p, err := h.Start("wgbgpd", append(program, "-f", conf)...)
	return []*netlab.Process{p}, err
}

func startFRR(h *netlab.Host, n network) ([]*netlab.Process, error) {
	var b strings.Builder
	family := "ipv4"
	if n.six {
		family = "ipv6"
	}
	// The map first: what names it before is told of it five seconds late.
	fmt.Fprintf(&b, "route-map ALL permit 10\nexit\nrouter bgp %d\n bgp router-id 10.10.0.1\n no bgp default ipv4-unicast\n no bgp network import-check\n", routerASN)
	for i := 1; i <= n.neighbors(); i++ {
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s passive\n", n.address(i), n.asn(i), n.address(i))
	}
	fmt.Fprintf(&b, " address-family %s unicast\n", family)
	for i := 1; i <= n.neighbors(); i++ {
		fmt.Fprintf(&b, "  neighbor %s activate\n", n.address(i))
		if i <= n.peers { // told nothing: eBGP without a policy (RFC 8212)
			fmt.Fprintf(&b, "  neighbor %s route-map ALL in\n", n.address(i))
		} else {
			fmt.Fprintf(&b, "  neighbor %s route-map ALL out\n", n.address(i))
		}
	}
	b.WriteString(" exit-address-family\nexit\n")
	f, err := daemons.StartFRR(h, b.String())
	if err != nil {
		return nil, err
	}
	return []*netlab.Process{f.BGPD, f.Zebra}, nil
}

func startBIRD(h *netlab.Host, n network) ([]*netlab.Process, error) {
	var b strings.Builder
	family := "ipv4"
	if n.six {
		family = "ipv6"
	}
	fmt.Fprintf(&b, "log stderr { warning, error, fatal };\nrouter id 10.10.0.1;\nprotocol device { }\nprotocol kernel { %s { import none; export all; }; }\n", family)
	for i := 1; i <= n.neighbors(); i++ {
		export := "none"
		if i > n.peers {
			export = "all"
		}
		fmt.Fprintf(&b, "protocol bgp n%d { local %s as %d; neighbor %s as %d; passive yes; %s { import all; export %s; }; }\n",
			i, n.address(0), routerASN, n.address(i), n.asn(i), family, export)
	}
	d, err := daemons.StartBIRD(h, b.String())
	if err != nil {
		return nil, err
	}
	return []*netlab.Process{d.Process}, nil
}

// run is one subject at work, with the sessions of its neighbors.
type run struct {
	network
	lab   *netlab.Lab
	host  *netlab.Host
	procs []*netlab.Process
	obs   *observer
	peers []*rawPeer // peers[0] is neighbor 1
	stop  context.CancelFunc
}

// begin starts a subject on a host of its own and opens every session. On an
// error nothing is left.
func begin(s subject, n network) (r *run, err error) {
	ctx, stop := context.WithCancel(context.Background())
	r = &run{network: n, stop: stop}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			r.end()
		}
	}()
	if r.lab, err = netlab.New(); err != nil {
		return r, err
	}
	if r.host, err = r.lab.Host(fmt.Sprintf("subject%d", n.id)); err != nil {
		return r, err
	}
	var ours []string
	for i := 1; i <= n.neighbors(); i++ {
		ours = append(ours, n.prefix(i))
	}
	err = netlab.Link(netlab.End{Device: n.device(), Addresses: ours},
		netlab.End{Host: r.host, Device: "eth0", Addresses: []string{n.prefix(0)}})
	if err != nil {
		return r, err
	}
	if err = r.host.Forwarding(); err != nil {
		return r, err
	}
	if r.obs, err = observe(r.host, n.closely); err != nil {
		return r, err
	}
	if r.procs, err = s.start(r.host, n); err != nil {
		return r, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for i := 1; i <= n.neighbors(); {
		p, err := dialRaw(n.address(i).String(), n.address(0).String(), n.asn(i))
		if err == nil {
			r.peers = append(r.peers, p)
			go p.run(ctx)
			i++
			continue
		}
		if time.Now().After(deadline) || !r.procs[0].Running() {
			return r, fmt.Errorf("session %d: %w\n%s", i, err, r.procs[0].Tail(20))
		}
		time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
	}
	return r, nil
}

func (r *run) end() {
	r.stop()
	if r.obs != nil {
		r.obs.close()
	}
	if r.lab != nil {
		// The link would outlive its other end's namespace for a moment.
		_, _ = (*netlab.Host)(nil).Run("ip", "link", "delete", r.device())
		_ = r.lab.Close(false)
	}
}

// send writes a table and End-of-RIB from neighbor i.
func (r *run) send(i int, t *table) error {
	if _, err := r.peers[i-1].conn.Write(t.wire); err != nil {
		return err
	}
	_, err := r.peers[i-1].conn.Write(appendWithdrawal(nil, r.six))
	return err
}
