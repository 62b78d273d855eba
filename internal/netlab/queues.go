package netlab

import (
	"fmt"
	"strconv"
	"strings"
)

// FullQueues counts what a network namespace has dropped so far because a queue was
// full: that of a TUN, whose process had no processor, or that of a socket, such as
// the 200 kB of Debian's wireguard-go. What WireGuard itself refuses is not among
// them. Such a loss is the busy machine's. Read returns a file of /proc/net there
// (proc_pid_net(5)); one that fails is a protocol that the kernel lacks. Where has a
// line for each queue.
func FullQueues(node string, read func(file string) (string, error)) (dropped int, where string) {
	var b strings.Builder
	for _, file := range []string{"dev", "udp", "raw"} {
		text, err := read(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(strings.Replace(line, ":", " ", 1))
			what, count := "", "0"
			switch {
			case file == "dev" && len(f) == 17:
				what, count = "interface "+f[0], f[12] // to be sent
			case file != "dev" && len(f) > 12:
				what, count = file+" socket "+f[1], f[len(f)-1]
			}
			if k, err := strconv.Atoi(count); err == nil && k > 0 {
				dropped += k
				fmt.Fprintf(&b, "%s: %s dropped %d\n", node, what, k)
			}
		}
	}
	return dropped, b.String()
}
