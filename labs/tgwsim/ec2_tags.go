package tgwsim

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func tagOperations() []Operation {
	return []Operation{
		Op("CreateTags", createTags),
		Op("DeleteTags", deleteTags),
		Op("DescribeTags", describeTags),
	}
}

func createTags(c *Call, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	tags := world.Tags{}
	for _, t := range in.Tags {
		tags[text(t.Key)] = text(t.Value)
	}
	return &ec2.CreateTagsOutput{}, c.World.CreateTags(in.Resources, tags)
}

func deleteTags(c *Call, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
	tags := map[string]*string{}
	for _, t := range in.Tags {
		tags[text(t.Key)] = t.Value
	}
	return &ec2.DeleteTagsOutput{}, c.World.DeleteTags(in.Resources, tags)
}

func describeTags(c *Call, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
	type tag struct{ id, kind, key, value string }
	all := map[string]tag{}
	for id, r := range c.State.Tagged() {
		for k, v := range *r.Tags {
			all[id+" "+k] = tag{id, r.Type, k, v}
		}
	}
	l := listing[tag]{
		id: func(t tag) string { return t.id + " " + t.key },
		filters: map[string]func(tag) []string{ // [API]
			"key":           func(t tag) []string { return []string{t.key} },
			"resource-id":   func(t tag) []string { return value(t.id) },
			"resource-type": func(t tag) []string { return value(t.kind) },
			"value":         func(t tag) []string { return []string{t.value} },
		},
	}
	found, token, err := find(c, l, all, query{nil, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTagsOutput{NextToken: token, Tags: convert(found, func(t tag) types.TagDescription {
		return types.TagDescription{ResourceId: ptr(t.id), ResourceType: types.ResourceType(t.kind), Key: ptr(t.key), Value: ptr(t.value)}
	})}, err
}
