package netlab

import (
	"errors"
	"testing"
)

// The texts are a kernel 6.1's.
func TestFullQueuesCountsWhatWasDropped(t *testing.T) {
	files := map[string]string{
		"dev": `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    9    0     0          0         0      100       1    0    0    0     0       0          0
   wg0:    2000      20    0    0    0     0          0         0     3000      30    0   17    0     0       0          0
`,
		"udp": `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   83: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4321 2 0000000000000000 5
   84: 00000000:CA6D 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4322 2 0000000000000000 0
`,
	}
	n, where := FullQueues("gw1", func(file string) (string, error) {
		text, ok := files[file]
		if !ok {
			return "", errors.New("no such file")
		}
		return text, nil
	})
	if want := "gw1: interface wg0 dropped 17\ngw1: udp socket 00000000:CA6C dropped 5\n"; n != 22 || where != want {
		t.Errorf("got %d, %q; want 22, %q", n, where, want)
	}
}
