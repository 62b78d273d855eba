package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/tgwconnect/ec2api"
)

// lazyAWS is a client of AWS that is made when it is first needed, and anew when the
// configuration names another region: a gateway that asks nothing of AWS must not
// look for credentials. It is package front's API.
type lazyAWS struct {
	log      *slog.Logger
	counters *ec2api.Counters

	mu     sync.Mutex
	region string
	client *ec2api.Client // nil: none yet, or the region is another one now
}

// Package front has a back-off of its own and must not be kept from a leave.
const (
	frontAttempts = 4
	frontBudget   = 10 * time.Second
)

func (l *lazyAWS) setRegion(region string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.region != region {
		l.region, l.client = region, nil
	}
}

func (l *lazyAWS) get(ctx context.Context) (*ec2api.Client, error) {
	l.mu.Lock()
	c, region := l.client, l.region
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	// Not under the lock: it may ask the metadata service, and setRegion is called by the loop.
	c, err := ec2api.New(ctx, ec2api.Options{Region: region, Logger: l.log, Counters: l.counters, Attempts: frontAttempts, Budget: frontBudget})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.region == region {
		l.client = c
	}
	return c, nil
}

func (l *lazyAWS) InstanceID(ctx context.Context) (string, error) {
	c, err := l.get(ctx)
	if err != nil {
		return "", err
	}
	self, err := c.Self(ctx)
	return self.InstanceID, err
}

func (l *lazyAWS) DescribeTargetHealth(ctx context.Context, group string) ([]tgwconnect.TargetHealth, error) {
	c, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return c.DescribeTargetHealth(ctx, group)
}

func (l *lazyAWS) RegisterTargets(ctx context.Context, group, id string, port int) error {
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	return c.RegisterTargets(ctx, group, id, port)
}

func (l *lazyAWS) DeregisterTargets(ctx context.Context, group, id string, port int) error {
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	return c.DeregisterTargets(ctx, group, id, port)
}

func (l *lazyAWS) ListResourceRecordSets(ctx context.Context, zone, name string) ([]tgwconnect.RecordSet, error) {
	c, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return c.ListResourceRecordSets(ctx, zone, name)
}

func (l *lazyAWS) ChangeResourceRecordSets(ctx context.Context, zone string, changes []tgwconnect.RecordChange) error {
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	return c.ChangeResourceRecordSets(ctx, zone, changes)
}
