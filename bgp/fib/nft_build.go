package fib

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// Names inside the table.
const (
	setTunnels   = "tunnels"
	setDevices   = "sources"
	chainForward = "forward_mss"
	chainSource  = "check_source"
)

// ruleComment marks each rule as ours, with its place and the table's shape.
func ruleComment(chain string, i, of int, print string) string {
	return fmt.Sprintf("wgbgp %s %d/%d %s", chain, i+1, of, print)
}

// build writes the whole table into the open transaction.
func (s *shape) build(c *nftables.Conn, table *nftables.Table, count *Counters) error {
	tunnels := &nftables.Set{Table: table, Name: setTunnels, KeyType: nftables.TypeIFName}
	var names []nftables.SetElement
	for _, d := range s.devices {
		names = append(names, nftables.SetElement{Key: ifname(d)})
	}
	if err := addSet(c, tunnels, names); err != nil {
		return err
	}
	mangle := nftables.ChainPriorityMangle
	forward := c.AddChain(&nftables.Chain{
		Name: chainForward, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: mangle,
	})
	addRules(c, forward, s.print, clampRule(expr.MetaKeyIIFNAME), clampRule(expr.MetaKeyOIFNAME))

	// Sources are checked before connection tracking sees the packet.
	source := c.AddChain(&nftables.Chain{
		Name: chainSource, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	var jumps []nftables.SetElement
	for _, d := range s.checked {
		for _, name := range []string{setName4(d), setName6(d)} {
			if err := addSet(c, sourceSet(table, name), s.sets[name].elements()); err != nil {
				return err
			}
			count.SourceOps.Add(uint64(len(s.sets[name])))
		}
		chain := c.AddChain(&nftables.Chain{Name: chainName(d), Table: table})
		addRules(c, chain, s.print,
			sourceRule(unix.NFPROTO_IPV4, 12, 4, setName4(d)),
			sourceRule(unix.NFPROTO_IPV6, 8, 16, setName6(d)))
		jumps = append(jumps, nftables.SetElement{
			Key: ifname(d), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: chainName(d)},
		})
	}
	devices := &nftables.Set{Table: table, Name: setDevices, KeyType: nftables.TypeIFName, IsMap: true, DataType: nftables.TypeVerdict}
	if err := addSet(c, devices, jumps); err != nil {
		return err
	}
	addRules(c, source, s.print, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setDevices, SetID: devices.ID, DestRegister: 0, IsDestRegSet: true},
	})
	return nil
}

func addSet(c *nftables.Conn, s *nftables.Set, elements []nftables.SetElement) error {
	if err := c.AddSet(s, nil); err != nil {
		return err
	}
	for part := range slices.Chunk(elements, elementsPerMessage) {
		if err := c.SetAddElements(s, part); err != nil {
			return err
		}
	}
	return nil
}

func addRules(c *nftables.Conn, chain *nftables.Chain, print string, rules ...[]expr.Any) {
	for i, e := range rules {
		c.AddRule(&nftables.Rule{
			Table: chain.Table, Chain: chain, Exprs: e,
			UserData: userdata.AppendString(nil, userdata.TypeComment, ruleComment(chain.Name, i, len(rules), print)),
		})
	}
}

func sourceSet(table *nftables.Table, name string) *nftables.Set {
	s := &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeIPAddr, Interval: true}
	if strings.HasPrefix(name, "src6_") {
		s.KeyType = nftables.TypeIP6Addr
	}
	return s
}

// clampRule is: <iifname|oifname> @tunnels tcp flags & (syn|rst) == syn tcp
// option maxseg size set rt mtu. The kernel takes the smaller MTU of both
// directions (get_tcpmss in net/netfilter/nft_rt.c) and never raises a value.
func clampRule(key expr.MetaKey) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setTunnels},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x06}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x02}},
		&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: 1, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}, // TCPOPT_MSS
	}
}

// sourceRule is: meta nfproto <family> <source address> != @set counter drop.
func sourceRule(nfproto byte, offset, length uint32, set string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{nfproto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

func ifname(d string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, d)
	return b
}

// span is a closed range of addresses.
type span struct{ from, to netip.Addr }

// ranges is a sorted list of spans that do not overlap: the content of an
// interval set.
type ranges []span

// toRanges turns prefixes into spans by family. Prefixes inside others, which
// the contract excludes, are swallowed rather than refused by the kernel.
func toRanges(prefixes []netip.Prefix) (v4, v6 ranges) {
	for _, p := range prefixes {
		p = p.Masked()
		s := span{p.Addr(), lastAddr(p)}
		r := &v6
		if p.Addr().Is4() {
			r = &v4
		}
		*r = append(*r, s)
	}
	return v4.merged(), v6.merged()
}

func (r ranges) merged() ranges {
	slices.SortFunc(r, func(a, b span) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		return b.to.Compare(a.to)
	})
	out := r[:0]
	for _, s := range r {
		if len(out) > 0 && s.from.Compare(out[len(out)-1].to) <= 0 {
			continue // prefixes overlap only by one holding the other
		}
		out = append(out, s)
	}
	return out
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// minus returns the spans of r that o does not hold in just this form.
func (r ranges) minus(o ranges) ranges {
	var out ranges
	j := 0
	for _, s := range r {
		for j < len(o) && o[j].from.Less(s.from) {
			j++
		}
		if j == len(o) || o[j] != s {
			out = append(out, s)
		}
	}
	return out
}

// elements writes spans as the kernel keeps them: a start, and behind it an
// end that is no longer inside. The last address of a family has no end.
func (r ranges) elements() []nftables.SetElement {
	var out []nftables.SetElement
	for _, s := range r {
		out = append(out, nftables.SetElement{Key: s.from.AsSlice()})
		if next := s.to.Next(); next.IsValid() {
			out = append(out, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// fromElements is the reverse; the kernel lists elements in any order.
func fromElements(elements []nftables.SetElement) ranges {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		if c := slices.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		switch { // an end and a start at one address: the end belongs to what was before
		case a.IntervalEnd == b.IntervalEnd:
			return 0
		case a.IntervalEnd:
			return -1
		}
		return 1
	})
	var out ranges
	open := false
	for _, e := range elements {
		a, ok := netip.AddrFromSlice(e.Key)
		if !ok {
			continue
		}
		switch {
		case !e.IntervalEnd:
			out = append(out, span{from: a})
			open = true
		case open:
			out[len(out)-1].to = a.Prev()
			open = false
		}
	}
	if open {
		s := &out[len(out)-1]
		s.to = lastAddr(netip.PrefixFrom(s.from, 0))
	}
	return out
}
