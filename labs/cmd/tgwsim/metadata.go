package main

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// metadata answers every instance for itself: who asks follows from the address
// that the request comes from.
func metadata(w *world.World) http.Handler {
	var mu sync.Mutex
	services := map[string]*tgwsim.IMDS{} // by instance ID
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		id := ""
		w.View(func(s *world.State) {
			for _, n := range s.Interfaces {
				if err == nil && slices.Contains(n.Addresses, from.Addr().Unmap()) {
					id = n.InstanceID
				}
			}
		})
		if id == "" {
			http.NotFound(rw, r)
			return
		}
		mu.Lock()
		if services[id] == nil {
			services[id] = tgwsim.NewIMDS(w, time.Now, id)
		}
		s := services[id]
		mu.Unlock()
		s.ServeHTTP(rw, r)
	})
}

// haveAddress gives this host the address that a service listens on, such as
// 169.254.169.254.
func haveAddress(hostport string) error {
	a, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	ip := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Addr().BitLen(), a.Addr().BitLen())}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ip}); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
