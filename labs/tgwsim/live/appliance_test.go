package live

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/gre"
)

// appliance is the other end of a Connect peer: a tunnel and two sessions.
type appliance struct {
	Local, Remote netip.Addr
	Inside4       netip.Prefix
	ASN, TGWASN   bgp.ASN
	Networks      []netip.Prefix
	Events        string
}

const applianceWord = "test-appliance"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == applianceWord {
		if err := runAppliance(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runAppliance(text string) error {
	var a appliance
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	tunnels, err := gre.New(gre.Options{Logger: log})
	if err != nil {
		return err
	}
	inside := tgwconnect.Host(a.Inside4, 1)
	want := []tgwconnect.Tunnel{{Name: "tgw", Backend: tgwconnect.BackendAuto, Local: a.Local, Remote: a.Remote, Addresses: []netip.Prefix{inside}}}
	for !tunnels.Apply(ctx, 1, want, false)[0].Up {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond): // until the tunnel is there
		}
	}
	s := router.Speaker{}
	for i := range 2 {
		s.Neighbors = append(s.Neighbors, router.Neighbor{
			Name: fmt.Sprint("tgw/", i+1), Via: "tgw", Device: "tgw", Address: tgwconnect.Host(a.Inside4, i+2).Addr(), Local: inside.Addr(),
			ASN: a.TGWASN, MultihopTTL: 2, Hold: 3,
		})
	}
	r, err := router.New(router.Config{
		ASN: a.ASN, RouterID: inside.Addr(), Speakers: []router.Speaker{s}, Networks: a.Networks, Table: 99, Events: a.Events,
	}, log)
	if err != nil {
		return err
	}
	return r.Run(ctx)
}
