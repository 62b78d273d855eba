package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkBGPBackup measures how long it takes from the loss of a neighbor's
// session (TCP reset) until the last of n prefixes is forwarded by another
// neighbor that had a longer path to each of them, for n from 10 to 100,000: with
// prefix-independent convergence it is as long for many as for few. Daemons take
// turns, each freshly started.
func BenchmarkBGPBackup(b *testing.B) { backup(b, false) }

// BenchmarkBGPBackupIPv6 is the same with IPv6.
func BenchmarkBGPBackupIPv6(b *testing.B) { backup(b, true) }

func backup(b *testing.B, six bool) {
	if !bgpBench(b) {
		return
	}
	var ours []float64
	for _, n := range []int{10, 10_000, 100_000} {
		rounds := 5
		if n > 10_000 {
			rounds = 3
		}
		move := moves(b, six, n, rounds)
		move.print(fmt.Sprintf("BGPBackup/%s/%d", family(six), n), "ms")
		ours = append(ours, move.median("wgbgpd"))
	}
	fmt.Printf("BenchmarkBGPBackup/%s/spread 1 %.3f x-slowest\n", family(six), slices.Max(ours)/slices.Min(ours))
}

func family(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}

func moves(b *testing.B, six bool, n, rounds int) figures {
	net := network{six: six, peers: 2, closely: true}
	first := newTable(diverseAttrs, n, net.address(1), uint32(net.asn(1)), 0)
	second := newTable(diverseAttrs, n, net.address(2), uint32(net.asn(2)), 1)
	move := figures{}
	for range rounds {
		for _, s := range subjects(program()...) {
			start(b, s, net, func(r *run) {
				there := r.obs.when(net.address(1), n)
				if err := r.send(1, first); err != nil {
					b.Fatal(err)
				}
				r.until(b, s.name+": table", there, net.address(1))
				if err := r.send(2, second); err != nil {
					b.Fatal(err)
				}
				r.rest(b, shortRest)
				moved := r.obs.when(net.address(2), n)
				begin := time.Now()
				if err := r.peers[0].reset(); err != nil {
					b.Fatal(err)
				}
				move.add(s.name, ms(r.until(b, s.name+": backup", moved, net.address(2)).Sub(begin)))
			})
		}
	}
	return move
}
