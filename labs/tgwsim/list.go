package tgwsim

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// listing says how objects of one kind are found.
type listing[T any] struct {
	notFound string // the code when an ID is unknown
	id       func(T) string
	tags     func(T) world.Tags // nil: filters on tags are not documented
	// filters are the documented ones that are emulated; others are violations.
	filters map[string]func(T) []string
	most    int32 // of MaxResults, 0: 1000; the least is 5 [API]
}

// query are the parameters that all lists have.
type query struct {
	ids     []string
	filters []types.Filter
	max     *int32
	token   *string
}

// find answers one page of objects: those with the IDs, or all, that pass the
// filters, sorted by ID.
func find[T any](c *Call, l listing[T], all map[string]T, q query) ([]T, *string, error) {
	found := world.Values(all)
	if len(q.ids) > 0 {
		found = found[:0:0]
		for _, id := range slices.Compact(slices.Sorted(slices.Values(q.ids))) {
			v, ok := all[id]
			if !ok {
				return nil, nil, &wire.Error{Code: l.notFound, Message: "The ID '" + id + "' does not exist"}
			}
			found = append(found, v)
		}
	}
	keep, err := l.match(c, q.filters)
	if err != nil {
		return nil, nil, err
	}
	found = slices.DeleteFunc(found, func(v T) bool { return !keep(v) })
	return page(c, found, l.id, or(l.most, 1000), q)
}

// match compiles filters: all of them must hold, each for one of its values,
// with wildcards * and ? [API, Filter].
func (l listing[T]) match(c *Call, filters []types.Filter) (func(T) bool, error) {
	var tests []func(T) bool
	for _, f := range filters {
		name := text(f.Name)
		values := l.filters[name]
		if key, ok := strings.CutPrefix(name, "tag:"); ok && l.tags != nil {
			values = func(v T) []string {
				value, ok := l.tags(v)[key]
				if !ok {
					return nil
				}
				return []string{value}
			}
		} else if name == "tag-key" && l.tags != nil {
			values = func(v T) []string { return slices.Sorted(maps.Keys(l.tags(v))) }
		}
		if values == nil {
			c.Violation("the filter %q is not documented, or not emulated", name)
			return nil, &wire.Error{Code: "InvalidParameterValue", Message: "The filter '" + name + "' is invalid"}
		}
		tests = append(tests, func(v T) bool {
			return slices.ContainsFunc(values(v), func(have string) bool {
				return slices.ContainsFunc(f.Values, func(want string) bool { return glob(want, have) })
			})
		})
	}
	return func(v T) bool {
		return !slices.ContainsFunc(tests, func(test func(T) bool) bool { return !test(v) })
	}, nil
}

func glob(pattern, value string) bool {
	if pattern == value {
		return true
	}
	// Only * and ? are special in EC2; a slash is no separator there.
	pattern = strings.NewReplacer("/", "\x00", "[", `\[`).Replace(pattern)
	ok, err := path.Match(pattern, strings.ReplaceAll(value, "/", "\x00"))
	return ok && err == nil
}

// page cuts one page out of what was found. The token names the object before
// the page, so that pages stay right when objects come and go between them.
func page[T any](c *Call, found []T, id func(T) string, most int32, q query) ([]T, *string, error) {
	size := int(most)
	if q.max != nil {
		if *q.max < 5 || *q.max > most {
			return nil, nil, &wire.Error{Code: "InvalidParameterValue", Message: "MaxResults is out of range"}
		}
		size = int(*q.max)
	}
	if forced := c.PageSize(); forced > 0 {
		size = min(size, forced)
	}
	if q.token != nil {
		after, err := base64.URLEncoding.DecodeString(*q.token)
		if err != nil || len(after) == 0 {
			return nil, nil, &wire.Error{Code: "InvalidNextToken", Message: "The token '" + *q.token + "' is invalid"} // code assumed
		}
		i := slices.IndexFunc(found, func(v T) bool { return id(v) > string(after) })
		if i < 0 {
			i = len(found)
		}
		found = found[i:]
	}
	if len(found) <= size {
		return found, nil, nil
	}
	token := base64.URLEncoding.EncodeToString([]byte(id(found[size-1])))
	return found[:size], &token, nil
}

// PageSize is the most that a list answers with at once, 0: what was asked for.
func (s *Server) PageSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.PageSize
}

// convert is a list of the SDK's structs; nil if it is empty.
func convert[T, O any](found []T, f func(T) O) []O {
	var list []O
	for _, v := range found {
		list = append(list, f(v))
	}
	return list
}

// Short words for the SDK's pointers.

func ptr[T any](v T) *T { return &v }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// some is nil for an empty string: an element that is not there.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func value(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func truth(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

func address(a netip.Addr) *string {
	if !a.IsValid() {
		return nil
	}
	return ptr(a.String())
}

func prefixes(ps []netip.Prefix, keep func(netip.Prefix) bool) (texts []string) {
	for _, p := range ps {
		if p.IsValid() && keep(p) {
			texts = append(texts, p.String())
		}
	}
	return texts
}

func is4(p netip.Prefix) bool { return p.Addr().Is4() }
func is6(p netip.Prefix) bool { return p.Addr().Is6() }

// parsePrefix reads a CIDR parameter, and as EC2 does clears host bits [API].
func parsePrefix(name, s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, &wire.Error{Code: "InvalidParameterValue", Message: "Value (" + s + ") for parameter " + name + " is invalid. This is not a valid CIDR block."}
	}
	return p.Masked(), nil
}

func parsePrefixes(name string, texts []string) (ps []netip.Prefix, err error) {
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			_, err := parsePrefix(name, s)
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

func parseAddr(name, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return a, &wire.Error{Code: "InvalidParameterValue", Message: "Value (" + s + ") for parameter " + name + " is invalid."}
	}
	return a, nil
}

func sdkTags(tags world.Tags) []types.Tag {
	return convert(slices.Sorted(maps.Keys(tags)), func(k string) types.Tag { return types.Tag{Key: ptr(k), Value: ptr(tags[k])} })
}

// newTags are the tags that a create call gives to its resource.
func newTags(specs []types.TagSpecification, resource types.ResourceType) (world.Tags, error) {
	tags := world.Tags{}
	for _, s := range specs {
		if s.ResourceType != resource {
			return nil, &wire.Error{Code: "InvalidParameterValue", Message: "'" + string(s.ResourceType) + "' is not a valid taggable resource type for this operation."}
		}
		for _, t := range s.Tags {
			tags[text(t.Key)] = text(t.Value)
		}
	}
	return tags, nil
}
