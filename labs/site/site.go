// Package site plays a remote site on a host of a lab: WireGuard tunnels run by
// wireguard-go itself, not by the product's device edge, static routes, and if
// wanted a BGP router inside the tunnels. It needs nothing installed; tests that
// want somebody else's code at the far end use package daemons.
package site

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/labs/router"
	"github.com/wgbgp/wgbgp/wg"
)

// Config is a site.
type Config struct {
	Tunnels []Tunnel
	Routes  []Route
	// BGP is run when it has speakers.
	BGP router.Config
}

// Tunnel is one WireGuard interface with one peer, the gateway.
type Tunnel struct {
	Device       string
	PrivateKey   string // base64
	PublicKey    string // of the gateway
	PresharedKey string
	Endpoint     netip.AddrPort // invalid: the gateway finds us
	ListenPort   uint16
	Keepalive    int // seconds
	Addresses    []netip.Prefix
	AllowedIPs   []netip.Prefix
	MTU          int // 0: 1420
}

// Route is a static route by way of one or more addresses in the tunnels.
type Route struct {
	Prefix netip.Prefix
	Via    []netip.Addr
}

// Run plays the site described by the JSON in file until SIGTERM. SIGHUP reads
// the networks that BGP announces again.
func Run(file string, log *slog.Logger) error {
	cfg, err := read(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for _, t := range cfg.Tunnels {
		closer, err := t.start()
		if err != nil {
			return fmt.Errorf("tunnel %s: %w", t.Device, err)
		}
		defer closer()
	}
	for _, r := range cfg.Routes {
		if err := r.add(); err != nil {
			return fmt.Errorf("route %s: %w", r.Prefix, err)
		}
	}
	log.Info("site is up", "tunnels", len(cfg.Tunnels))
	if len(cfg.BGP.Speakers) == 0 {
		<-ctx.Done()
		return nil
	}
	r, err := router.New(cfg.BGP, log)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if cfg, err := read(file); err != nil {
				log.Error("reload", "err", err)
			} else {
				r.SetNetworks(cfg.BGP.Networks)
			}
		}
	}()
	return r.Run(ctx)
}

func read(file string) (Config, error) {
	var cfg Config
	b, err := os.ReadFile(file)
	if err != nil {
		return cfg, err
	}
	if err := json.Unmarshal(b, &cfg); err != nil {
		// The text is not repeated: it holds private keys.
		return cfg, fmt.Errorf("%s: not the JSON of a site", file)
	}
	return cfg, nil
}

// start makes the interface; wg(8) can talk to it afterwards.
func (t Tunnel) start() (closer func(), err error) {
	config, err := t.uapi()
	if err != nil {
		return nil, err
	}
	mtu := t.MTU
	if mtu == 0 {
		mtu = device.DefaultMTU
	}
	tunDev, err := tun.CreateTUN(t.Device, mtu)
	if err != nil {
		return nil, fmt.Errorf("make TUN: %w", err)
	}
	dev := device.NewDevice(tunDev, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, t.Device+" "))
	closer = dev.Close
	if err := dev.IpcSet(config); err != nil {
		return closer, fmt.Errorf("configure: %w", err)
	}
	if err := dev.Up(); err != nil {
		return closer, fmt.Errorf("set up: %w", err)
	}
	if err := t.address(); err != nil {
		return closer, err
	}
	return closer, serveUAPI(dev, t.Device)
}

// uapi is the configuration in WireGuard's cross-platform protocol.
// https://www.wireguard.com/xplatform/#configuration-protocol
func (t Tunnel) uapi() (string, error) {
	private, err1 := wg.ParsePrivateKey(t.PrivateKey)
	public, err2 := wg.ParseKey(t.PublicKey)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	var b strings.Builder
	key := private.Reveal()
	fmt.Fprintf(&b, "private_key=%s\n", hex.EncodeToString(key[:]))
	if t.ListenPort != 0 {
		fmt.Fprintf(&b, "listen_port=%d\n", t.ListenPort)
	}
	fmt.Fprintf(&b, "replace_peers=true\npublic_key=%s\n", hex.EncodeToString(public[:]))
	if t.PresharedKey != "" {
		psk, err := wg.ParsePresharedKey(t.PresharedKey)
		if err != nil {
			return "", err
		}
		key := psk.Reveal()
		fmt.Fprintf(&b, "preshared_key=%s\n", hex.EncodeToString(key[:]))
	}
	if t.Endpoint.IsValid() {
		fmt.Fprintf(&b, "endpoint=%s\n", t.Endpoint)
	}
	if t.Keepalive != 0 {
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", t.Keepalive)
	}
	for _, p := range t.AllowedIPs {
		fmt.Fprintf(&b, "allowed_ip=%s\n", p)
	}
	return b.String(), nil
}

func (t Tunnel) address() error {
	link, err := netlink.LinkByName(t.Device)
	if err != nil {
		return err
	}
	// The measurement shall not lose packets because this process did not run
	// for a moment.
	if err := netlink.LinkSetTxQLen(link, 5000); err != nil {
		return err
	}
	for _, p := range t.Addresses {
		a, err := netlink.ParseAddr(p.String())
		if err != nil {
			return err
		}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	// The default of 500 is half a second of a lab's traffic, and on a busy
	// machine this process may have to wait longer than that.
	if err := netlink.LinkSetTxQLen(link, 10000); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// serveUAPI opens the socket that wg(8) uses.
func serveUAPI(dev *device.Device, name string) error {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return err
	}
	listener, err := ipc.UAPIListen(name, file)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go dev.IpcHandle(c)
		}
	}()
	return nil
}

func (r Route) add() error {
	dst, err := netlink.ParseIPNet(r.Prefix.Masked().String())
	if err != nil {
		return err
	}
	rt := &netlink.Route{Dst: dst, Scope: netlink.SCOPE_UNIVERSE}
	for _, via := range r.Via {
		rt.MultiPath = append(rt.MultiPath, &netlink.NexthopInfo{Gw: via.AsSlice()})
	}
	if len(rt.MultiPath) == 1 {
		rt.Gw, rt.MultiPath = rt.MultiPath[0].Gw, nil
	}
	return netlink.RouteReplace(rt)
}
