package daemons

import (
	"path/filepath"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// BIRD is a BIRD 2 on one host.
type BIRD struct {
	Process *netlab.Process
	host    *netlab.Host
	conf    string
	socket  string
}

// StartBIRD starts BIRD with this configuration and returns when it answers.
// Routes go where the configuration's kernel protocols say.
func StartBIRD(h *netlab.Host, config string) (*BIRD, error) {
	conf, err := h.File("bird/bird.conf", config)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(conf)
	b := &BIRD{host: h, conf: conf, socket: filepath.Join(dir, "bird.ctl")}
	b.Process, err = h.Start("bird", "bird", "-f", "-c", conf, "-s", b.socket, "-P", filepath.Join(dir, "bird.pid"))
	if err != nil {
		return nil, err
	}
	return b, waitFor(b.Process, func() error {
		_, err := b.Birdc("show", "status")
		return err
	})
}

// Birdc runs one command of birdc.
func (b *BIRD) Birdc(command ...string) (string, error) {
	return b.host.Run(append([]string{"birdc", "-s", b.socket}, command...)...)
}

// Configure replaces the configuration without restarting what did not change.
func (b *BIRD) Configure(config string) error {
	if _, err := b.host.File("bird/bird.conf", config); err != nil {
		return err
	}
	_, err := b.Birdc("configure")
	return err
}
