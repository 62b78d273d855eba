package ec2api

import (
	"context"
	"log/slog"
	"time"
	"unsafe"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// Options of a Client. The zero value is the SDK's own chain for region,
// credentials and endpoints, with retries that suit a gateway.
type Options struct {
	Region string // empty: AWS_REGION, the shared configuration, the instance's
	Logger *slog.Logger
	// Attempts is how often a call is tried at most, 0: 4.
	Attempts int
	// Budget bounds one method with all its pages and attempts, 0: 30 s.
	Budget time.Duration
	// Backoff is how long to wait before a retry (attempt 1 is the first), nil:
	// the SDK's exponential one with jitter, at most 5 s.
	Backoff func(attempt int) time.Duration
	// Counters are added to, nil: the Client's own. Several clients may share them.
	Counters *Counters
	// PageSize is MaxResults of lists, 0: 1000 where EC2 takes it.
	PageSize int32
}

// Client asks one region of AWS. It is safe for concurrent use.
//
// Every method returns an *Error, except where the request could not be made.
// Reads follow all pages and are tried again when that can help. Writes that
// would act twice are tried again only when AWS has said that it did nothing
// (throttling); when their answer is lost, IsUnknownOutcome says so, and the
// caller looks before it asks again: no call of a Transit Gateway takes a client
// token (facts/aws.md 2.2).
type Client struct {
	o     Options
	cfg   aws.Config
	ec2   unsafe.Pointer // *ec2.Client, see api
	imds  *imds.Client
	stats *Counters
}

// New finds region and credentials' sources. It makes no call, except to the
// instance metadata service for a region that is set nowhere.
func New(ctx context.Context, o Options) (*Client, error) {
	if o.Attempts == 0 {
		o.Attempts = 4
	}
	if o.Budget == 0 {
		o.Budget = 30 * time.Second
	}
	if o.PageSize == 0 {
		o.PageSize = 1000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Budget)
	defer cancel()
	cfg, err := load(ctx, o.Region)
	if err != nil {
		return nil, err
	}
	if o.Counters == nil {
		o.Counters = &Counters{}
	}
	c := &Client{o: o, cfg: cfg, stats: o.Counters}
	c.cfg.Retryer = func() aws.Retryer { return c.retryer(false) }
	c.ec2 = unsafe.Pointer(ec2.NewFromConfig(c.cfg))
	c.imds = imds.NewFromConfig(cfg, func(o *imds.Options) {
		o.EnableFallback = aws.FalseTernary // IMDSv2 only
	})
	return c, nil
}

// Region is the region that is asked.
func (c *Client) Region() string { return c.cfg.Region }

// api is the SDK's client of EC2. Its type must not be seen from the type of
// Client, which callers put into interfaces: the linker then keeps all of its 800
// calls for reflection, which are 45 MB of the program and 20 MB of resident memory.
func (c *Client) api() *ec2.Client { return (*ec2.Client)(c.ec2) }

// budget bounds one method.
func (c *Client) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.o.Budget)
}

// once is for calls that would act twice: see retryer.
func (c *Client) once(o *ec2.Options) { o.Retryer = c.retryer(true) }
