package play

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"rsc.io/script"

	"github.com/wgbgp/wgbgp/internal/netlab"
	"github.com/wgbgp/wgbgp/labs/clab"
	"github.com/wgbgp/wgbgp/labs/stage"
)

// cut is how a cut is undone.
type cut func() error

func cutName(args []string) string { return min(args[0], args[1]) + " " + max(args[0], args[1]) }

// cut drops everything between two nodes. Neither sees its link go down: on a
// direct link both ends send into a blackhole qdisc (net/sched/sch_blackhole.c),
// which packet sockets can not get around as they do with a packet filter; else
// the node between them drops what it forwards from one to the other.
func (p *player) cut(args []string) error {
	if len(args) != 2 {
		return script.ErrUsage
	}
	name := cutName(args)
	if p.cuts[name] != nil {
		return fmt.Errorf("%s and %s are cut already", args[0], args[1])
	}
	for _, node := range args {
		if _, err := p.Node(node); err != nil {
			return err
		}
	}
	direct := p.Topology.Between(args[0], args[1])
	var ends []clab.End
	for _, l := range direct {
		ends = append(ends, l.A, l.B)
	}
	if len(ends) > 0 {
		p.cuts[name] = func() error { return p.blackhole(ends, false) }
		return p.blackhole(ends, true)
	}
	for _, middle := range p.Nodes {
		a, b := p.Topology.Between(middle.Name(), args[0]), p.Topology.Between(middle.Name(), args[1])
		if len(a) == 1 && len(b) == 1 {
			table := "cut_" + strings.NewReplacer(" ", "_", "-", "_").Replace(name)
			p.cuts[name] = func() error { return heal(middle, table) }
			return dropForwarded(middle, table, a[0].A.Interface, b[0].A.Interface)
		}
	}
	return fmt.Errorf("%s and %s have neither a link nor a node between them", args[0], args[1])
}

func (p *player) restore(args []string) error {
	if len(args) != 2 {
		return script.ErrUsage
	}
	undo := p.cuts[cutName(args)]
	if undo == nil {
		return fmt.Errorf("%s and %s are not cut", args[0], args[1])
	}
	delete(p.cuts, cutName(args))
	return undo()
}

func (p *player) blackhole(ends []clab.End, on bool) error {
	var errs []error
	for _, e := range ends {
		n, err := p.Node(e.Node)
		if err == nil {
			err = n.Netlink(func(nl *netlink.Handle) error {
				return netlab.Blackhole(nl, e.Interface, on)
			})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", e.Node, e.Interface, err))
		}
	}
	return errors.Join(errs...)
}

func dropForwarded(n *stage.Node, table, a, b string) error {
	return nft(n, func(c *nftables.Conn) {
		t := c.AddTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
		chain := c.AddChain(&nftables.Chain{
			Name: "forward", Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		for _, d := range [][2]string{{a, b}, {b, a}} {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: interfaceName(d[0])},
				&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: interfaceName(d[1])},
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
	})
}

func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func heal(n *stage.Node, table string) error {
	return nft(n, func(c *nftables.Conn) {
		c.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	})
}

// edit replaces a text in a file of the lab, in place, because the file may be
// mounted into a node.
func (p *player) edit(args []string) (string, error) {
	if len(args) != 3 {
		return "", script.ErrUsage
	}
	path, err := p.path(args[0])
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), args[1]); n != 1 {
		return "", fmt.Errorf("%s: %q is there %d times, want once", args[0], args[1], n)
	}
	return "", os.WriteFile(path, []byte(strings.Replace(string(b), args[1], args[2], 1)), 0o644)
}

func nft(n *stage.Node, change func(*nftables.Conn)) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		change(c)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("nftables on %s: %w", n.Name(), err)
		}
		return nil
	})
}
