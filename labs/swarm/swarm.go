// Package swarm plays hundreds of remote sites in one process: each is a peer of
// the gateway, run by wireguard-go without an interface, that returns every UDP
// packet to its sender. Start reading at Run; echo.go is their end of the tunnel.
package swarm

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/labs/stage"
)

// Config is a swarm. The keys of its sites follow from their names, as those of
// key files do (package stage).
type Config struct {
	Lab      string `toml:"lab"`
	Peers    int    `toml:"peers"`
	Prefixes int    `toml:"prefixes"` // of each site, /24 each
	// First is the first prefix of the first site; the others follow.
	First netip.Prefix `toml:"first"`
	// Inner is the inner address of the first site.
	Inner netip.Addr `toml:"inner"`
	// Outer is where the sites listen, from this port on.
	Outer netip.AddrPort `toml:"outer"`
	// Gateway names the key file of the gateway.
	Gateway string `toml:"gateway"`
}

// Load reads the TOML of a swarm.
func Load(file string) (Config, error) {
	var c Config
	known, err := toml.DecodeFile(file, &c)
	if err != nil {
		return c, err
	}
	if strange := known.Undecoded(); len(strange) > 0 {
		return c, fmt.Errorf("%s: unknown key %s", file, strange[0])
	}
	if !c.First.Addr().Is4() || !c.Inner.Is4() || !c.Outer.IsValid() || c.First.Bits() != 24 {
		return c, fmt.Errorf("%s: want first (an IPv4 /24), inner and outer", file)
	}
	return c, nil
}

// Run plays the swarm described by file until SIGTERM.
func Run(file string, log *slog.Logger) error {
	c, err := Load(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	_, gateway, err := stage.Key(c.Lab, c.Gateway)
	if err != nil {
		return err
	}
	for i := range c.Peers {
		private, _, err := stage.Key(c.Lab, name(i)+".key")
		if err != nil {
			return err
		}
		d, err := Start(ListenUDP, private, gateway, c.Outer.Port()+uint16(i))
		if err != nil {
			return fmt.Errorf("%s: %w", name(i), err)
		}
		defer d.Close()
	}
	log.Info("sites are up", "sites", c.Peers)
	<-ctx.Done()
	return nil
}

// Listen opens the UDP socket of a site.
type Listen func(port uint16) (*net.UDPConn, error)

// ListenUDP opens it on IPv4, at any address of the host.
func ListenUDP(port uint16) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
}

// Start runs a peer of the gateway with these keys, in base64, until it is
// closed. It says nothing by itself.
func Start(listen Listen, private, gateway string, port uint16) (*device.Device, error) {
	return StartOn(newEcho(), listen, private, gateway, port)
}

// StartOn is Start with the peer's own end of the tunnel.
func StartOn(t tun.Device, listen Listen, private, gateway string, port uint16) (*device.Device, error) {
	mine, err1 := base64.StdEncoding.DecodeString(private)
	theirs, err2 := base64.StdEncoding.DecodeString(gateway)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	d := device.NewDevice(t, listen.Bind(), device.NewLogger(device.LogLevelSilent, ""))
	err := d.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nallowed_ip=0.0.0.0/0\n",
		hex.EncodeToString(mine), port, hex.EncodeToString(theirs)))
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func name(i int) string { return fmt.Sprintf("site-%03d", i+1) }

// Sites is the swarm as it stands in the gateway's configuration.
func (c Config) Sites() (string, error) {
	var b strings.Builder
	b.WriteString("# Written by go test ./labs/swarm -update, from what the swarm is told.\n")
	inner := c.Inner
	prefix := c.First.Addr().As4()
	for i := range c.Peers {
		_, public, err := stage.Key(c.Lab, name(i)+".key")
		if err != nil {
			return "", err
		}
		var prefixes []string
		for range c.Prefixes {
			prefixes = append(prefixes, fmt.Sprintf("%q", netip.PrefixFrom(netip.AddrFrom4(prefix), 24)))
			if prefix[2]++; prefix[2] == 0 {
				prefix[1]++
			}
		}
		fmt.Fprintf(&b, "\n[[site]]\nname = %q\npublic-key = %q\nendpoint = %q\naddress = [%q]\nprefixes = [%s]\n",
			name(i), public, netip.AddrPortFrom(c.Outer.Addr(), c.Outer.Port()+uint16(i)), inner, strings.Join(prefixes, ", "))
		inner = inner.Next()
	}
	return b.String(), nil
}
