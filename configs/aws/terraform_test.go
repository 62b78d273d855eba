package aws

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// block and module are what testdata/tfcheck prints: HashiCorp's own parser, built
// as a tool from a module of its own.
type block struct {
	Type       string
	Labels     []string
	Line       int
	Attributes map[string]string
	Blocks     []block
}

type module struct {
	Unformatted, Errors []string
	Blocks              []block
	References          []struct {
		Path []string
		File string
		Line int
	}
}

var buildTool = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tfcheck")
	if err != nil {
		return "", err
	}
	tool := filepath.Join(dir, "tfcheck")
	cmd := exec.Command("go", "build", "-o", tool, ".")
	cmd.Dir = "testdata/tfcheck"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	return tool, cmd.Run()
})

func TestMain(m *testing.M) {
	rc := m.Run()
	if tool, _ := buildTool(); tool != "" {
		_ = os.RemoveAll(filepath.Dir(tool))
	}
	os.Exit(rc)
}

func terraform(t *testing.T, dir string) module {
	t.Helper()
	tool, err := buildTool()
	if err != nil {
		t.Fatalf("build testdata/tfcheck: %v", err)
	}
	out, err := exec.Command(tool, dir).Output()
	if err != nil {
		t.Fatalf("tfcheck %s: %v", dir, err)
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// find returns the blocks of a type, and the first by its labels.
func (m module) find(kind string) []block {
	var out []block
	for _, b := range m.Blocks {
		if b.Type == kind {
			out = append(out, b)
		}
	}
	return out
}

func (m module) variable(name string) block {
	for _, b := range m.find("variable") {
		if b.Labels[0] == name {
			return b
		}
	}
	return block{}
}

func TestTerraformIsFormattedAndWhole(t *testing.T) {
	for _, dir := range []string{"terraform", "terraform/examples/two-zones"} {
		m := terraform(t, dir)
		for _, f := range m.Unformatted {
			t.Errorf("%s/%s is not formatted (terraform fmt)", dir, f)
		}
		for _, e := range m.Errors {
			t.Errorf("%s: %s", dir, e)
		}
		declared := map[string]bool{} // what may be referred to -> is it used
		for _, b := range m.Blocks {
			switch b.Type {
			case "variable":
				declared["var."+b.Labels[0]] = false
			case "resource":
				declared[b.Labels[0]+"."+b.Labels[1]] = true
			case "data":
				declared["data."+b.Labels[0]+"."+b.Labels[1]] = false
			case "module":
				declared["module."+b.Labels[0]] = true
			case "locals":
				for name := range b.Attributes {
					declared["local."+name] = false
				}
			}
			if (b.Type == "variable" || b.Type == "output") && len(b.Attributes["description"]) < 10 {
				t.Errorf("%s: %s %s has no description", dir, b.Type, b.Labels[0])
			}
			if b.Type == "variable" && b.Attributes["type"] == "" {
				t.Errorf("%s: variable %s has no type", dir, b.Labels[0])
			}
		}
		for _, r := range m.References {
			n := 2
			switch r.Path[0] {
			case "path", "each", "count", "string", "number", "bool":
				continue
			case "data":
				n = 3
			}
			if len(r.Path) < n {
				continue // types of variables: list, map
			}
			name := strings.Join(r.Path[:n], ".")
			if _, ok := declared[name]; !ok {
				t.Errorf("%s/%s:%d: %s is declared nowhere", dir, r.File, r.Line, name)
			}
			declared[name] = true
		}
		for name, used := range declared {
			if !used {
				t.Errorf("%s: %s is never used", dir, name)
			}
		}
	}
}

// The example gives every variable that has no default, and none that is not there.
func TestTerraformExampleFitsTheModule(t *testing.T) {
	m := terraform(t, "terraform")
	call := terraform(t, "terraform/examples/two-zones").find("module")[0]
	for _, v := range m.find("variable") {
		_, has := v.Attributes["default"]
		if _, given := call.Attributes[v.Labels[0]]; !given && !has {
			t.Errorf("the example does not give %s, which has no default", v.Labels[0])
		}
	}
	for name := range call.Attributes {
		if name != "source" && m.variable(name).Type == "" {
			t.Errorf("the example gives %s, which is no variable", name)
		}
	}
}

// Defaults that the product has too are the product's. A test in configs proves
// that reference.toml states those.
func TestDefaultsAreTheProducts(t *testing.T) {
	ref := read(t, "../reference.toml")
	m, c := terraform(t, "terraform"), cloudformation(t)
	for key, name := range map[string]string{"listen-port": "wireguard_port", "tgw-asn": "transit_gateway_asn"} {
		want := regexp.MustCompile(`(?m)^` + key + ` = (\d+)`).FindStringSubmatch(ref)
		if want == nil {
			t.Errorf("reference.toml has no %s", key)
			continue
		}
		if got := m.variable(name).Attributes["default"]; got != want[1] {
			t.Errorf("terraform: %s is %s, the product has %s = %s", name, got, key, want[1])
		}
		if got := c.at("Parameters", camel(name), "Default").Value; got != want[1] {
			t.Errorf("cloudformation: %s is %s, the product has %s = %s", camel(name), got, key, want[1])
		}
	}
}

// camel is the name in CloudFormation of a variable of Terraform.
func camel(name string) string {
	var b strings.Builder
	for _, w := range strings.Split(name, "_") {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// kinds of resources: Terraform's name and CloudFormation's.
var kinds = map[string]string{
	"aws_autoscaling_group":                  "AWS::AutoScaling::AutoScalingGroup",
	"aws_cloudwatch_metric_alarm":            "AWS::CloudWatch::Alarm",
	"aws_ec2_transit_gateway_connect":        "AWS::EC2::TransitGatewayConnect",
	"aws_ec2_transit_gateway_connect_peer":   "AWS::EC2::TransitGatewayConnectPeer",
	"aws_ec2_transit_gateway_vpc_attachment": "AWS::EC2::TransitGatewayVpcAttachment",
	"aws_eip":                                "AWS::EC2::EIP",
	"aws_eip_association":                    "AWS::EC2::EIPAssociation",
	"aws_iam_instance_profile":               "AWS::IAM::InstanceProfile",
	"aws_iam_role":                           "AWS::IAM::Role",
	"aws_iam_role_policy":                    "AWS::IAM::RolePolicy",
	"aws_launch_template":                    "AWS::EC2::LaunchTemplate",
	"aws_lb":                                 "AWS::ElasticLoadBalancingV2::LoadBalancer",
	"aws_lb_listener":                        "AWS::ElasticLoadBalancingV2::Listener",
	"aws_lb_target_group":                    "AWS::ElasticLoadBalancingV2::TargetGroup",
	"aws_lb_target_group_attachment":         "", // Targets of the target group
	"aws_network_interface":                  "AWS::EC2::NetworkInterface",
	"aws_route":                              "AWS::EC2::Route",
	"aws_security_group":                     "AWS::EC2::SecurityGroup",
	"aws_vpc_security_group_egress_rule":     "AWS::EC2::SecurityGroupEgress",
	"aws_vpc_security_group_ingress_rule":    "AWS::EC2::SecurityGroupIngress",
}

// Both make the same: of each kind as many, the template for two gateways.
func TestTerraformAndCloudFormationMakeTheSame(t *testing.T) {
	want := map[string]int{}
	for _, r := range terraform(t, "terraform").find("resource") {
		kind, known := kinds[r.Labels[0]]
		if !known {
			t.Errorf("%s is not in the table of kinds", r.Labels[0])
		}
		if kind == "" {
			continue
		}
		n := 1
		if each := r.Attributes["for_each"]; strings.Contains(each, "var.gateways") || each == "local.tgw_drops" {
			n = 2
		}
		want[kind] += n
	}
	got := map[string]int{}
	for _, r := range cloudformation(t).pairs("Resources") {
		got[r.value.at("Type").Value]++
	}
	for _, kind := range slices.Sorted(mapsKeys(want, got)) {
		if want[kind] != got[kind] {
			t.Errorf("%s: %d by Terraform with two gateways, %d by CloudFormation", kind, want[kind], got[kind])
		}
	}
}
