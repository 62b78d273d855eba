// Command labnode plays one part of a lab in the network namespace it is started
// in:
//
//	labnode lab-tgw CONFIG.json    a Transit Gateway (labs/tgwsim/plain)
//	labnode lab-site CONFIG.json   a remote site (labs/site)
package main

import (
	"fmt"
	"os"

	"github.com/wgbgp/wgbgp/labs/node"
)

func main() {
	node.Main()
	fmt.Fprintf(os.Stderr, "usage: labnode %s|%s CONFIG.json\n", node.TGW, node.Site)
	os.Exit(2)
}
