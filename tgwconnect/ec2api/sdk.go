package ec2api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// load finds region and credentials' sources; region is empty for the
// environment's or the instance's. It makes no call, except to the instance
// metadata service for a region that is set nowhere.
func load(ctx context.Context, region string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithEC2IMDSRegion(),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(10 * time.Second)),
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("aws configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, errors.New("no AWS region: set one in the configuration, or AWS_REGION, or run on EC2 with the instance metadata service reachable")
	}
	return cfg, nil
}

// lazy is the SDK's configuration, made when it is first needed: a gateway that
// asks nothing of AWS must not look for credentials. A failure is tried again.
type lazy struct {
	region string // empty: the environment's or the instance's
	mu     sync.Mutex
	cfg    *aws.Config
}

func (l *lazy) get(ctx context.Context) (aws.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg != nil {
		return *l.cfg, nil
	}
	cfg, err := load(ctx, l.region)
	if err != nil {
		return aws.Config{}, err
	}
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 4, 2*time.Second })
	}
	l.cfg = &cfg
	return cfg, nil
}

// apiCode is the code of an error that the API answered with; empty: there was
// no answer.
func apiCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// httpStatus is the status of the answer; 0: there was none.
func httpStatus(err error) int {
	var e *smithyhttp.ResponseError
	if errors.As(err, &e) && e.Response != nil {
		return e.HTTPStatusCode()
	}
	return 0
}
