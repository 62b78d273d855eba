package interop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/netlab"
)

const (
	// bfdWithin bounds the loss of both sessions by wgbgpd's own clock: detection is
	// 900 ms after the last packet, BGP follows at once.
	bfdWithin = 2 * time.Second
	// bfdNotHold bounds it for the partner. Its hold time, 30 s since the last
	// keepalive, at most 10 s old, can not have passed.
	bfdNotHold = 15 * time.Second
	// bfdReason is that of the reset by which wgbgpd answers a failure of BFD.
	bfdReason = "notification-sent cease/6/4"
)

// silenced waits until BFD and BGP are up at both ends, drops all packets between
// them without a word, and looks for both ends to give both up, long before the
// hold time.
func (r *rig) silenced(p partner, l link) error {
	peer, ok := p.(bfdPartner)
	if !ok {
		return errors.New("this partner does no BFD: it should be absent")
	}
	err := eventually(patience, func() error {
		if err := r.exchanged(p, l, false); err != nil {
			return err
		}
		ours, err := r.bfd(l)
		if err != nil {
			return err
		}
		theirs, err := peer.bfdUp(l)
		if err == nil && (ours.State != "Up" || !theirs) {
			err = fmt.Errorf("BFD: wgbgpd %+v, partner up %v", ours, theirs)
		}
		if detect := bfdMultiplier * bfdInterval; err == nil && ours.DetectMS != float64(detect.Milliseconds()) {
			err = fmt.Errorf("BFD: detection time %v ms, want %v", ours.DetectMS, detect)
		}
		return err
	})
	if err != nil {
		return err
	}
	cut := time.Now()
	if err := errors.Join(drop(r.host, l.ours.AsSlice(), l.theirs.AsSlice()), drop(r.gw, l.theirs.AsSlice(), l.ours.AsSlice())); err != nil {
		return err
	}
	err = eventually(patience, func() error { return r.buried(l, cut) })
	if err != nil {
		return err
	}
	return eventually(time.Until(cut.Add(bfdNotHold)), func() error {
		bfd, err := peer.bfdUp(l)
		if err != nil {
			return err
		}
		up, err := p.up(l)
		if err == nil && (bfd || up) {
			err = fmt.Errorf("after the cut the partner says: BFD up %v, BGP up %v", bfd, up)
		}
		return err
	})
}

// buried looks whether wgbgpd gave up both sessions soon after the cut, BGP on
// account of BFD, and what was learned with them.
func (r *rig) buried(l link, cut time.Time) error {
	b, err := r.bfd(l)
	if err != nil {
		return err
	}
	n, err := r.neighbor(l)
	if err != nil {
		return err
	}
	switch in, err := r.client.AdjIn(context.Background(), l.name); {
	case err != nil:
		return err
	case b.State == "Up" || n.State == "Established" || len(in.Paths) > 0:
		return fmt.Errorf("after the cut: BFD %s, BGP %s, %d paths", b.State, n.State, len(in.Paths))
	case !b.Failed || b.Diagnostic != bgp.BFDDiagDetectExpired.String() || n.LossReason != bfdReason:
		return fmt.Errorf("after the cut: BFD %+v, BGP lost for %q, want %q", b, n.LossReason, bfdReason)
	case b.Since.Time.Sub(cut) > bfdWithin || n.Since.Time.Sub(cut) > bfdWithin:
		return fmt.Errorf("after the cut: BFD down after %v, BGP after %v, want %v", b.Since.Time.Sub(cut), n.Since.Time.Sub(cut), bfdWithin)
	}
	return nil
}

// bfd is what wgbgpd says about the BFD session of a neighbor.
func (r *rig) bfd(l link) (api.BFD, error) {
	list, err := r.client.BFD(context.Background(), l.name)
	if err != nil {
		return api.BFD{}, err
	}
	return list.Sessions[0], nil
}

// drop makes a host lose what comes from one IPv4 address for another.
func drop(h *netlab.Host, from, to []byte) error {
	return h.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "cut", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{
			Name: "input", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			// Source and destination address follow each other (RFC 791).
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 8},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append(from, to...)},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
		return c.Flush()
	})
}
