package services_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

var ctx = context.Background()

// clock stands until a test moves it.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// lab is an emulator with the configuration of the real SDK, as its environment
// makes it; calls are not tried again.
type lab struct {
	*simtest.Sim
	*world.Names
	clock *clock
	cfg   aws.Config
}

func newLab(t *testing.T) *lab {
	t.Helper()
	c := &clock{time.Now()}
	w, names := world.Example("us-east-1", c.now, world.ExampleOptions{Services: true})
	sim := simtest.Start(t, w, tgwsim.Options{Now: c.now, Seed: 1})
	sim.Setenv(t, "")
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		t.Fatal(err)
	}
	return &lab{sim, names, c, cfg}
}

func (l *lab) pass(d time.Duration) { l.clock.at = l.clock.at.Add(d) }

// code is that of an error, "" of none.
func code(err error) string {
	var e smithy.APIError
	switch {
	case errors.As(err, &e):
		return e.ErrorCode()
	case err != nil:
		return err.Error()
	}
	return ""
}
