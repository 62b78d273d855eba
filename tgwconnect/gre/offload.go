package gre

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	bpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// offload keeps segments whole through a userspace tunnel, in both directions.
// All of it is gone when the process is: nothing stays in the kernel.
type offload struct {
	in *packetSocket // nil: the raw socket receives all

	counters *ebpf.Map // nil: the raw socket sends all
	send     bpflink.Link
}

// openOffload opens what the kernel and the process's rights allow; neither half
// is needed, and the error says what is missing. No packet may have been
// received yet. With plain no eBPF is used.
func openOffload(t tgwconnect.Tunnel, outer *outerSocket, index int, plain bool) (*offload, error) {
	o := &offload{}
	var recvErr, sendErr error
	if o.in, recvErr = openPacket(t, outer, plain); recvErr != nil {
		recvErr = fmt.Errorf("receive: %w", recvErr)
	}
	if plain {
		return o, recvErr
	}
	if sendErr = o.openSend(t, index); sendErr != nil {
		sendErr = fmt.Errorf("send: %w", sendErr)
	}
	return o, errors.Join(recvErr, sendErr)
}

// openSend attaches the sending program to the TUN. A link (tcx, Linux 6.6)
// ends with its descriptor and shares the place with programs of others.
func (o *offload) openSend(t tgwconnect.Tunnel, index int) error {
	if hasIPsec() {
		return errors.New("the host has IPsec policies")
	}
	counters, err := ebpf.NewMap(&ebpf.MapSpec{Name: "wgbgp_gre", Type: ebpf.Array, KeySize: 4, ValueSize: counterLen, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make counters: %w", err)
	}
	prog, err := ebpf.NewProgram(sendProgram(t, counters))
	if err != nil {
		_ = counters.Close()
		return fmt.Errorf("load program: %w", err)
	}
	defer func() { _ = prog.Close() }() // the link holds it
	if o.send, err = bpflink.AttachTCX(bpflink.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXEgress}); err != nil {
		_ = counters.Close()
		return fmt.Errorf("attach program: %w", err)
	}
	o.counters = counters
	return nil
}

// hasIPsec says whether packets of this host may have to be encrypted. The
// sending program goes around that, so it must not be used then.
func hasIPsec() bool {
	policies, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
	return err == nil && len(policies) > 0 // an error: the kernel has no IPsec
}

// right says that what was opened may still be used.
func (o *offload) right() bool { return o.counters == nil || !hasIPsec() }

// sent is the number of packets the program sent and dropped.
func (o *offload) sent() (sent, lost uint64) {
	if o == nil || o.counters == nil {
		return 0, 0
	}
	var v struct{ Sent, Lost uint64 }
	if o.counters.Lookup(uint32(0), &v) != nil {
		return 0, 0 // closed
	}
	return v.Sent, v.Lost
}

// close ends both halves; a pending receive returns.
func (o *offload) close() {
	if o == nil {
		return
	}
	if o.in != nil {
		_ = o.in.file.Close()
	}
	if o.counters != nil {
		_ = o.send.Close()
		_ = o.counters.Close()
	}
}

// packetSocket receives outer packets as the driver delivers them: merged, with
// the segment size, and with checksums finished or not.
type packetSocket struct {
	file *os.File
	rc   syscall.RawConn
}

func openPacket(t tgwconnect.Tunnel, outer *outerSocket, plain bool) (*packetSocket, error) {
	// Protocol 0 receives nothing before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s := &packetSocket{file: os.NewFile(uintptr(fd), "gre packets "+t.Name)}
	if s.rc, err = s.file.SyscallConn(); err == nil {
		err = s.setUp(fd, t, outer, plain)
	}
	if err != nil {
		_ = s.file.Close()
		// The raw socket has to take all again.
		_ = outer.rc.Control(func(raw uintptr) { _ = unix.SetsockoptInt(int(raw), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
		return nil, err
	}
	return s, nil
}

func (s *packetSocket) setUp(fd int, t tgwconnect.Tunnel, outer *outerSocket, plain bool) error {
	for _, o := range []struct {
		name string
		opt  int
	}{{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR}, {"PACKET_AUXDATA", unix.PACKET_AUXDATA}} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o.opt, 1); err != nil {
			return fmt.Errorf("set %s: %w", o.name, err)
		}
	}
	setBuffers(fd)
	if plain || attachFilters(s.file, outer.file, t) != nil {
		if err := attachClassic(fd, classicFilter(t, takeFast)); err != nil {
			return err
		}
		var err error
		if ctlErr := outer.rc.Control(func(raw uintptr) { err = attachClassic(int(raw), classicFilter(t, takeOther)) }); ctlErr != nil || err != nil {
			return errors.Join(ctlErr, err)
		}
	}
	protocol := uint16(unix.ETH_P_IP)
	if t.Remote.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: beHalf(protocol)}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

// attachFilters divides the packets of a tunnel between its two sockets.
func attachFilters(packet, raw *os.File, t tgwconnect.Tunnel) error {
	for f, fast := range map[*os.File]bool{packet: takeFast, raw: takeOther} {
		prog, err := ebpf.NewProgram(receiveFilter(t, fast))
		if err != nil {
			return fmt.Errorf("load filter: %w", err)
		}
		err = bpflink.AttachSocketFilter(f, prog)
		_ = prog.Close() // the socket holds it
		if err != nil {
			return fmt.Errorf("attach filter: %w", err)
		}
	}
	return nil
}
