package play

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"rsc.io/script"

	"github.com/wgbgp/wgbgp/labs/clab"
	"github.com/wgbgp/wgbgp/labs/stage"
	"github.com/wgbgp/wgbgp/labs/traffic"
)

var networkWords = map[string]word{
	"routes": {"[-t TIME] NODE PREFIX none|blackhole|(via NODE|dev DEVICE)...", "wait until the kernel of a node has just these ways for a prefix", (*player).routes},
	"cut": {"NODE NODE", "drop every packet between two nodes, silently, on their link or in the node between them", func(p *player, args []string) (string, error) {
		return "", p.cut(args)
	}},
	"restore": {"NODE NODE", "end a cut", func(p *player, args []string) (string, error) {
		return "", p.restore(args)
	}},
	"send":    {"NAME [-rate N] [-flows N] [-size BYTES] [-6] FROM[@ADDRESS] TO[@ADDRESS]", "begin to send numbered packets, 1000 a second as 16 flows", (*player).send},
	"flowing": {"[-t TIME] NAME...", "wait until packets of a stream arrive", (*player).flowing},
	"mark":    {"NAME...", "begin a new period of a stream, for loss and gap", (*player).mark},
	"loss":    {"NAME at most N [besides full queues]", "judge a stream: packets lost since its mark, and not to a queue of a busy machine", (*player).loss},
	"gap":     {"NAME at most TIME", "judge a stream: its longest outage since its mark", (*player).gap},
	"end":     {"NAME...", "stop streams and say what became of their packets", (*player).endStreams},
}

// routes compares the ways of a prefix in all tables of a kernel.
func (p *player) routes(args []string) (string, error) {
	limit, n, args, err := p.nodeStep(args)
	if err != nil {
		return "", err
	}
	prefix, err := netip.ParsePrefix(args[1])
	if err != nil {
		return "", err
	}
	var want []string
	kind := ""
	for _, a := range args[2:] {
		switch a {
		case "via", "dev":
			kind = a
		case "none":
		case "blackhole":
			want = append(want, a)
		default:
			want = append(want, kind+" "+a)
		}
	}
	slices.Sort(want)
	began := time.Now()
	err = p.eventually(limit, func() error {
		have, err := p.ways(n, prefix, want)
		if err == nil && !slices.Equal(have, want) {
			err = fmt.Errorf("%s: %s goes by %q, want %q", n.Name(), prefix, have, want)
		}
		return err
	})
	return took(began, limit), err
}

// ways are the next hops of the best route to a prefix, as "via NODE" or, where
// there is no neighbor's address or the expectation asks for it, "dev DEVICE".
func (p *player) ways(n *stage.Node, prefix netip.Prefix, want []string) ([]string, error) {
	asDevice := slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, "dev ") })
	hops, blackhole, err := nextHops(n, prefix)
	if err != nil {
		return nil, err
	}
	if blackhole {
		return []string{"blackhole"}, nil
	}
	var ways []string
	for _, h := range hops {
		way := "dev " + h.Device
		if gw := h.gateway(); gw.IsValid() && !asDevice {
			owner, err := p.owner(gw)
			if err != nil {
				return nil, err
			}
			way = "via " + owner
		}
		if !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	slices.Sort(ways)
	return ways, nil
}

func addresses(n *stage.Node) ([]netip.Prefix, error) {
	var found []netip.Prefix
	err := n.Netlink(func(nl *netlink.Handle) error {
		list, err := nl.AddrList(nil, netlink.FAMILY_ALL)
		for _, a := range list {
			ip, ok := netip.AddrFromSlice(a.IP)
			ones, _ := a.Mask.Size()
			if ok && !ip.IsLoopback() {
				found = append(found, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		return err
	})
	return found, err
}

func (p *player) send(args []string) (string, error) {
	if len(args) < 3 {
		return "", script.ErrUsage
	}
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	cfg := traffic.Config{Name: args[0]}
	f.IntVar(&cfg.Rate, "rate", 1000, "")
	f.IntVar(&cfg.Flows, "flows", 16, "")
	f.IntVar(&cfg.Size, "size", 64, "")
	six := f.Bool("6", false, "")
	if err := f.Parse(args[1:]); err != nil || f.NArg() != 2 {
		return "", errors.Join(script.ErrUsage, err)
	}
	if p.streams[cfg.Name] != nil {
		return "", fmt.Errorf("a stream %s runs already", cfg.Name)
	}
	for i, to := range []struct {
		node **stage.Node
		addr *netip.Addr
	}{{new(*stage.Node), &cfg.Src}, {new(*stage.Node), &cfg.Dst}} {
		name, text, given := strings.Cut(f.Arg(i), "@")
		n, err := p.Node(name)
		if err != nil {
			return "", err
		}
		if given {
			*to.addr, err = netip.ParseAddr(text)
		} else {
			*to.addr, err = p.workload(n, *six)
		}
		if err != nil {
			return "", err
		}
		if i == 0 {
			cfg.From = n.Host
		} else {
			cfg.To = n.Host
		}
	}
	s, err := traffic.Start(cfg)
	if err != nil {
		return "", err
	}
	st := &stream{Stream: s}
	p.begin(st)
	p.streams[cfg.Name] = st
	return "", nil
}

// workload is a node's first global address on the links of the topology: in
// Docker it has others, of the network it is managed by.
func (p *player) workload(n *stage.Node, six bool) (netip.Addr, error) {
	var devices []string
	for _, l := range p.Topology.Links {
		for _, e := range []clab.End{l.A, l.B} {
			if e.Node == n.Name() {
				devices = append(devices, e.Interface)
			}
		}
	}
	family := netlink.FAMILY_V4
	if six {
		family = netlink.FAMILY_V6
	}
	var found netip.Addr
	err := n.Netlink(func(nl *netlink.Handle) error {
		for _, device := range devices {
			link, err := nl.LinkByName(device)
			if err != nil {
				return err
			}
			list, err := nl.AddrList(link, family)
			if err != nil {
				return err
			}
			for _, a := range list {
				if ip, ok := netip.AddrFromSlice(a.IP); ok && !ip.IsLinkLocalUnicast() {
					found = ip.Unmap()
					return nil
				}
			}
		}
		return fmt.Errorf("%s has no address of that family on its links", n.Name())
	})
	return found, err
}

func (p *player) stream(name string) (*stream, error) {
	s := p.streams[name]
	if s == nil {
		return nil, fmt.Errorf("no stream %q", name)
	}
	return s, nil
}

func (p *player) flowing(args []string) (string, error) {
	limit, args, err := within(args)
	if err != nil || len(args) == 0 {
		return "", errors.Join(script.ErrUsage, err)
	}
	began := time.Now()
	for _, name := range args {
		s, err := p.stream(name)
		if err != nil {
			return "", err
		}
		err = p.eventually(limit, func() error {
			// Every flow must arrive, not just those of one lucky path.
			r := s.Report(time.Now().Add(-400*time.Millisecond), time.Now().Add(-100*time.Millisecond))
			if r.Sent == 0 || r.Lost > 0 {
				return fmt.Errorf("of the latest packets: %s", r)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		p.begin(s)
	}
	return took(began, limit), nil
}

func (p *player) mark(args []string) (string, error) {
	for _, name := range args {
		s, err := p.stream(name)
		if err != nil {
			return "", err
		}
		p.begin(s)
	}
	return "", nil
}

// begin makes the account of a stream begin now.
func (p *player) begin(s *stream) {
	s.mark = time.Now()
	s.full, _ = p.fullQueues()
}

const (
	settled  = 300 * time.Millisecond // packets may be under way so long before they count as lost
	shortest = time.Second            // period that is judged
)

// judge is the account of a stream since its mark, without the latest packets.
func (p *player) judge(args []string) (traffic.Report, string, error) {
	if len(args) != 4 || args[1] != "at" || args[2] != "most" {
		return traffic.Report{}, "", script.ErrUsage
	}
	s, err := p.stream(args[0])
	if err != nil {
		return traffic.Report{}, "", err
	}
	// A period too short to say anything is made longer.
	time.Sleep(time.Until(s.mark.Add(shortest)))
	to := time.Now()
	time.Sleep(settled) // packets under way; there is nothing to ask whether they all arrived
	r := s.Report(s.mark, to)
	if r.Sent == 0 {
		return r, "", fmt.Errorf("stream %s sent nothing since its mark", args[0])
	}
	return r, args[3], nil
}

func (p *player) loss(args []string) (string, error) {
	busy := len(args) == 7 && slices.Equal(args[4:], []string{"besides", "full", "queues"})
	if busy {
		args = args[:4]
	}
	r, limit, err := p.judge(args)
	if err != nil {
		return "", err
	}
	most, err := strconv.Atoi(limit)
	if err != nil {
		return "", err
	}
	now, where := p.fullQueues()
	full := now - p.streams[args[0]].full
	switch {
	case r.Lost <= most:
		return r.String() + "\n", nil
	case busy && r.Lost <= most+full && r.Received > 0:
		return fmt.Sprintf("%s; full queues of a busy machine dropped %d packets:\n%s", r, full, where), nil
	}
	return "", fmt.Errorf("%s; want at most %d lost; full queues dropped %d:\n%s", r, most, full, where)
}

func (p *player) gap(args []string) (string, error) {
	r, limit, err := p.judge(args)
	if err != nil {
		return "", err
	}
	most, err := time.ParseDuration(limit)
	if err != nil {
		return "", err
	}
	if o, ok := r.Longest(); ok && (o.Gap > most || !o.Ended) {
		return "", fmt.Errorf("%s; want no gap above %s", r, most)
	}
	return r.String() + "\n", nil
}

func (p *player) endStreams(args []string) (string, error) {
	var b strings.Builder
	for _, name := range args {
		s, err := p.stream(name)
		if err != nil {
			return "", err
		}
		delete(p.streams, name)
		fmt.Fprintln(&b, s.Stop(settled))
	}
	return b.String(), nil
}
