package ec2api

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// Stats are what Counters have counted.
type Stats struct {
	Requests     uint64 // sent, retries included
	Retries      uint64
	Throttled    uint64 // answers that said so
	Unauthorized uint64 // calls refused for lack of a permission
	Failed       uint64 // calls that failed after all attempts, the two above included
}

// Counters count what became of requests. They are safe for concurrent use.
type Counters struct{ requests, retries, throttled, unauthorized, failed atomic.Uint64 }

// Stats are the counts so far, of all services.
func (c *Client) Stats() Stats { return c.stats.Read() }

// Read are the counts so far.
func (s *Counters) Read() Stats {
	return Stats{s.requests.Load(), s.retries.Load(), s.throttled.Load(), s.unauthorized.Load(), s.failed.Load()}
}

// maxBackoff bounds the wait between attempts. EC2 refills 20 reads and 5 changes
// a second for a whole account ([THROTTLE]).
const maxBackoff = 5 * time.Second

// retryer counts, and takes the place of the SDK's back-off in tests.
type retryer struct {
	*retry.Standard
	c *Client
}

// retryer makes the retryer of one call. With once only an answer that says that
// nothing was done is a reason to try again.
func (c *Client) retryer(once bool) retryer {
	return retryer{retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = c.o.Attempts, maxBackoff
		o.RateLimiter = ratelimit.None // the attempts and the budget bound it
		if once {
			o.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				return aws.BoolTernary(throttled(err))
			})}
		}
	}), c}
}

func (r retryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	r.c.stats.requests.Add(1)
	release, err := r.Standard.GetAttemptToken(ctx)
	if err != nil {
		return nil, err
	}
	return func(err error) error {
		if throttled(err) {
			r.c.stats.throttled.Add(1)
		}
		return release(err)
	}, nil
}

func (r retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	r.c.stats.retries.Add(1)
	if r.c.o.Backoff != nil {
		return r.c.o.Backoff(attempt), nil
	}
	return r.Standard.RetryDelay(attempt, err)
}

// throttled says whether AWS refused for the number of requests, and so did nothing.
func throttled(err error) bool {
	var e smithy.APIError
	return errors.As(err, &e) && throttleCodes[e.ErrorCode()]
}

// throttleCodes are the words of [ERR] and of the SDK for the same refusal.
var throttleCodes = func() map[string]bool {
	m := map[string]bool{"ConcurrentMutationLimitExceeded": true}
	for code := range retry.DefaultThrottleErrorCodes {
		m[code] = true
	}
	return m
}()
