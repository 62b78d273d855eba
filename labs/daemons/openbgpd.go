package daemons

import (
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

const openBGPD = "/usr/sbin/bgpd" // FRR's has the same name, elsewhere

// OpenBGPD is OpenBSD's bgpd in its portable edition.
type OpenBGPD struct {
	Process *netlab.Process
	host    *netlab.Host
	socket  string
}

// StartOpenBGPD starts OpenBGPD with this configuration and returns when it
// answers. It writes no kernel routes on Linux.
func StartOpenBGPD(h *netlab.Host, config string) (*OpenBGPD, error) {
	o := &OpenBGPD{host: h, socket: filepath.Join("/run", "openbgpd.sock")} // of the host's own /run
	conf, err := h.File("openbgpd/bgpd.conf", config+"\nsocket \""+o.socket+"\"\n")
	if err != nil {
		return nil, err
	}
	if _, err := h.Run("chmod", "600", conf); err != nil { // it insists
		return nil, err
	}
	// Its unprivileged halves see nothing but the home directory of their user,
	// which Debian has in /run.
	if _, err := h.Run("sh", "-c", "mkdir -p $(getent passwd _openbgpd | cut -d: -f6)"); err != nil {
		return nil, err
	}
	if o.Process, err = h.Start("openbgpd", openBGPD, "-d", "-f", conf); err != nil {
		return nil, err
	}
	return o, waitFor(o.Process, func() error {
		_, err := o.Bgpctl("show", "summary")
		return err
	})
}

// Bgpctl runs one command of bgpctl.
func (o *OpenBGPD) Bgpctl(command ...string) (string, error) {
	return o.host.Run(append([]string{"bgpctl", "-s", o.socket}, command...)...)
}
