package play

import (
	"fmt"
	"os"

	"github.com/wgbgp/wgbgp/internal/netlab"
)

// fullQueues counts what the nodes dropped so far because a queue was full.
func (p *player) fullQueues() (dropped int, where string) {
	for _, n := range p.Nodes {
		k, text := netlab.FullQueues(n.Name(), func(file string) (string, error) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", n.PID, file))
			return string(b), err
		})
		dropped, where = dropped+k, where+text
	}
	return dropped, where
}
