package failover

import (
	"errors"

	"github.com/vishvananda/netlink"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// Failure is what happens to the first gateway.
type Failure string

// The failures. In neither is anybody told: no link goes down, no TCP session is
// reset.
const (
	SiteTunnel Failure = "site tunnel" // every packet between it and the site is lost
	Host       Failure = "host"        // every packet from and to it is lost
)

// cut brings a failure about and returns its end.
func (l *Lab) cut(f Failure) (heal func() error, err error) {
	if f == SiteTunnel {
		return func() error { return l.Heal(l.dying, l.site) }, l.Cut(l.dying, l.site)
	}
	return func() error { return l.isolate(false) }, l.isolate(true)
}

// isolate puts blackhole qdiscs at both ends of every link of the first gateway
// (net/sched/sch_blackhole.c): what is sent into them is lost without an error.
func (l *Lab) isolate(on bool) error {
	name := l.dying.Name
	var errs []error
	for _, e := range []struct {
		host   *netlab.Host
		device string
	}{
		{l.dying.Host, "eth0"},
		{l.dying.Host, "eth1"},
		{l.dying.Host, fleetDevice},
		{l.TGW, name},
		{l.Internet, name},
		{l.other.Host, fleetDevice},
	} {
		errs = append(errs, e.host.Netlink(func(nl *netlink.Handle) error {
			return netlab.Blackhole(nl, e.device, on)
		}))
	}
	return errors.Join(errs...)
}
