package gre

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// The test binary is also the far end of a test: started with helperEnv in a
// namespace it runs a Manager (or wireguard-go, for comparison) in a process
// of its own, as in reality.
const (
	helperEnv = "WGBGP_GRE_HELPER"
	plainEnv  = "WGBGP_GRE_PLAIN" // a manager without offload
)

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "manager":
		helperManager()
	case "wireguard":
		helperWireGuard()
	default:
		os.Exit(m.Run())
	}
}

// applyRequest is one line to a manager helper; it answers with the states.
type applyRequest struct {
	Gen   uint64
	Want  []tgwconnect.Tunnel
	Sweep bool
	Look  bool // Observe instead
}

func helperManager() {
	stopProfile := profile()
	defer stopProfile()
	m, err := New(Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), PlainSockets: os.Getenv(plainEnv) != ""})
	if err != nil {
		panic(err)
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var r applyRequest
		if err := in.Decode(&r); err != nil {
			break
		}
		states := m.Observe()
		if !r.Look {
			states = m.Apply(context.Background(), r.Gen, r.Want, r.Sweep)
		}
		_ = json.NewEncoder(os.Stdout).Encode(states)
	}
	_ = m.Close()
}

func helperWireGuard() {
	in := bufio.NewReader(os.Stdin)
	var c struct {
		Name string
		MTU  int
		UAPI string
	}
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &c) != nil {
		panic(err)
	}
	dev, err := tun.CreateTUN(c.Name, c.MTU)
	if err != nil {
		panic(err)
	}
	d := device.NewDevice(dev, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, "wg "))
	if err := d.IpcSet(c.UAPI); err != nil {
		panic(err)
	}
	if err := d.Up(); err != nil {
		panic(err)
	}
	fmt.Println("{}")
	_, _ = io.Copy(io.Discard, in)
	d.Close()
}

// helper is a running helper process.
type helper struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startHelper starts one in a namespace; nil is the isolated one.
func startHelper(t testing.TB, ns *nstest.NS, kind string, env ...string) *helper {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	if ns != nil {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd = ns.Cmd(exe)
	}
	cmd.Env = append(append(os.Environ(), helperEnv+"="+kind), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{t: t, cmd: cmd, in: in, out: json.NewDecoder(out)}
	t.Cleanup(h.stop)
	return h
}

// stop ends the process in an orderly way.
func (h *helper) stop() {
	if h.cmd.ProcessState != nil {
		return
	}
	_ = h.in.Close()
	timer := time.AfterFunc(10*time.Second, func() { _ = h.cmd.Process.Kill() })
	defer timer.Stop()
	_ = h.cmd.Wait()
}

// crash ends it as a crash does.
func (h *helper) crash() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

func (h *helper) ask(r any) []tgwconnect.TunnelState {
	h.t.Helper()
	if err := json.NewEncoder(h.in).Encode(r); err != nil {
		h.t.Fatalf("helper: %v", err)
	}
	var states []tgwconnect.TunnelState
	var raw json.RawMessage
	if err := h.out.Decode(&raw); err != nil {
		h.t.Fatalf("helper: %v", err)
	}
	_ = json.Unmarshal(raw, &states)
	return states
}

// far is the tunnel as the other end has it, with host 2 of each inside block.
func far(t tgwconnect.Tunnel) tgwconnect.Tunnel {
	t.Local, t.Remote = t.Remote, t.Local
	var addrs []netip.Prefix
	for _, p := range t.Addresses {
		addrs = append(addrs, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	t.Addresses = addrs
	return t
}

// profile writes a CPU profile of a helper where WGBGP_GRE_PROFILE says.
func profile() func() {
	path := os.Getenv("WGBGP_GRE_PROFILE")
	if path == "" {
		return func() {}
	}
	return startProfile(path)
}
