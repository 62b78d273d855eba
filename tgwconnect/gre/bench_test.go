package gre

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

const (
	resultEnv  = "WGBGP_GRE_RESULT"
	settingEnv = "WGBGP_GRE_SETTING" // MTUs of path, GRE, WireGuard; wire; mode
)

// BenchmarkGREvsWireGuard measures one TCP flow of iperf3 through userspace GRE
// and through wireguard-go, in turns in one run, each end of each in a process
// of its own. x_wireguard is the ratio of the medians: GRE over WireGuard.
//
// A veth carries the segments of both whole, as a network card with offload
// for GRE and for UDP would; "segments" is a card with neither, whose driver
// merges what arrives. "plain" is GRE without eBPF.
func BenchmarkGREvsWireGuard(b *testing.B) {
	for _, mtus := range []string{"1500 1476 1420", "9000 8476 8920"} {
		for _, wire := range []string{"whole", "segments"} {
			for _, mode := range []string{"offload", "plain"} {
				b.Run("MTU"+mtus[:4]+"/"+wire+"/"+mode, func(b *testing.B) {
					nstest.Need(b, "iperf3")
					compare(b, mtus+" "+wire+" "+mode)
				})
			}
		}
	}
}

// compare runs benchmarkThroughput in namespaces, as only a top-level test can
// be isolated, and reports what it wrote down.
func compare(b *testing.B, setting string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "result")
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestThroughputForBenchmark$", "-test.v")
	cmd.Env = append(os.Environ(), resultEnv+"="+file, settingEnv+"="+setting)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("measure: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		b.Skipf("not measured: %s", out)
	}
	var r result
	if err := json.Unmarshal(raw, &r); err != nil {
		b.Fatal(err)
	}
	g, w := median(r.GRE), median(r.WireGuard)
	b.ReportMetric(g/1e9, "gre_Gbit/s")
	b.ReportMetric(w/1e9, "wireguard_Gbit/s")
	b.ReportMetric(g/w, "x_wireguard")
	b.ReportMetric(0, "ns/op")
	// What is left of the ratio on a busy machine. These are the processes of
	// each end; a program in the kernel runs in the time of who sends.
	for i, end := range []string{"tx", "rx"} {
		b.ReportMetric(r.GRECPU[i], "gre_"+end+"_cpu_s/GB")
		b.ReportMetric(r.WireGuardCPU[i], "wireguard_"+end+"_cpu_s/GB")
	}
	b.ReportMetric(r.GRETotal, "gre_all_cpu_s/GB")
	b.ReportMetric(r.WireGuardTotal, "wireguard_all_cpu_s/GB")
	b.Logf("rounds: gre %.2f wireguard %.2f Gbit/s", giga(r.GRE), giga(r.WireGuard))
}

type result struct {
	GRE, WireGuard           []float64  // bit/s
	GRECPU, WireGuardCPU     [2]float64 // seconds per GB of the sending and the receiving process
	GRETotal, WireGuardTotal float64    // the same with both iperf3
}

// TestThroughputForBenchmark is no test of its own but the isolated part of
// BenchmarkGREvsWireGuard, which asks for it by resultEnv.
func TestThroughputForBenchmark(t *testing.T) {
	file := os.Getenv(resultEnv)
	if file == "" {
		return
	}
	if !nstest.Isolate(t) {
		return
	}
	var underlay, greMTU, wgMTU int
	var wire, mode string
	if _, err := fmt.Sscan(os.Getenv(settingEnv), &underlay, &greMTU, &wgMTU, &wire, &mode); err != nil {
		t.Fatal(err)
	}
	a, z := nstest.New(t, "a"), nstest.New(t, "z")
	nstest.Veth(t, a, "eth0", []string{"10.0.0.1/24"}, z, "eth0", []string{"10.0.0.2/24"})
	for _, n := range []*nstest.NS{a, z} {
		n.Run(t, "ip", "link", "set", "eth0", "mtu", strconv.Itoa(underlay))
		n.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1") // a gateway's
		if wire == "segments" {
			segmentWire(t, n, "eth0")
		}
	}
	tunnel := tgwconnect.Tunnel{
		Name: "gre1", Backend: tgwconnect.BackendUserspace, MTU: greMTU,
		Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2"),
		Addresses: []netip.Prefix{netip.MustParsePrefix("169.254.100.1/29")},
	}
	var gre []*helper
	for _, e := range []struct {
		n    *nstest.NS
		want tgwconnect.Tunnel
	}{{a, tunnel}, {z, far(tunnel)}} {
		n, want := e.n, e.want
		var env []string
		if mode == "plain" {
			env = append(env, plainEnv+"=1")
		}
		if p := os.Getenv("WGBGP_GRE_PROFILE"); p != "" {
			env = append(env, "WGBGP_GRE_PROFILE="+p+"."+n.Name())
		}
		h := startHelper(t, n, "manager", env...)
		gre = append(gre, h)
		if s := h.ask(applyRequest{Want: []tgwconnect.Tunnel{want}}); s[0].Err != "" || !s[0].Up {
			t.Fatalf("tunnel: %+v", s)
		}
	}
	wireguard := wireguardPair(t, a, z, wgMTU)
	server := z.Cmd("iperf3", "-s")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	for _, dst := range []string{"169.254.100.2", "10.99.0.2"} {
		nstest.Eventually(t, 5*time.Second, func() error { return a.Cmd("ping", "-c1", "-W1", dst).Run() })
	}
	var r result
	var bytes, total [2]float64
	srv := []*helper{{cmd: server}}
	for range 5 {
		for i, dst := range []string{"169.254.100.2", "10.99.0.2"} {
			before := cpu(t, append(srv, append(gre, wireguard...)...))
			rate, carried, client := iperf(t, a, dst)
			total[i] += cpu(t, append(srv, append(gre, wireguard...)...)) - before + client
			bytes[i] += carried
			if i == 0 {
				r.GRE = append(r.GRE, rate)
			} else {
				r.WireGuard = append(r.WireGuard, rate)
			}
		}
	}
	for i := range 2 {
		r.GRECPU[i], r.WireGuardCPU[i] = cpu(t, gre[i:i+1])/bytes[0]*1e9, cpu(t, wireguard[i:i+1])/bytes[1]*1e9
	}
	r.GRETotal, r.WireGuardTotal = total[0]/bytes[0]*1e9, total[1]/bytes[1]*1e9
	raw, _ := json.Marshal(r)
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// cpu is the time processes have used, in seconds (proc(5): 14th and 15th
// field of stat, in ticks of 10 ms).
func cpu(t testing.TB, helpers []*helper) (sum float64) {
	t.Helper()
	for _, h := range helpers {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(raw))
		for _, s := range f[13:15] {
			ticks, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			sum += float64(ticks) / 100
		}
	}
	return sum
}

func wireguardPair(t testing.TB, a, z *nstest.NS, mtu int) (pair []*helper) {
	t.Helper()
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	for i, n := range []*nstest.NS{a, z} {
		h := startHelper(t, n, "wireguard")
		pair = append(pair, h)
		h.ask(map[string]any{"Name": "wg0", "MTU": mtu, "UAPI": fmt.Sprintf(
			"private_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=10.0.0.%d:51820\nallowed_ip=10.99.0.0/24\n",
			hex.EncodeToString(keys[i].Bytes()), hex.EncodeToString(keys[1-i].PublicKey().Bytes()), 2-i)})
		n.Run(t, "ip", "addr", "add", fmt.Sprintf("10.99.0.%d/24", i+1), "dev", "wg0")
		n.Run(t, "ip", "link", "set", "wg0", "up")
	}
	return pair
}

// iperf measures one TCP flow: bit/s received, bytes carried in all, and the
// CPU seconds of the client.
func iperf(t testing.TB, from *nstest.NS, dst string) (rate, total, client float64) {
	t.Helper()
	cmd := from.Cmd("iperf3", "-c", dst, "-t", "2", "-O", "1", "-J")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("iperf3: %v\n%s", err, out)
	}
	var r struct {
		End struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(out, &r); err != nil || r.End.SumReceived.BitsPerSecond == 0 {
		t.Fatalf("iperf3: %v\n%s", err, out)
	}
	rate = r.End.SumReceived.BitsPerSecond
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return rate, rate / 8 * 3, used.Seconds() // the first second is not in the rate
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func giga(v []float64) []float64 {
	g := make([]float64, len(v))
	for i := range v {
		g[i] = v[i] / 1e9
	}
	return g
}

func startProfile(path string) func() {
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		panic(err)
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }
}
