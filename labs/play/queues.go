package play

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// fullQueues counts what the nodes dropped so far because a queue was full: that
// of a TUN, whose process had no processor, or that of a socket, such as the
// 200 kB of Debian's wireguard-go. What WireGuard itself refuses is not among
// them. Such a loss is the busy machine's.
func (p *player) fullQueues() (dropped int, where string) {
	var b strings.Builder
	for _, n := range p.Nodes {
		for _, file := range []string{"dev", "udp", "raw"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", n.PID, file))
			if err != nil {
				continue // a kernel without that protocol
			}
			for line := range strings.Lines(string(text)) {
				f := strings.Fields(strings.Replace(line, ":", " ", 1))
				what, count := "", "0"
				switch {
				case file == "dev" && len(f) == 17:
					what, count = "interface "+f[0], f[12] // to be sent; proc_pid_net(5)
				case file != "dev" && len(f) > 12:
					what, count = file+" socket "+f[1], f[len(f)-1]
				}
				if k, err := strconv.Atoi(count); err == nil && k > 0 {
					dropped += k
					fmt.Fprintf(&b, "%s: %s dropped %d\n", n.Name(), what, k)
				}
			}
		}
	}
	return dropped, b.String()
}
