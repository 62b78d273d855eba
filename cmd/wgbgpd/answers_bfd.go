package main

import (
	"cmp"
	"context"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// BFD lists the BFD sessions by name.
func (b *backend) BFD(ctx context.Context) ([]api.BFD, error) {
	return read(ctx, b, func(c *ha.Core, now time.Time) []api.BFD {
		out := make([]api.BFD, 0, len(c.BFD()))
		for _, v := range c.BFD() {
			s := v.Seen
			out = append(out, api.BFD{
				Name: v.Config.Name, Neighbor: v.Neighbor, Site: v.Site,
				Address: v.Config.Address, LocalAddress: v.Config.LocalAddress, Interface: v.Config.Device,
				State: string(cmp.Or(s.State, bgp.BFDDown)), RemoteState: string(cmp.Or(s.RemoteState, bgp.BFDDown)), Since: api.At(s.Since, now),
				Failed: s.Failed, Diagnostic: s.Diag.String(), RemoteDiagnostic: s.RemoteDiag.String(),
				IntervalMS: millis(s.Interval), RemoteIntervalMS: millis(s.RemoteInterval), DetectMS: millis(s.DetectTime),
				Multiplier: v.Config.Multiplier, RemoteMultiplier: s.RemoteMultiplier,
				Discriminator: s.LocalDiscr, RemoteDiscriminator: s.RemoteDiscr, Flaps: s.Flaps, Strict: v.Config.Strict, Note: s.Note,
			})
		}
		return out
	})
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
