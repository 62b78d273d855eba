package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// kept are the operator's orders about sites that outlive a restart, because that
// was asked for. A later order about the same takes an earlier one's place,
// whether it is kept itself or not.
type kept struct {
	file string

	mu     sync.Mutex
	orders map[string]keptOrder // by site; "": all
}

type keptOrder struct {
	Disabled *bool     `json:"disabled,omitempty"` // nil: as configured
	Steer    string    `json:"steer,omitempty"`
	By       string    `json:"by,omitempty"` // of Steer
	At       time.Time `json:"at,omitzero"`
}

// set notes that an order was given; keep: it is to be kept.
func (k *kept) set(site string, keep bool, order func(*keptOrder)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	was, had := k.orders[site]
	if !keep && !had {
		return nil
	}
	is := was
	order(&is)
	if is == (keptOrder{}) {
		delete(k.orders, site)
	} else {
		k.orders[site] = is
	}
	if err := writeJSON(k.file, k.orders); err != nil {
		if delete(k.orders, site); had {
			k.orders[site] = was
		}
		return api.Errorf(api.CodeFailed, "keep the order over a restart: %v", err)
	}
	return nil
}

// disable notes an order to disable or enable a site.
func (k *kept) disable(site string, disabled, keep bool) error {
	return k.set(site, keep, func(o *keptOrder) {
		if o.Disabled = nil; keep {
			o.Disabled = &disabled
		}
	})
}

// steer notes an order on who speaks for a site, or for all.
func (k *kept) steer(o api.Steer, at time.Time) error {
	if o.Site == "" { // it ends what was ordered about single ones
		k.mu.Lock()
		for site, was := range k.orders {
			if was.Steer, was.By, was.At = "", "", (time.Time{}); was == (keptOrder{}) {
				delete(k.orders, site)
			} else {
				k.orders[site] = was
			}
		}
		k.mu.Unlock()
	}
	return k.set(o.Site, o.Keep || o.Site == "", func(x *keptOrder) {
		if x.Steer, x.By, x.At = "", "", (time.Time{}); o.Keep && o.Order != api.OrderFailback {
			x.Steer, x.By, x.At = o.Order, o.By, at
		}
	})
}

// resume gives the kept orders again. It must be called before the loop runs.
func (k *kept) resume(l *loop, given *steered) error {
	k.orders = map[string]keptOrder{}
	b, err := os.ReadFile(k.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		err = json.Unmarshal(b, &k.orders)
	}
	if err != nil {
		k.orders = map[string]keptOrder{}
		return err
	}
	now := time.Now()
	steer := func(site string, o keptOrder) {
		if o.Steer == "" {
			return
		}
		l.core.Step(now, ha.SiteSteered{Site: site, Order: ha.Steer(o.Steer)})
		for _, s := range l.core.Config().Sites {
			if site == "" || s.Name == site {
				given.note(s.Name, o.Steer, o.By, o.At)
			}
		}
	}
	steer("", k.orders[""])
	for site, o := range k.orders {
		if site == "" {
			continue
		}
		steer(site, o)
		if o.Disabled != nil {
			l.core.Step(now, ha.SiteSet{Site: site, Disabled: *o.Disabled})
		}
	}
	return nil
}
