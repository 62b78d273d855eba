package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/api"
	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/internal/secret/vault"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// stores are the stores of secrets for the life of the daemon: what they gave
// last stays good while they do not answer.
type stores struct {
	mu       sync.Mutex
	settings configs.Secrets // of what follows; Refresh does not matter
	res      *secret.Resolver
}

// resolver opens references with the stores where the configuration says they
// are. Asked again with the same places it is the same one. Other places begin
// without a memory: it would be another store's.
func (s *stores) resolver(at configs.Secrets) *secret.Resolver {
	at.Refresh = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.res != nil && s.settings == at {
		return s.res
	}
	aws := ec2api.NewSecrets(at.AWSRegion)
	s.settings, s.res = at, secret.Default()
	s.res.Register(secret.SchemeAWS, &secret.Remote{Scheme: secret.SchemeAWS, Fetcher: aws.Manager()})
	s.res.Register(secret.SchemeSSM, &secret.Remote{Scheme: secret.SchemeSSM, Fetcher: aws.Parameters()})
	s.res.Register(secret.SchemeVault, &secret.Remote{Scheme: secret.SchemeVault, NeedField: true, Fetcher: &openVault{cfg: at.Vault, opt: vault.Options{
		Secrets: secret.Default(), Sign: aws.SignCallerIdentity,
	}}})
	return s.res
}

// openVault makes its client when it is first asked: most gateways have no Vault.
type openVault struct {
	cfg vault.Config
	opt vault.Options

	mu     sync.Mutex
	client *vault.Client
}

// Fetch reads one document.
func (o *openVault) Fetch(ctx context.Context, name string) (secret.Document, error) {
	o.mu.Lock()
	if o.client == nil {
		c, err := vault.New(o.cfg, o.opt)
		if err != nil {
			o.mu.Unlock()
			return secret.Document{}, err
		}
		o.client = c
	}
	c := o.client
	o.mu.Unlock()
	return c.Fetch(ctx, name)
}

// renewSecrets reads all secrets again from time to time, until ctx ends. Hosts
// of a fleet begin at the same instant and must not ask at the same instant.
func (b *backend) renewSecrets(ctx context.Context) error {
	for round := 0; ; round++ {
		cfg, err := b.running(ctx)
		if err != nil {
			return nil
		}
		pause := spread(cfg.Secrets.Refresh, cfg.Core.Gateway.Name, round)
		if pause == 0 {
			pause = time.Minute // a reload may change that
		}
		wait(ctx, pause)
		if ctx.Err() != nil {
			return nil
		}
		if cfg.Secrets.Refresh > 0 {
			b.renew(ctx)
		}
	}
}

// spread moves a time by up to a fifth, by the hash of a name and a number.
func spread(d time.Duration, name string, n int) time.Duration {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", name, n)
	return d - d/5 + time.Duration(h.Sum32()%1000)*d*2/5/1000
}

// renew takes over secrets that changed where they are kept.
func (b *backend) renew(ctx context.Context) {
	b.reload.Lock()
	defer b.reload.Unlock()
	cfg, err := b.running(ctx)
	if err != nil {
		return
	}
	r, err := configs.Renew(cfg, b.options())
	b.secretTrouble(r.Failed)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		b.loop.events.event(slog.LevelError, api.Event{Kind: api.EventConfig, Reason: "secret-invalid", Detail: first})
		return
	}
	if r.Config == nil || b.adopt(ctx, r.Config) != nil {
		return
	}
	for _, key := range r.Changed {
		b.loop.events.event(slog.LevelInfo, api.Event{Kind: api.EventConfig, Reason: "secret-changed", Detail: key})
	}
}

// secretTrouble reports which secrets can not be read, when that changes.
func (b *backend) secretTrouble(failed map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(failed)) {
		if _, known := b.stale[key]; !known {
			b.loop.events.event(slog.LevelWarn, api.Event{Kind: api.EventConfig, Reason: "secret-unreadable", Detail: key + ": " + failed[key]})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.stale)) {
		if _, still := failed[key]; !still {
			b.loop.events.event(slog.LevelInfo, api.Event{Kind: api.EventConfig, Reason: "secret-readable", Detail: key})
		}
	}
	b.stale = failed
}

// adopt puts a configuration in force.
func (b *backend) adopt(ctx context.Context, cfg *configs.Config) error {
	return b.loop.ask(ctx, func(now time.Time) {
		b.awsRoutes.set(cfg)
		b.entrance.set(cfg)
		b.gateway.adopt(cfg.Core) // before the plan that the edges are kicked with
		b.loop.config = cfg
		b.loop.core.Reconfigure(now, cfg.Core)
		b.loop.inbox.reconfigured()
	})
}

func (b *backend) options() configs.Options {
	if b.stores == nil {
		return configs.Options{}
	}
	return configs.Options{Stores: b.stores.resolver}
}
