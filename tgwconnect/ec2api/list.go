package ec2api

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// mostPages bounds a list: 1,000 pages of 1,000.
const mostPages = 1000

// list follows the pages of a list and translates its items. page asks for one;
// token is nil for the first.
func list[S, T any](ctx context.Context, c *Client, op string, translate func(*S) T, page func(ctx context.Context, token *string) ([]S, *string, error)) ([]T, error) {
	ctx, cancel := c.budget(ctx)
	defer cancel()
	var out []T
	var token *string
	for range mostPages {
		items, next, err := page(ctx, token)
		if err != nil {
			return nil, c.fail(op, err, false)
		}
		for i := range items {
			out = append(out, translate(&items[i]))
		}
		if aws.ToString(next) == "" {
			return out, nil
		}
		token = next
	}
	return nil, fmt.Errorf("%s: more than %d pages", op, mostPages)
}

// pageSize is MaxResults: EC2 takes it or IDs, not both (InvalidParameterCombination).
func (c *Client) pageSize(q tgwconnect.Query) *int32 {
	if len(q.IDs) > 0 {
		return nil
	}
	return aws.Int32(c.o.PageSize)
}

func filters(q tgwconnect.Query) []types.Filter {
	var out []types.Filter
	for _, f := range q.Filters {
		out = append(out, types.Filter{Name: aws.String(f.Name), Values: f.Values})
	}
	return out
}

// What AWS says is taken as it is: an address that can not be read is the zero
// value, as one that is not there.

func addr(s *string) netip.Addr {
	a, _ := netip.ParseAddr(aws.ToString(s)) // see above
	return a.Unmap()
}

func prefix(s *string) netip.Prefix {
	p, err := netip.ParsePrefix(aws.ToString(s))
	if err != nil {
		return netip.Prefix{}
	}
	return p.Masked()
}

// either is the one of two that is there.
func either(s4, s6 *string) netip.Prefix {
	if aws.ToString(s4) != "" {
		return prefix(s4)
	}
	return prefix(s6)
}

func asn(n *int64) uint32 {
	if v := aws.ToInt64(n); v > 0 && v < 1<<32 {
		return uint32(v)
	}
	return 0
}

func str(s *string) string { return aws.ToString(s) }

func when(t *time.Time) time.Time { return aws.ToTime(t) }

func tags(list []types.Tag) tgwconnect.Tags {
	if len(list) == 0 {
		return nil
	}
	m := make(tgwconnect.Tags, len(list))
	for _, t := range list {
		m[str(t.Key)] = str(t.Value)
	}
	return m
}
