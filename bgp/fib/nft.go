package fib

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// nftTable is the name of our table, family inet; a gateway inside a VRF has one
// of its own (nftName), so that several can live in one network namespace.
const nftTable = "wgbgp"

func nftName(vrf string) string {
	if vrf == "" {
		return nftTable
	}
	return nftTable + "_" + strings.Map(func(r rune) rune {
		if r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_' // what nft(8) would not read as part of a name
	}, vrf)
}

// elementsPerMessage keeps one message of set elements below the 64 KiB that a
// nested netlink attribute can hold.
const elementsPerMessage = 500

// nft owns the table "inet wgbgp": the MSS clamp between tunnels and the source
// check of open devices. The table is made anew in one transaction when its
// shape changes, and otherwise only set elements that differ are written.
//
// The kernel counts ruleset transactions (NFT_MSG_GETGEN). As long as the count
// is the one after our own last write, nobody has touched anything and nothing
// is read.
type nft struct {
	log   *slog.Logger
	table string   // its name
	netns *os.File // where New was called

	mu      sync.Mutex
	clamp   []string          // devices, sorted; nil: not told yet, keep what is there
	sources []bgp.SourceCheck // nil: not told yet
	grow    bool              // keep the sources that are there
	gen     uint32            // ruleset generation at which have was true; 0: unknown
	have    shape
}

// shape is what the table holds.
type shape struct {
	print   string            // fingerprint of chains and rules
	devices []string          // of the clamp
	checked []string          // of the source check
	sets    map[string]ranges // by set name
}

func newNFT(log *slog.Logger, vrf string) (*nft, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &nft{log: log, table: nftName(vrf), netns: ns}, nil
}

func (n *nft) close() error { return n.netns.Close() }

// ApplyClamp makes TCP connections that are forwarded into or out of one of
// the devices announce a segment size that fits the path (nft: tcp option
// maxseg size set rt mtu), IPv4 and IPv6, both ways.
func (f *FIB) ApplyClamp(ctx context.Context, devices []string) error {
	f.nft.mu.Lock()
	defer f.nft.mu.Unlock()
	devices = slices.Clone(devices)
	slices.Sort(devices)
	f.nft.clamp = append([]string{}, slices.Compact(devices)...)
	return f.nft.apply(ctx, &f.count)
}

// ApplySources drops every packet that comes in by one of the devices with a
// source outside that device's prefixes; it replaces all earlier checks.
// Devices need not exist yet. A device with no prefixes passes nothing.
func (f *FIB) ApplySources(ctx context.Context, checks []bgp.SourceCheck) error {
	return f.setSources(ctx, checks, false)
}

// GrowSources is ApplySources without taking anything away from a device: the
// sources that are there go on passing. It is for a set that is not complete,
// after a start, when an earlier process knew more.
func (f *FIB) GrowSources(ctx context.Context, checks []bgp.SourceCheck) error {
	return f.setSources(ctx, checks, true)
}

func (f *FIB) setSources(ctx context.Context, checks []bgp.SourceCheck, grow bool) error {
	f.nft.mu.Lock()
	defer f.nft.mu.Unlock()
	checks = slices.Clone(checks)
	slices.SortFunc(checks, func(a, b bgp.SourceCheck) int { return strings.Compare(a.Device, b.Device) })
	for i := 1; i < len(checks); i++ {
		if checks[i].Device == checks[i-1].Device {
			return fmt.Errorf("source check: device %s is given twice", checks[i].Device)
		}
	}
	f.nft.sources, f.nft.grow = append([]bgp.SourceCheck{}, checks...), grow
	return f.nft.apply(ctx, &f.count)
}

// dial opens a connection for one transaction, with buffers for large sets.
func (n *nft) dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(int(n.netns.Fd())), nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		_ = c.SetWriteBuffer(8 << 20)
		_ = c.SetReadBuffer(8 << 20)
		return nil
	}))
}

func (n *nft) apply(ctx context.Context, count *Counters) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for range 2 {
		gen, err := n.generation()
		if err != nil {
			return fmt.Errorf("nftables: read generation: %w", err)
		}
		if gen != n.gen {
			if n.have, err = n.read(); err != nil {
				return fmt.Errorf("nftables: read table %s: %w", n.table, err)
			}
			n.gen = gen
		}
		want := n.wanted()
		wrote, err := n.write(want, count)
		if err == nil {
			if wrote {
				n.gen = gen + 1 // if somebody wrote in between, the next look reads
				n.have = want
			}
			return nil
		}
		n.gen = 0
		if !isErrno(err, unix.ENOENT, unix.EEXIST, unix.EBUSY, unix.ERESTART) {
			return fmt.Errorf("nftables: write table %s: %w", n.table, err)
		}
		n.log.Info("nftables table changed under us, reading it back", "err", err)
	}
	return fmt.Errorf("nftables: table %s keeps changing", n.table)
}

// wanted is the shape that the wishes amount to; an empty one has no table.
// Of what this process was not told yet, it keeps what an earlier one left.
func (n *nft) wanted() shape {
	s := shape{sets: map[string]ranges{}, devices: n.clamp}
	if n.clamp == nil {
		s.devices = n.have.devices
	}
	if n.sources == nil {
		for _, d := range n.have.checked {
			s.checked = append(s.checked, d)
			s.sets[setName4(d)], s.sets[setName6(d)] = n.have.sets[setName4(d)], n.have.sets[setName6(d)]
		}
	}
	for _, c := range n.sources {
		s.checked = append(s.checked, c.Device)
		four, six := toRanges(c.Prefixes)
		if n.grow {
			four = append(four, n.have.sets[setName4(c.Device)]...).merged()
			six = append(six, n.have.sets[setName6(c.Device)]...).merged()
		}
		s.sets[setName4(c.Device)], s.sets[setName6(c.Device)] = four, six
	}
	if len(s.devices)+len(s.checked) > 0 {
		s.print = s.fingerprint()
	}
	return s
}

// fingerprint stands for the shape of chains and rules, not for set elements.
func (s *shape) fingerprint() string {
	h := fnv.New64a()
	for _, part := range [][]string{{"v1"}, s.devices, {"/"}, s.checked} {
		_, _ = h.Write([]byte(strings.Join(part, "/") + "//"))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

func setName4(device string) string  { return "src4_" + device }
func setName6(device string) string  { return "src6_" + device }
func chainName(device string) string { return "src_" + device }

// write brings the table to the wanted shape and says whether it had to.
func (n *nft) write(want shape, count *Counters) (bool, error) {
	c, err := n.dial()
	if err != nil {
		return false, err
	}
	defer func() { _ = c.CloseLasting() }()
	table := &nftables.Table{Name: n.table, Family: nftables.TableFamilyINet}
	switch {
	case want.print == "" && n.have.print == "":
		return false, nil
	case want.print == "":
		c.AddTable(table) // so that deleting it can not fail
		c.DelTable(table)
	case want.print != n.have.print:
		c.AddTable(table)
		c.DelTable(table)
		c.AddTable(table)
		if err := want.build(c, table, count); err != nil {
			return false, err
		}
	default:
		changed, err := n.patch(c, table, &want, count)
		if err != nil || !changed {
			return false, err
		}
	}
	return true, c.Flush()
}

// patch writes only the set elements that differ.
func (n *nft) patch(c *nftables.Conn, table *nftables.Table, want *shape, count *Counters) (changed bool, err error) {
	for _, d := range want.checked {
		for _, name := range []string{setName4(d), setName6(d)} {
			add, del := want.sets[name].minus(n.have.sets[name]), n.have.sets[name].minus(want.sets[name])
			if len(add)+len(del) == 0 {
				continue
			}
			changed = true
			set := sourceSet(table, name)
			// Deletion comes first: an interval may not overlap one that is there.
			// Both happen in one transaction.
			for part := range slices.Chunk(del.elements(), elementsPerMessage) {
				if err := c.SetDeleteElements(set, part); err != nil {
					return false, err
				}
			}
			for part := range slices.Chunk(add.elements(), elementsPerMessage) {
				if err := c.SetAddElements(set, part); err != nil {
					return false, err
				}
			}
			count.SourceOps.Add(uint64(len(add) + len(del)))
		}
	}
	return changed, nil
}

// read finds out what the table holds. The fingerprint of a table that was
// tampered with is not one we ever want, so it is made anew.
func (n *nft) read() (shape, error) {
	c, err := n.dial()
	if err != nil {
		return shape{}, err
	}
	defer func() { _ = c.CloseLasting() }()
	s := shape{sets: map[string]ranges{}}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, err
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == n.table })
	if i < 0 {
		return s, nil
	}
	s.print = "unknown"
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, err
	}
	var prints []string
	for _, ch := range chains {
		if ch.Table.Name != n.table {
			continue
		}
		rules, err := c.GetRules(tables[i], ch)
		if err != nil {
			return s, err
		}
		if len(rules) == 0 {
			return s, nil
		}
		for k, r := range rules {
			comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			p, ok := strings.CutPrefix(comment, ruleComment(ch.Name, k, len(rules), ""))
			if !ok {
				return s, nil
			}
			prints = append(prints, p)
		}
	}
	slices.Sort(prints)
	prints = slices.Compact(prints)
	sets, err := c.GetSets(tables[i])
	if err != nil {
		return s, err
	}
	for _, set := range sets {
		elements, err := c.GetSetElements(set)
		if err != nil {
			return s, err
		}
		switch {
		case set.Name == setTunnels:
			for _, e := range elements {
				s.devices = append(s.devices, strings.TrimRight(string(e.Key), "\x00"))
			}
		case set.Name == setDevices:
			for _, e := range elements {
				s.checked = append(s.checked, strings.TrimRight(string(e.Key), "\x00"))
			}
		default:
			s.sets[set.Name] = fromElements(elements)
		}
	}
	slices.Sort(s.devices)
	slices.Sort(s.checked)
	// Every rule names the shape it belongs to; sets of devices must agree too.
	if len(prints) == 1 && prints[0] == s.fingerprint() && s.complete(n.table, chains) {
		s.print = prints[0]
	}
	return s, nil
}

// complete says whether no chain and no set is missing.
func (s *shape) complete(table string, chains []*nftables.Chain) bool {
	names := map[string]bool{}
	for _, ch := range chains {
		if ch.Table.Name == table {
			names[ch.Name] = true
		}
	}
	ok := names[chainForward] && names[chainSource] && len(names) == 2+len(s.checked)
	for _, d := range s.checked {
		_, v4 := s.sets[setName4(d)]
		_, v6 := s.sets[setName6(d)]
		ok = ok && v4 && v6 && names[chainName(d)]
	}
	return ok
}

// generation asks for the number of ruleset transactions so far.
func (n *nft) generation() (uint32, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(n.netns.Fd())})
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	msgs, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, err
	}
	for _, m := range msgs {
		if len(m.Data) < 4 {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, err
		}
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID && len(ad.Bytes()) == 4 {
				b := ad.Bytes()
				return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), nil
			}
		}
	}
	return 0, errors.New("the kernel gave no generation")
}

func (n *nft) drain() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clamp, n.sources, n.gen = []string{}, []bgp.SourceCheck{}, 0
	return n.apply(context.Background(), &Counters{})
}
