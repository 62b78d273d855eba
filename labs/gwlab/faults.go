package gwlab

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Cut drops every packet between a gateway and a site in the internet, in both
// directions, without a word to either. Heal ends it.
func (l *Lab) Cut(g *GatewayHost, s *SiteHost) error {
	return l.nft(func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: cutName(g, s), Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{
			Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		for _, d := range [][2]netip.Addr{{g.plan.underlay, s.plan.underlay}, {s.plan.underlay, g.plan.underlay}} {
			addrs := append(d[0].AsSlice(), d[1].AsSlice()...)
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				// Source and destination address follow each other (RFC 791).
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 8},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addrs},
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
	})
}

// Heal ends a Cut.
func (l *Lab) Heal(g *GatewayHost, s *SiteHost) error {
	return l.nft(func(c *nftables.Conn) {
		c.DelTable(&nftables.Table{Name: cutName(g, s), Family: nftables.TableFamilyIPv4})
	})
}

func cutName(g *GatewayHost, s *SiteHost) string {
	return "cut_" + strings.ReplaceAll(g.Name+"_"+s.Name, "-", "_")
}

func (l *Lab) nft(change func(*nftables.Conn)) error {
	return l.Internet.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		change(c)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("nftables in the internet: %w", err)
		}
		return nil
	})
}
