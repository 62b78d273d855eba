package device

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	wgdev "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgbgp/wgbgp/wg"
)

const uapiText = `private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
listen_port=12912
fwmark=81
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
protocol_version=1
endpoint=[abcd:23::33]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=38333
rx_bytes=2224
persistent_keepalive_interval=111
allowed_ip=192.168.4.4/32
allowed_ip=10.0.0.0/8
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
preshared_key=0000000000000000000000000000000000000000000000000000000000000000
protocol_version=1
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=18446744073709551615
persistent_keepalive_interval=0
`

func mustHex(s string) (k wg.Key) {
	b, err := hex.DecodeString(s)
	if err != nil || copy(k[:], b) != wg.KeyLen {
		panic(s)
	}
	return k
}

func TestParseUAPI(t *testing.T) {
	got, err := parseUAPI([]byte(uapiText), true)
	if err != nil {
		t.Fatal(err)
	}
	want := dump{
		PublicKey: wg.NewPrivateKey(mustHex("e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a")).Public(), ListenPort: 12912, Mark: 81,
		Peers: []dumpPeer{
			{PeerState: wg.PeerState{Key: mustHex("58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376"), Rx: 1<<64 - 1}},
			{
				PeerState: wg.PeerState{
					Key: mustHex("b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33"), Endpoint: netip.MustParseAddrPort("[abcd:23::33]:51820"),
					Handshake: 1700000000_000000005, Tx: 38333, Rx: 2224, AllowedIPs: prefixes("10.0.0.0/8", "192.168.4.4/32"),
				},
				PresharedKey: wg.NewPresharedKey(mustHex("188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52")), Keepalive: 111 * time.Second,
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("want %+v\ngot  %+v", want, got)
	}
	counters, err := parseUAPI([]byte(uapiText), false)
	if err != nil || counters.Peers[1].AllowedIPs != nil || counters.Peers[1].Rx != 2224 {
		t.Errorf("counters only: want no allowed IPs and 2224 received, got %+v, %v", counters.Peers[1], err)
	}
}

func TestParseUAPIRefusesACutAnswer(t *testing.T) {
	for _, cut := range []int{len(uapiText) - 1, len(uapiText) - 10, 100} {
		if _, err := parseUAPI([]byte(uapiText[:cut]), true); !errors.Is(err, errUAPI) {
			t.Errorf("cut at %d: want an error, got %v", cut, err)
		}
	}
}

func FuzzParseUAPI(f *testing.F) {
	f.Add([]byte(uapiText))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseUAPI(b, true)
		if err == nil && !slices.IsSortedFunc(d.Peers, func(a, b dumpPeer) int { return a.Key.Compare(b.Key) }) {
			t.Error("peers are not sorted")
		}
	})
}

func TestOpLinesShareAHeader(t *testing.T) {
	a, b := wg.Key{1}, wg.Key{2}
	p := netip.MustParsePrefix("10.0.0.0/8")
	got := string(opLines(nil, []wg.Op{
		{Kind: wg.OpAddPeer, Peer: a, Endpoint: netip.MustParseAddrPort("192.0.2.1:1"), Keepalive: 5 * time.Second},
		{Kind: wg.OpMovePrefix, Peer: a, Prefix: p},
		{Kind: wg.OpDelPrefix, Peer: b, Prefix: p},
		{Kind: wg.OpDelPeer, Peer: b},
	}))
	want := "public_key=" + hex.EncodeToString(a[:]) + "\nendpoint=192.0.2.1:1\npersistent_keepalive_interval=5\nallowed_ip=10.0.0.0/8\n" +
		"public_key=" + hex.EncodeToString(b[:]) + "\nupdate_only=true\nallowed_ip=-10.0.0.0/8\nremove=true\n"
	if got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

// kernelDump is encoded by mdlayher/netlink, which is not our own code.
func kernelDump(t testing.TB) []byte {
	ae := netlink.NewAttributeEncoder()
	pub, psk := wg.Key{1, 2, 3}, [wg.KeyLen]byte{4, 5, 6}
	ae.String(unix.WGDEVICE_A_IFNAME, "wg0")
	ae.Bytes(unix.WGDEVICE_A_PUBLIC_KEY, pub[:])
	ae.Uint16(unix.WGDEVICE_A_LISTEN_PORT, 51820)
	ae.Uint32(unix.WGDEVICE_A_FWMARK, 7)
	ip := func(family uint16, addr []byte, bits uint8) func(*netlink.AttributeEncoder) error {
		return func(e *netlink.AttributeEncoder) error {
			e.Uint16(unix.WGALLOWEDIP_A_FAMILY, family)
			e.Bytes(unix.WGALLOWEDIP_A_IPADDR, addr)
			e.Uint8(unix.WGALLOWEDIP_A_CIDR_MASK, bits)
			return nil
		}
	}
	ae.Nested(unix.WGDEVICE_A_PEERS, func(e *netlink.AttributeEncoder) error {
		e.Nested(0, func(e *netlink.AttributeEncoder) error {
			e.Bytes(unix.WGPEER_A_PUBLIC_KEY, pub[:])
			e.Bytes(unix.WGPEER_A_PRESHARED_KEY, psk[:])
			e.Bytes(unix.WGPEER_A_ENDPOINT, []byte{2, 0, 0x11, 0x94, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0})
			e.Uint16(unix.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, 25)
			e.Bytes(unix.WGPEER_A_LAST_HANDSHAKE_TIME, append(native.AppendUint64(nil, 9), native.AppendUint64(nil, 8)...))
			e.Uint64(unix.WGPEER_A_RX_BYTES, 100)
			e.Uint64(unix.WGPEER_A_TX_BYTES, 200)
			e.Nested(unix.WGPEER_A_ALLOWEDIPS, func(e *netlink.AttributeEncoder) error {
				e.Nested(0, ip(unix.AF_INET, []byte{10, 0, 0, 0}, 8))
				return nil
			})
			return nil
		})
		e.Nested(1, func(e *netlink.AttributeEncoder) error { // continued
			e.Bytes(unix.WGPEER_A_PUBLIC_KEY, pub[:])
			e.Nested(unix.WGPEER_A_ALLOWEDIPS, func(e *netlink.AttributeEncoder) error {
				e.Nested(0, ip(unix.AF_INET6, netip.MustParseAddr("fd00::").AsSlice(), 64))
				return nil
			})
			return nil
		})
		return nil
	})
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{0, 1, 0, 0}, b...)
}

func TestKernelDumpWithAContinuedPeer(t *testing.T) {
	var got dump
	if err := deviceMessage(&got, kernelDump(t), true); err != nil {
		t.Fatal(err)
	}
	want := dump{PublicKey: wg.Key{1, 2, 3}, ListenPort: 51820, Mark: 7, Peers: []dumpPeer{{
		PeerState: wg.PeerState{
			Key: wg.Key{1, 2, 3}, Endpoint: netip.MustParseAddrPort("192.0.2.1:4500"), Handshake: 9_000000008,
			Rx: 100, Tx: 200, AllowedIPs: prefixes("10.0.0.0/8", "fd00::/64"),
		},
		PresharedKey: wg.NewPresharedKey([wg.KeyLen]byte{4, 5, 6}), Keepalive: 25 * time.Second,
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("want %+v\ngot  %+v", want, got)
	}
}

func FuzzKernelDump(f *testing.F) {
	f.Add(kernelDump(f))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var d dump
		_ = deviceMessage(&d, b, true)
		_ = eachMessage(b, func(_, _ uint16, _ uint32, data []byte) error { return deviceMessage(&d, data, false) })
	})
}

func TestRemovePrefixesEncoding(t *testing.T) {
	a, b := wg.Key{1}, wg.Key{2}
	ops := []wg.Op{
		{Kind: wg.OpDelPrefix, Peer: a, Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		{Kind: wg.OpDelPrefix, Peer: a, Prefix: netip.MustParsePrefix("fd00::/64")},
		{Kind: wg.OpDelPrefix, Peer: b, Prefix: netip.MustParsePrefix("10.1.0.0/16")},
	}
	type entry struct {
		Peer             wg.Key
		PeerFlags, Flags uint32
		Prefix           string
	}
	var got []entry
	ad, err := netlink.NewAttributeDecoder(removePrefixes("wg0", ops))
	if err != nil {
		t.Fatal(err)
	}
	for ad.Next() {
		if ad.Type() == unix.WGDEVICE_A_IFNAME && ad.String() != "wg0" {
			t.Errorf("want wg0, got %s", ad.String())
		}
		if ad.Type() != unix.WGDEVICE_A_PEERS {
			continue
		}
		ad.Nested(func(peers *netlink.AttributeDecoder) error {
			for peers.Next() {
				peers.Nested(func(p *netlink.AttributeDecoder) error {
					var e entry
					for p.Next() {
						switch p.Type() {
						case unix.WGPEER_A_PUBLIC_KEY:
							copy(e.Peer[:], p.Bytes())
						case unix.WGPEER_A_FLAGS:
							e.PeerFlags = p.Uint32()
						case unix.WGPEER_A_ALLOWEDIPS:
							p.Nested(func(ips *netlink.AttributeDecoder) error {
								for ips.Next() {
									ips.Nested(func(ip *netlink.AttributeDecoder) error {
										var addr netip.Addr
										bits := 0
										for ip.Next() {
											switch ip.Type() {
											case unix.WGALLOWEDIP_A_IPADDR:
												addr, _ = netip.AddrFromSlice(ip.Bytes())
											case unix.WGALLOWEDIP_A_CIDR_MASK:
												bits = int(ip.Uint8())
											case attrAllowedIPFlags:
												e.Flags = ip.Uint32()
											}
										}
										e.Prefix = netip.PrefixFrom(addr, bits).String()
										got = append(got, e)
										return ip.Err()
									})
								}
								return ips.Err()
							})
						}
					}
					return p.Err()
				})
			}
			return peers.Err()
		})
	}
	if err := ad.Err(); err != nil {
		t.Fatal(err)
	}
	want := []entry{{a, unix.WGPEER_F_UPDATE_ONLY, 1, "10.0.0.0/8"}, {a, unix.WGPEER_F_UPDATE_ONLY, 1, "fd00::/64"}, {b, unix.WGPEER_F_UPDATE_ONLY, 1, "10.1.0.0/16"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// AC-5: no flag that replaces anything, in no configuration we ever send, nor
// anywhere in the source.
func TestNothingIsEverReplaced(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.0/8")
	var all []wg.Op
	for k := wg.OpAddPeer; k <= wg.OpDelPeer; k++ {
		all = append(all, wg.Op{Kind: k, Peer: wg.Key{1}, Prefix: p, Keepalive: time.Second, Endpoint: netip.MustParseAddrPort("192.0.2.1:1")})
	}
	var sent []wgtypes.Config
	for _, part := range batches(all) {
		sent = append(sent, peersConfig(part), parkingConfig(wg.Key{9}, part))
	}
	for _, c := range sent {
		if c.ReplacePeers {
			t.Error("ReplacePeers is set")
		}
		for _, p := range c.Peers {
			if p.ReplaceAllowedIPs {
				t.Error("ReplaceAllowedIPs is set")
			}
		}
	}
	if text := string(opLines(nil, all)); strings.Contains(text, "replace") {
		t.Errorf("replacing line: %s", text)
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		src, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"ReplacePeers:", "ReplaceAllowedIPs:", ".ReplacePeers", ".ReplaceAllowedIPs", "replace_", "F_REPLACE"} {
			if strings.Contains(string(src), bad) {
				t.Errorf("%s contains %s", f.Name(), bad)
			}
		}
	}
}

func TestParkingPeerLivesInOneMessageOnly(t *testing.T) {
	c := parkingConfig(wg.Key{9}, []wg.Op{{Kind: wg.OpDelPrefix, Peer: wg.Key{1}, Prefix: netip.MustParsePrefix("10.0.0.0/8")}})
	if len(c.Peers) != 2 || c.Peers[0].PublicKey != c.Peers[1].PublicKey || !c.Peers[1].Remove || len(c.Peers[0].AllowedIPs) != 1 {
		t.Errorf("want a peer that takes the prefix and its removal, got %+v", c)
	}
}

func TestBatchesKeepOrderAndBounds(t *testing.T) {
	var ops []wg.Op
	for i := range 100 {
		ops = append(ops, wg.Op{Kind: wg.OpAddPeer, Peer: wg.Key{byte(i)}})
	}
	for i := range 100 {
		for j := range 10 {
			ops = append(ops, wg.Op{Kind: wg.OpMovePrefix, Peer: wg.Key{byte(i)}, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(j)}), 24)})
		}
	}
	for i := range 100 {
		ops = append(ops, wg.Op{Kind: wg.OpDelPeer, Peer: wg.Key{byte(i), 1}})
	}
	ops = groupByPeer(ops)
	n := 0
	for _, part := range batches(ops) {
		peers, prefixes := map[wg.Key]bool{}, 0
		for _, op := range part {
			if op != ops[n] {
				t.Fatalf("op %d: order changed", n)
			}
			n++
			peers[op.Peer] = true
			if op.Prefix.IsValid() {
				prefixes++
			}
			if opPhase(op.Kind) != opPhase(part[0].Kind) {
				t.Error("additions and removals in one call")
			}
		}
		if len(peers) > maxPeersPerCall || prefixes > maxPrefixesPerCall {
			t.Errorf("call with %d peers and %d prefixes", len(peers), prefixes)
		}
	}
	if n != len(ops) {
		t.Errorf("want all %d ops, got %d", len(ops), n)
	}
}

func TestErrorsAreTranslated(t *testing.T) {
	secret := base64Key([wg.KeyLen]byte{1, 2, 3})
	for _, err := range []error{
		errors.New("bad line private_key=" + secret), os.ErrNotExist, unix.EADDRINUSE, &wgdev.IPCError{},
	} {
		if got := translate(err); got == nil || strings.Contains(got.Error(), secret) {
			t.Errorf("%T: got %v", err, got)
		}
	}
	if got := redact("x " + secret + " y"); got != "x [redacted] y" {
		t.Errorf("got %q", got)
	}
}

func TestOwnershipSurvivesAndCompacts(t *testing.T) {
	dir := t.TempDir()
	o := openOwnership(dir, "wg0")
	if err := o.reset(); err != nil {
		t.Fatal(err)
	}
	k, e := wg.Key{1}, wg.Endpoint{Host: "site.example", Port: 7}
	p, q := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")
	o.claim([]wg.Op{{Kind: wg.OpAddPeer, Peer: k, EndpointFor: e}, {Kind: wg.OpMovePrefix, Peer: k, Prefix: p}})
	for range 10000 {
		o.claim([]wg.Op{{Kind: wg.OpMovePrefix, Peer: k, Prefix: q}})
		if err := o.flush(); err != nil {
			t.Fatal(err)
		}
		o.disclaim([]wg.Op{{Kind: wg.OpDelPrefix, Peer: k, Prefix: q}}, nil)
		if err := o.flush(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(o.path)
	if err != nil || st.Size() > 1<<20 {
		t.Errorf("want the file compacted below 1 MiB, got %d bytes, %v", st.Size(), err)
	}
	f, err := os.OpenFile(o.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("+ip AAAA") // a crash cut the line
	_ = f.Close()
	again := openOwnership(dir, "wg0")
	by, ep := again.peer(k)
	if !again.created || by != wg.OursBefore || ep != e || again.allowedIP(k, p) != wg.OursBefore || again.allowedIP(k, q) != wg.Foreigner {
		t.Errorf("want what was kept, got %+v", again)
	}
	// Moving away takes the claim of the old holder along.
	other := wg.Key{2}
	op := []wg.Op{{Kind: wg.OpMovePrefix, Peer: other, Prefix: p}}
	again.claim(op)
	again.disclaim(op, map[netip.Prefix]wg.Key{p: k})
	if again.allowedIP(k, p) != wg.Foreigner || again.allowedIP(other, p) != wg.OursBefore {
		t.Error("want the moved prefix claimed for its new holder only")
	}
}
