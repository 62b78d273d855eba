package aws

import (
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

var place = regexp.MustCompile(`\$\{(\w+)\}`)

// What Terraform renders has a value for each place, and no other.
func TestUserDataHasAllItsValues(t *testing.T) {
	text := read(t, "terraform/user-data.sh.tftpl")
	var want []string
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	want = slices.Compact(want)
	var got []string
	for _, r := range terraform(t, "terraform").find("resource") {
		if r.Labels[0] == "aws_launch_template" {
			for _, m := range regexp.MustCompile(`(?m)^    (\w+) += `).FindAllStringSubmatch(r.Attributes["user_data"], -1) {
				got = append(got, m[1])
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("templatefile gives %v, the template has %v", got, want)
	}
}

// CloudFormation's text is the same, in its own names, for both gateways.
func TestUserDataIsTheSameInCloudFormation(t *testing.T) {
	want := place.ReplaceAllStringFunc(read(t, "terraform/user-data.sh.tftpl"), func(s string) string {
		if s == "${region}" {
			return "${AWS::Region}"
		}
		return "${" + camel(s[2:len(s)-1]) + "}"
	})
	for _, x := range []string{"A", "B"} {
		sub := cloudformation(t).at("Resources", "LaunchTemplate"+x, "Properties", "LaunchTemplateData", "UserData", "Fn::Base64", "Fn::Sub")
		if sub.Kind != yaml.SequenceNode || sub.Content[0].Value != want {
			t.Errorf("the user data of gateway %s is not that of terraform/user-data.sh.tftpl", x)
		}
	}
}
