package ec2api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// GetCallerIdentity says whose credentials are used. It needs no permission.
func (c *Client) GetCallerIdentity(ctx context.Context) (tgwconnect.CallerIdentity, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	out, err := sts.NewFromConfig(c.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return tgwconnect.CallerIdentity{}, c.fail("GetCallerIdentity", err, false)
	}
	return tgwconnect.CallerIdentity{AccountID: str(out.Account), ARN: str(out.Arn), UserID: str(out.UserId)}, nil
}

// GetMetricData asks CloudWatch for the sums of one metric, oldest first.
func (c *Client) GetMetricData(ctx context.Context, q tgwconnect.MetricQuery) ([]tgwconnect.MetricValue, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	client := cloudwatch.NewFromConfig(c.cfg)
	metric := &types.Metric{Namespace: &q.Namespace, MetricName: &q.Name}
	for name, value := range q.Dimensions {
		metric.Dimensions = append(metric.Dimensions, types.Dimension{Name: aws.String(name), Value: aws.String(value)})
	}
	period := aws.Int32(int32(max(q.Period, time.Minute) / time.Second)) // some hours at most
	in := &cloudwatch.GetMetricDataInput{
		StartTime: &q.From, EndTime: &q.To, ScanBy: types.ScanByTimestampAscending,
		MetricDataQueries: []types.MetricDataQuery{{Id: aws.String("m"), MetricStat: &types.MetricStat{Metric: metric, Period: period, Stat: aws.String("Sum")}}},
	}
	var values []tgwconnect.MetricValue
	for range mostPages {
		out, err := client.GetMetricData(ctx, in)
		if err != nil {
			return nil, c.fail("GetMetricData", err, false)
		}
		for _, r := range out.MetricDataResults {
			for i := range min(len(r.Timestamps), len(r.Values)) {
				values = append(values, tgwconnect.MetricValue{At: r.Timestamps[i], Sum: r.Values[i]})
			}
		}
		if str(out.NextToken) == "" {
			slices.SortFunc(values, func(a, b tgwconnect.MetricValue) int { return a.At.Compare(b.At) })
			return values, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, errors.New("GetMetricData: too many pages")
}
