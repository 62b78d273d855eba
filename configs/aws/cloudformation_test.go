package aws

import (
	"encoding/json"
	"iter"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// node is a YAML node with CloudFormation's short tags (!Ref, !Sub, ...).
type node struct{ *yaml.Node }

type pair struct {
	key   string
	value node
}

func cloudformation(t *testing.T) node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, "cloudformation.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	return node{doc.Content[0]}
}

// pairs are the entries of the mapping at path, in order.
func (n node) pairs(path ...string) []pair {
	n = n.at(path...)
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var out []pair
	for i := 0; i < len(n.Content); i += 2 {
		out = append(out, pair{n.Content[i].Value, node{n.Content[i+1]}})
	}
	return out
}

// at follows keys of mappings; what is not there is an empty node.
func (n node) at(path ...string) node {
	for _, key := range path {
		next := node{&yaml.Node{}}
		if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					next = node{n.Content[i+1]}
				}
			}
		}
		n = next
	}
	return n
}

func mapsKeys(maps ...map[string]int) iter.Seq[string] {
	all := map[string]bool{}
	for _, m := range maps {
		for k := range m {
			all[k] = true
		}
	}
	return func(yield func(string) bool) {
		for k := range all {
			if !yield(k) {
				return
			}
		}
	}
}

var inSub = regexp.MustCompile(`\$\{([^}!]+)\}`)

// refs calls f with all that the tree refers to: parameters and resources by name,
// conditions as "Condition NAME".
func (n node) refs(local map[string]bool, f func(name string, line int)) {
	sub := func(text node, own map[string]bool) {
		for _, m := range inSub.FindAllStringSubmatch(text.Value, -1) {
			if name, _, _ := strings.Cut(m[1], "."); !own[m[1]] {
				f(name, text.Line)
			}
		}
	}
	switch n.Tag {
	case "!Ref":
		f(n.Value, n.Line)
		return
	case "!GetAtt":
		name, _, _ := strings.Cut(n.Value, ".")
		f(name, n.Line)
		return
	case "!Sub":
		sub(n, local)
		return
	case "!If":
		f("Condition "+n.Content[0].Value, n.Line)
	}
	if n.Kind == yaml.MappingNode {
		for _, p := range n.pairs() {
			if p.key == "Fn::Sub" && p.value.Kind == yaml.SequenceNode {
				own := map[string]bool{}
				for _, v := range (node{p.value.Content[1]}).pairs() {
					own[v.key] = true
				}
				sub(node{p.value.Content[0]}, own)
				node{p.value.Content[1]}.refs(nil, f)
				continue
			}
			p.value.refs(local, f)
		}
		return
	}
	for _, c := range n.Content {
		node{c}.refs(local, f)
	}
}

func TestCloudFormationIsWhole(t *testing.T) {
	c := cloudformation(t)
	known := map[string]bool{"AWS::Region": true, "AWS::NoValue": true}
	for _, p := range c.pairs("Parameters") {
		known[p.key] = false
		if len(p.value.at("Description").Value) < 10 {
			t.Errorf("parameter %s has no description", p.key)
		}
	}
	for _, p := range c.pairs("Conditions") {
		known["Condition "+p.key] = false
	}
	for _, p := range c.pairs("Resources") {
		if _, double := known[p.key]; double {
			t.Errorf("%s is a parameter and a resource", p.key)
		}
		known[p.key] = true
	}
	use := func(name string, line int) {
		if _, ok := known[name]; !ok {
			t.Errorf("cloudformation.yaml:%d: %s is declared nowhere", line, name)
		}
		known[name] = true
	}
	for _, section := range []string{"Conditions", "Rules", "Resources", "Outputs"} {
		c.at(section).refs(nil, use)
	}
	for _, p := range c.pairs("Resources") {
		if k := p.value.at("Condition"); k.Value != "" {
			use("Condition "+k.Value, k.Line)
		}
		on := p.value.at("DependsOn")
		for _, name := range append(on.Content, on.Node) {
			if name.Value != "" {
				use(name.Value, name.Line)
			}
		}
	}
	for name, used := range known {
		if !used {
			t.Errorf("cloudformation.yaml: %s is never used", name)
		}
	}
}

// A resource that is made under a condition may be referred to only where that
// holds: the other resource has the same, or an !If with it stands around.
func TestConditionalResourcesAreReferredToUnderTheirCondition(t *testing.T) {
	c := cloudformation(t)
	condition := map[string]string{}
	for _, p := range c.pairs("Resources") {
		condition[p.key] = p.value.at("Condition").Value
	}
	var walk func(n node, holds map[string]bool)
	walk = func(n node, holds map[string]bool) {
		if n.Tag == "!If" {
			then := map[string]bool{n.Content[0].Value: true}
			for k := range holds {
				then[k] = true
			}
			walk(node{n.Content[1]}, then)
			walk(node{n.Content[2]}, holds)
			return
		}
		if n.Tag == "!Ref" || n.Tag == "!GetAtt" || n.Tag == "!Sub" {
			n.refs(nil, func(name string, line int) {
				if k := condition[name]; k != "" && !holds[k] {
					t.Errorf("cloudformation.yaml:%d: %s may not be there (%s)", line, name, k)
				}
			})
			return
		}
		for _, x := range n.Content {
			walk(node{x}, holds)
		}
	}
	for _, p := range c.pairs("Resources") {
		walk(p.value, map[string]bool{p.value.at("Condition").Value: true})
	}
	walk(c.at("Outputs"), nil)
}

// The template can not read files: it repeats the policies, word for word.
func TestCloudFormationHasThePolicies(t *testing.T) {
	found := 0
	for _, p := range cloudformation(t).pairs("Resources") {
		if p.value.at("Type").Value != "AWS::IAM::RolePolicy" {
			continue
		}
		found++
		var got, want any
		if err := p.value.at("Properties", "PolicyDocument").Decode(&got); err != nil {
			t.Fatal(err)
		}
		name := "iam-" + p.value.at("Properties", "PolicyName").Value + ".json"
		if err := json.Unmarshal([]byte(read(t, name)), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not %s", p.key, name)
		}
		if !strings.Contains(read(t, "terraform/iam.tf"), `file("${path.module}/../`+name+`")`) {
			t.Errorf("terraform/iam.tf does not use %s", name)
		}
	}
	if found != 4 {
		t.Errorf("%d policies in the template, want 4", found)
	}
}

// AWS's own linter knows every property of every resource. It is no Debian package,
// so that the other tests must do where it is not.
func TestCfnLintAcceptsTheTemplate(t *testing.T) {
	t.Parallel()
	lint, err := exec.LookPath("cfn-lint")
	if err == nil {
		err = exec.Command(lint, "--version").Run()
	}
	if err != nil {
		t.Skip("needs cfn-lint, which is no Debian package")
	}
	if out, err := exec.Command(lint, "cloudformation.yaml").CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
