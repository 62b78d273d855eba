package bfd

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgbgp/wgbgp/bgp"
)

// pathOf finds or makes the way a session's packets take.
func (l *loop) pathOf(w bgp.BFDSession) *path {
	k := pathKey{portKey{w.Device, w.Address.Is6()}, w.LocalAddress}
	if q := l.paths[k]; q != nil {
		return q
	}
	p := l.ports[k.portKey]
	if p == nil {
		d := l.devices[w.Device]
		if d == nil {
			d = &device{name: w.Device, suspect: true}
			if w.Device != "" {
				d.ifr, _ = unix.NewIfreq(w.Device) // a name no interface can have stays missing
			}
			l.devices[w.Device] = d
		}
		p = &port{dev: d, v6: k.v6, fd: -1}
		d.ports = append(d.ports, p)
		l.ports[k.portKey] = p
	}
	q := &path{port: p, source: w.LocalAddress, fd: -1}
	p.paths = append(p.paths, q)
	l.paths[k] = q
	return q
}

// release gives up one use of a path. One without sessions is forgotten, and so
// is what it was the last one of.
func (l *loop) release(q *path) {
	if q.uses--; q.uses > 0 {
		return
	}
	if q.queued {
		l.flush()
	}
	p, d := q.port, q.port.dev
	k := portKey{d.name, p.v6}
	closeFD(&q.fd)
	delete(l.paths, pathKey{k, q.source})
	p.paths = slices.DeleteFunc(p.paths, func(o *path) bool { return o == q })
	if len(p.paths) > 0 {
		return
	}
	delete(l.byFD, int32(p.fd))
	p.close()
	delete(l.ports, k)
	d.ports = slices.DeleteFunc(d.ports, func(o *port) bool { return o == p })
	if len(d.ports) == 0 {
		delete(l.devices, d.name)
	}
}

// open makes sure that both sockets of a path are there. After a failure the
// answer is the same for a while, however many sessions ask.
func (l *loop) open(q *path, now time.Duration) error {
	if q.fd >= 0 && q.port.fd >= 0 {
		return nil
	}
	if now < q.retry {
		return q.err
	}
	if q.port.dev.suspect {
		l.lookup(q.port.dev)
	}
	q.err = l.openBoth(q)
	if q.err != nil {
		q.retry = now + again
	}
	return q.err
}

func (l *loop) openBoth(q *path) error {
	p := q.port
	if p.fd < 0 {
		if err := p.open(); err != nil {
			return err
		}
		if err := l.inner.Add(p.fd, unix.EPOLLIN, int32(p.fd), 0); err != nil {
			closeFD(&p.fd)
			return err
		}
		p.empty = l.now()
		l.byFD[int32(p.fd)] = p
	}
	if q.fd < 0 {
		return q.open(l.e.opt.Random)
	}
	return nil
}
