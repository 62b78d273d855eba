package device

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// The text protocol of userspace devices,
// https://www.wireguard.com/xplatform/#configuration-protocol.

var errUAPI = errors.New("unreadable answer of the userspace device")

// parseUAPI reads a get answer. Without full the lines of preshared keys,
// keepalives and allowed IPs are skipped unread: with thousands of peers they
// are most of the text.
func parseUAPI(b []byte, full bool) (dump, error) {
	d := dump{Peers: make([]dumpPeer, 0, bytes.Count(b, []byte("\npublic_key=")))}
	var private wg.PrivateKey
	var p *dumpPeer
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			return d, errUAPI // a line without its end: the answer was cut
		}
		b = rest
		key, value, ok := bytes.Cut(line, []byte{'='})
		if !ok {
			if len(line) == 0 {
				break
			}
			return d, errUAPI
		}
		var err error
		switch string(key) {
		case "private_key":
			var k [wg.KeyLen]byte
			k, err = hexKey(value)
			private = wg.NewPrivateKey(k)
		case "listen_port":
			var n uint64
			n, err = number(value, 16)
			d.ListenPort = uint16(n)
		case "fwmark":
			var n uint64
			n, err = number(value, 32)
			d.Mark = uint32(n)
		case "public_key":
			var k [wg.KeyLen]byte
			k, err = hexKey(value)
			d.Peers = append(d.Peers, dumpPeer{PeerState: wg.PeerState{Key: k}})
			p = &d.Peers[len(d.Peers)-1]
		default:
			if p == nil {
				continue
			}
			err = p.uapiLine(string(key), value, full)
		}
		if err != nil {
			return d, errUAPI
		}
	}
	if !private.IsZero() && private != wg.NewPrivateKey([wg.KeyLen]byte{}) {
		d.PublicKey = private.Public()
	}
	d.finish()
	return d, nil
}

func (p *dumpPeer) uapiLine(key string, value []byte, full bool) (err error) {
	var n uint64
	switch key {
	case "endpoint":
		p.Endpoint, err = netip.ParseAddrPort(string(value))
	case "last_handshake_time_sec":
		n, err = number(value, 62)
		p.Handshake += int64(n) * int64(time.Second)
	case "last_handshake_time_nsec":
		n, err = number(value, 62)
		p.Handshake += int64(n)
	case "rx_bytes":
		p.Rx, err = number(value, 64)
	case "tx_bytes":
		p.Tx, err = number(value, 64)
	case "persistent_keepalive_interval":
		n, err = number(value, 16)
		p.Keepalive = time.Duration(n) * time.Second
	case "preshared_key":
		if full {
			var k [wg.KeyLen]byte
			k, err = hexKey(value)
			p.PresharedKey = wg.NewPresharedKey(k)
		}
	case "allowed_ip":
		if full {
			var ip netip.Prefix
			ip, err = netip.ParsePrefix(string(value))
			p.AllowedIPs = append(p.AllowedIPs, ip.Masked())
		}
	}
	return err
}

func hexKey(b []byte) (k [wg.KeyLen]byte, err error) {
	if len(b) != 2*wg.KeyLen {
		return k, errUAPI
	}
	_, err = hex.Decode(k[:], b)
	return k, err
}

func number(b []byte, bits int) (uint64, error) { return strconv.ParseUint(string(b), 10, bits) }

// deviceLines encodes device fields. An unchanged listen port must not be
// written: the device would bind its sockets anew and lose packets.
func deviceLines(b []byte, c deviceConfig) []byte {
	if c.PrivateKey != nil {
		k := c.PrivateKey.Reveal()
		b = append(hex.AppendEncode(append(b, "private_key="...), k[:]), '\n')
	}
	if c.Mark != nil {
		b = append(strconv.AppendUint(append(b, "fwmark="...), uint64(*c.Mark), 10), '\n')
	}
	if c.ListenPort != nil {
		b = append(strconv.AppendUint(append(b, "listen_port="...), uint64(*c.ListenPort), 10), '\n')
	}
	return b
}

// opLines encodes ops in order.
func opLines(b []byte, ops []wg.Op) []byte {
	for i := range ops {
		op := &ops[i]
		// Ops of one peer in a row share its header, except after a removal.
		if i == 0 || ops[i-1].Peer != op.Peer || ops[i-1].Kind == wg.OpDelPeer {
			b = append(hex.AppendEncode(append(b, "public_key="...), op.Peer[:]), '\n')
			if op.Kind != wg.OpAddPeer {
				b = append(b, "update_only=true\n"...)
			}
		}
		switch op.Kind {
		case wg.OpAddPeer:
			if !op.PresharedKey.IsZero() {
				b = pskLine(b, op.PresharedKey)
			}
			if op.Endpoint.IsValid() {
				b = endpointLine(b, op.Endpoint)
			}
			if op.Keepalive > 0 {
				b = keepaliveLine(b, op.Keepalive)
			}
		case wg.OpMovePrefix:
			b = append(op.Prefix.AppendTo(append(b, "allowed_ip="...)), '\n')
		case wg.OpDelPrefix:
			// The minus form removes one prefix if it is still this peer's.
			b = append(op.Prefix.AppendTo(append(b, "allowed_ip=-"...)), '\n')
		case wg.OpSetPresharedKey:
			b = pskLine(b, op.PresharedKey)
		case wg.OpSetEndpoint:
			b = endpointLine(b, op.Endpoint)
		case wg.OpSetKeepalive:
			b = keepaliveLine(b, op.Keepalive)
		case wg.OpDelPeer:
			b = append(b, "remove=true\n"...)
		}
	}
	return b
}

func pskLine(b []byte, p wg.PresharedKey) []byte {
	k := p.Reveal()
	return append(hex.AppendEncode(append(b, "preshared_key="...), k[:]), '\n')
}

func endpointLine(b []byte, a netip.AddrPort) []byte {
	return append(a.AppendTo(append(b, "endpoint="...)), '\n')
}

func keepaliveLine(b []byte, d time.Duration) []byte {
	return append(strconv.AppendInt(append(b, "persistent_keepalive_interval="...), int64(d/time.Second), 10), '\n')
}
