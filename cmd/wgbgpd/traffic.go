package main

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// packetsIn counts what has come in by the tunnels of a plan, and estimates how
// much of it per second is the gateway's own conversation: answers to probes, BFD
// and BGP.
func packetsIn(p *ha.Plan) (packets, own int64) {
	if p == nil {
		return 0, 0
	}
	var names []string
	for i := range p.Devices {
		names = append(names, p.Devices[i].Name)
	}
	for i := range p.Tunnels {
		names = append(names, p.Tunnels[i].Name)
	}
	rate := 5.0
	for i := range p.BFD {
		rate += 1.2 / p.BFD[i].Interval.Seconds()
	}
	for i := range p.Probes {
		if p.Probes[i].Kind != wg.ProbeHeartbeat {
			rate += 1 / p.Probes[i].Interval.Seconds()
		}
	}
	rate += 2 * float64(len(p.Neighbors))
	b, _ := os.ReadFile("/proc/net/dev")
	return received(b, names), int64(rate)
}

// received adds up the received packets of the interfaces in a copy of
// /proc/net/dev (net/core/net-procfs.c: bytes, then packets).
func received(dev []byte, names []string) (n int64) {
	lines := bufio.NewScanner(bytes.NewReader(dev))
	for lines.Scan() {
		name, counters, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if f := strings.Fields(counters); ok && len(f) > 1 && slices.Contains(names, name) {
			packets, _ := strconv.ParseInt(f[1], 10, 64)
			n += packets
		}
	}
	return n
}
