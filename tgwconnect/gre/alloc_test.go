package gre

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

func codecs(t testing.TB) (*transmitter, *decapsulator, []byte) {
	t.Helper()
	u := &userTunnel{t: tgwconnect.Tunnel{Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("192.0.2.2")}, outer: &outerSocket{}}
	x, d := u.newTransmitter(), u.newDecapsulator()
	inner := make([]byte, 1476)
	copy(inner, inner4)
	inner[2], inner[3] = 1476>>8, 1476&0xff
	return x, d, inner
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	x, d, inner := codecs(t)
	fill(x, d, inner)
	if n := testing.AllocsPerRun(100, func() { x.encapsulate(batchSize); d.decapsulate(batchSize) }); n != 0 {
		t.Errorf("a batch allocates %v times, want 0", n)
	}
}

func TestNothingIsAllocatedPerReceivedFrame(t *testing.T) {
	u := &userTunnel{t: tunnel4()}
	r := u.newUnpacker(&packetSocket{})
	_, _, inner := codecs(t)
	frame := cat(make([]byte, virtioLen+etherHeaderLen), unhex("450005dc0000400040"+"2f"+"0000"+"0a000002"+"0a000001"+"00000800"), inner)
	head := frame[virtioLen+etherHeaderLen:][:outerLen]
	sum := ^internetSum(head)
	head[10], head[11] = byte(sum>>8), byte(sum)
	putAuxdata(r.in, 0, etherHeaderLen)
	for i := range batchSize {
		r.in.control[i] = r.in.control[0]
		r.in.msgs[i].n = uint32(copy(r.bufs[i], frame))
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range batchSize {
			if _, _, _, why := r.one(i); why != accepted {
				t.Fatal(why)
			}
		}
	}); n != 0 {
		t.Errorf("a batch allocates %v times, want 0", n)
	}
}

func fill(x *transmitter, d *decapsulator, inner []byte) {
	for i := range batchSize {
		x.sizes[i] = copy(x.bufs[i][headLen:], inner)
	}
	x.encapsulate(batchSize)
	for i := range batchSize {
		d.in.msgs[i].n = uint32(copy(d.bufs[i], x.bufs[i][:headLen+len(inner)]))
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	x, d, inner := codecs(b)
	fill(x, d, inner)
	b.ReportAllocs()
	for b.Loop() {
		x.encapsulate(batchSize)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batchSize), "ns/packet")
}

func BenchmarkDecapsulate(b *testing.B) {
	x, d, inner := codecs(b)
	fill(x, d, inner)
	b.ReportAllocs()
	for b.Loop() {
		if got := len(d.decapsulate(batchSize)); got != batchSize {
			b.Fatalf("accepted %d of %d", got, batchSize)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batchSize), "ns/packet")
}

// BenchmarkSendBatch sends to a loopback address nobody listens at.
func BenchmarkSendBatch(b *testing.B) {
	t := tgwconnect.Tunnel{Local: netip.MustParseAddr("127.0.0.1"), Remote: netip.MustParseAddr("127.0.0.2")}
	outer, err := openOuter(t)
	if err != nil {
		b.Skipf("needs raw sockets: %v", err)
	}
	defer outer.discard()
	u := &userTunnel{t: t, outer: outer, kick: func() {}}
	x := u.newTransmitter()
	_, d, inner := codecs(b)
	fill(x, d, inner)
	sink, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE) // no protocol unreachable
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Close(sink) }()
	b.ReportAllocs()
	for b.Loop() {
		if x.out.send(x.encapsulate(batchSize)); x.out.lost > 0 {
			b.Fatalf("lost %d: %v", x.out.lost, x.out.cause)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batchSize), "ns/packet")
}
