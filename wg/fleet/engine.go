package fleet

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/wg"
)

// Partner is another host of the fleet.
type Partner struct {
	Name    string
	Address netip.Addr
	Local   netip.Addr // our address toward it; invalid: the kernel's choice
	Device  string     // interface that it is reached by; empty: by the routes
}

// Interface is a WireGuard interface whose private key the partners have too.
type Interface struct {
	Name string
	Key  wg.PrivateKey
}

// Options configure an Engine.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// OnRoster is told what a partner says: at most once a second while it only
	// heard its peers again, and at once when it falls silent or speaks again.
	OnRoster func(wg.Roster)
}

// Engine is one host's part in the conversation.
type Engine struct {
	o     Options
	tasks tasks

	mu       sync.Mutex
	gen      uint64
	round    uint64
	partners map[Partner]*partner
	shared   []*shared // by name
}

// shared is an interface and its seal.
type shared struct {
	Interface
	seal *seal
	book book
}

// partner is a host that we speak with.
type partner struct {
	Partner
	socket socket
	links  map[id]*conversation
}

// conversation is a link and what of it was passed on.
type conversation struct {
	*link
	silent bool
	at     time.Time
}

// New makes an engine; Run starts it.
func New(o Options) *Engine {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Engine{o: o, partners: map[Partner]*partner{}}
}

// Set says who belongs to the fleet and what is shared. A call with an older
// generation changes nothing, and neither does one that says the same.
func (e *Engine) Set(gen uint64, partners []Partner, interfaces []Interface) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if gen < e.gen {
		return nil
	}
	e.gen = gen
	var kept []*shared
	for _, i := range interfaces {
		n := slices.IndexFunc(e.shared, func(s *shared) bool { return s.Interface == i })
		if n >= 0 {
			kept = append(kept, e.shared[n])
			continue
		}
		s, err := newSeal(i.Key)
		if err != nil {
			return err
		}
		kept = append(kept, &shared{Interface: i, seal: s})
	}
	e.shared = kept
	if len(kept) == 0 {
		partners = nil // no socket for nothing
	}
	for at, p := range e.partners {
		if !slices.Contains(partners, at) {
			p.socket.close()
			delete(e.partners, at)
		}
	}
	for _, p := range partners {
		if e.partners[p] == nil {
			e.partners[p] = &partner{Partner: p, links: map[id]*conversation{}}
		}
	}
	return nil
}

// Observe takes over where the peers of an interface are.
func (e *Engine) Observe(s *wg.DeviceState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.shared {
		if x.Name == s.Name && len(e.partners) > 0 {
			e.round++
			x.book.observe(s, e.round)
		}
	}
}

// Run speaks with the partners until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	e.tasks.every(ctx, beatEvery, func(now time.Time) {
		for _, r := range e.tick(now) {
			e.o.OnRoster(r)
		}
	})
	e.mu.Lock()
	for _, p := range e.partners {
		p.socket.close()
	}
	e.mu.Unlock()
	e.tasks.wait()
	return nil
}

// tick sends what is due to everybody and returns what there is to pass on.
func (e *Engine) tick(now time.Time) (news []wg.Roster) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.partners {
		if err := p.socket.open(p.Partner, func(packet []byte) { e.receive(p, packet) }, &e.tasks); err != nil {
			e.o.Logger.Debug("fleet", "neighbor", p.Name, "err", err)
			continue
		}
		for _, s := range e.shared {
			c := p.links[s.seal.id]
			if c == nil {
				c = &conversation{link: newLink(now), silent: true}
				p.links[s.seal.id] = c
			}
			for _, plain := range c.tick(now, &s.book) {
				p.socket.send(s.seal.close(plain))
			}
			if r, ok := c.news(now, p.Name, s.Name); ok {
				news = append(news, r)
			}
		}
	}
	slices.SortFunc(news, func(a, b wg.Roster) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Device, b.Device))
	})
	return news
}

// news returns the roster when there is something new in it.
func (c *conversation) news(now time.Time, host, device string) (wg.Roster, bool) {
	silent := c.link.silent(now)
	turned := silent != c.silent
	if !turned && (!c.fresh || now.Sub(c.at) < time.Second-beatEvery/2) {
		return wg.Roster{}, false
	}
	c.silent, c.fresh, c.at = silent, false, now
	return c.roster(now, host, device), true
}

// receive takes a packet that came from a partner's address.
func (e *Engine) receive(p *partner, packet []byte) {
	of, ok := sealedFor(packet)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.shared, func(s *shared) bool { return s.seal.id == of })
	if i < 0 {
		return
	}
	s, c := e.shared[i], p.links[of]
	if c == nil {
		return
	}
	plain, err := s.seal.open(packet)
	if err == nil {
		err = c.receive(time.Now(), plain, s.book.version)
	}
	if err != nil {
		e.o.Logger.Debug("fleet", "neighbor", p.Name, "err", err)
	}
}
