package daemons

import (
	"github.com/wgbgp/wgbgp/internal/netlab"
)

// GoBGP is a gobgpd on one host. Debian's is of version 3; `make tools` builds
// one of version 4.
type GoBGP struct {
	Process *netlab.Process
	host    *netlab.Host
	cli     string
}

// StartGoBGP starts gobgpd with this configuration (TOML) and returns when it
// answers. The command line must be of the daemon's version.
func StartGoBGP(h *netlab.Host, daemon, cli, config string) (*GoBGP, error) {
	conf, err := h.File("gobgp/gobgpd.toml", config)
	if err != nil {
		return nil, err
	}
	g := &GoBGP{host: h, cli: cli}
	if g.Process, err = h.Start("gobgpd", daemon, "-f", conf, "-t", "toml", "--api-hosts", "127.0.0.1:50051", "--pprof-disable"); err != nil {
		return nil, err
	}
	return g, waitFor(g.Process, func() error {
		_, err := g.CLI("global")
		return err
	})
}

// CLI runs one command of gobgp.
func (g *GoBGP) CLI(command ...string) (string, error) {
	return g.host.Run(append([]string{g.cli}, command...)...)
}
