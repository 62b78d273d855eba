// Package node lets one program play the parts of a lab: the lab starts its own
// executable again on each host with the name of a part as first argument.
package node

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/wgbgp/wgbgp/labs/site"
	"github.com/wgbgp/wgbgp/labs/tgwsim/plain"
)

// Parts that a node can play; each takes the name of a configuration file.
const (
	TGW    = "lab-tgw"
	Site   = "lab-site"
	Tunnel = "lab-tunnel"
)

// Main plays a part if the program's arguments ask for one, and then does not
// return. Call it first in main or TestMain.
func Main() {
	if len(os.Args) != 3 {
		return
	}
	var run func(string, *slog.Logger) error
	switch os.Args[1] {
	case TGW:
		run = plain.Run
	case Site:
		run = site.Run
	case Tunnel:
		run = tunnel
	default:
		return
	}
	if err := run(os.Args[2], slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	os.Exit(0)
}
