package device

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/wg"
)

// ownership is the memory of what we put on a device. It lives in an
// append-only file, so that a fresh process can tell ours from foreign. An
// entry is written before it is granted and erased after it was taken away: a
// crash in between leaves a claim on something that is not there, never
// something there without a claim. The file belongs on tmpfs: it need not
// outlive the kernel's devices, and it is not synced. It holds public keys,
// prefixes and endpoint names, no secret.
type ownership struct {
	path    string
	created bool // the interface itself is ours
	peers   map[wg.Key]wg.Endpoint
	ips     map[wg.Key]map[netip.Prefix]struct{}
	addrs   map[netip.Prefix]struct{}
	lines   int
	limit   int // of lines, before the file is written anew
	pending bytes.Buffer
}

// openOwnership reads the file of a device; a missing one is an empty memory.
// A line cut by a crash is skipped.
func openOwnership(dir, dev string) *ownership {
	o := &ownership{}
	if dir != "" {
		o.path = filepath.Join(dir, dev+".owned")
	}
	o.clear()
	if o.path == "" {
		return o
	}
	b, err := os.ReadFile(o.path)
	if err != nil {
		return o
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		o.lines++
		o.read(strings.Fields(sc.Text()))
	}
	return o
}

func (o *ownership) clear() {
	o.created, o.lines, o.limit = false, 0, 4096
	o.peers = map[wg.Key]wg.Endpoint{}
	o.ips = map[wg.Key]map[netip.Prefix]struct{}{}
	o.addrs = map[netip.Prefix]struct{}{}
}

func (o *ownership) read(f []string) {
	if len(f) == 1 && f[0] == "created" {
		o.created = true
		return
	}
	if len(f) < 2 {
		return
	}
	if f[0] == "+addr" || f[0] == "-addr" {
		p, err := netip.ParsePrefix(f[1])
		switch {
		case err != nil:
		case f[0] == "+addr":
			o.addrs[p] = struct{}{}
		default:
			delete(o.addrs, p)
		}
		return
	}
	k, err := wg.ParseKey(f[1])
	if err != nil {
		return
	}
	switch f[0] {
	case "+peer":
		var e wg.Endpoint
		if len(f) == 4 {
			port, _ := strconv.ParseUint(f[3], 10, 16)
			e = wg.Endpoint{Host: f[2], Port: uint16(port)}
		}
		o.peers[k] = e
	case "-peer":
		delete(o.peers, k)
		delete(o.ips, k)
	case "+ip", "-ip":
		if len(f) != 3 {
			return
		}
		p, err := netip.ParsePrefix(f[2])
		switch {
		case err != nil:
		case f[0] == "+ip":
			if o.ips[k] == nil {
				o.ips[k] = map[netip.Prefix]struct{}{}
			}
			o.ips[k][p] = struct{}{}
		default:
			delete(o.ips[k], p)
		}
	}
}

// peer says who put a peer there and which configured endpoint we wrote last.
func (o *ownership) peer(k wg.Key) (wg.Ownership, wg.Endpoint) {
	if e, ok := o.peers[k]; ok {
		return wg.OursBefore, e
	}
	return wg.Foreigner, wg.Endpoint{}
}

func (o *ownership) allowedIP(k wg.Key, p netip.Prefix) wg.Ownership {
	if _, ok := o.ips[k][p]; ok {
		return wg.OursBefore
	}
	return wg.Foreigner
}

// add notes one line for the next flush, in memory and on file.
func (o *ownership) add(fields ...string) {
	o.read(fields)
	o.lines++
	if o.path == "" {
		return
	}
	o.pending.WriteString(strings.Join(fields, " "))
	o.pending.WriteByte('\n')
}

// claim notes what ops are about to grant.
func (o *ownership) claim(ops []wg.Op) {
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case wg.OpAddPeer:
			o.addPeer(op.Peer, op.EndpointFor)
		case wg.OpMovePrefix:
			o.add("+ip", op.Peer.String(), op.Prefix.String())
		case wg.OpSetEndpoint:
			if _, ours := o.peers[op.Peer]; ours {
				o.addPeer(op.Peer, op.EndpointFor)
			}
		}
	}
}

func (o *ownership) addPeer(k wg.Key, e wg.Endpoint) {
	if e.Host == "" {
		o.add("+peer", k.String())
		return
	}
	o.add("+peer", k.String(), e.Host, strconv.Itoa(int(e.Port)))
}

// disclaim notes what ops took away; from holds the former holders of moved
// prefixes.
func (o *ownership) disclaim(ops []wg.Op, from map[netip.Prefix]wg.Key) {
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case wg.OpMovePrefix:
			if k, ok := from[op.Prefix]; ok && k != op.Peer {
				if _, ours := o.ips[k][op.Prefix]; ours {
					o.add("-ip", k.String(), op.Prefix.String())
				}
			}
		case wg.OpDelPrefix:
			o.add("-ip", op.Peer.String(), op.Prefix.String())
		case wg.OpDelPeer:
			o.add("-peer", op.Peer.String())
		}
	}
}

// flush appends what was noted, and rewrites the file when most of it is old.
func (o *ownership) flush() error {
	if o.path == "" {
		return nil
	}
	if o.lines > o.limit {
		return o.rewrite()
	}
	if o.pending.Len() == 0 {
		return nil
	}
	f, err := os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("remember what is ours: %w", err)
	}
	_, err = f.Write(o.pending.Bytes())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("remember what is ours: %w", err)
	}
	o.pending.Reset()
	return nil
}

// reset forgets everything; the interface is new and made by us.
func (o *ownership) reset() error {
	o.clear()
	o.created = true
	return o.rewrite()
}

// forget removes the memory together with the interface.
func (o *ownership) forget() {
	o.clear()
	if o.path != "" {
		_ = os.Remove(o.path)
	}
}

func (o *ownership) rewrite() error {
	if o.path == "" {
		return nil
	}
	var b bytes.Buffer
	n := 0
	line := func(fields ...string) { b.WriteString(strings.Join(fields, " ") + "\n"); n++ }
	if o.created {
		line("created")
	}
	for p := range o.addrs {
		line("+addr", p.String())
	}
	for k, e := range o.peers {
		if e.Host == "" {
			line("+peer", k.String())
		} else {
			line("+peer", k.String(), e.Host, strconv.Itoa(int(e.Port)))
		}
	}
	for k, ips := range o.ips {
		for p := range ips {
			line("+ip", k.String(), p.String())
		}
	}
	if err := writeFile(o.path, b.Bytes()); err != nil {
		return fmt.Errorf("remember what is ours: %w", err)
	}
	o.lines, o.limit = n, 2*n+4096
	o.pending.Reset()
	return nil
}

// writeFile replaces a file so that a reader sees the old or the new one.
func writeFile(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func removeFile(path string) { _ = os.Remove(path) }
