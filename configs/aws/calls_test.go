package aws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// implied are the actions that AWS asks for without a call of that name.
var implied = map[string]string{
	"kms:Decrypt": "a secret or parameter under a key of one's own",
}

// free are the calls that need no permission.
var free = map[string]string{
	"sts:GetCallerIdentity": "AWS permits it to everybody",
}

// prefixes are IAM's names of services where the SDK's package has another.
var prefixes = map[string]string{"elasticloadbalancingv2": "elasticloadbalancing"}

// calls finds the AWS operations of the product: whoever calls one names its
// Input. The value is where.
func calls(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	set := token.NewFileSet()
	for _, dir := range []string{"bgp", "cmd", "configs", "ha", "internal", "tgwconnect", "wg"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			services := map[string]string{}
			for _, i := range f.Imports {
				p, _ := strconv.Unquote(i.Path.Value)
				service, ok := strings.CutPrefix(p, "github.com/aws/aws-sdk-go-v2/service/")
				if !ok || strings.Contains(service, "/") {
					continue
				}
				name := service
				if i.Name != nil {
					name = i.Name.Name
				}
				services[name] = service
			}
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := s.X.(*ast.Ident)
				op, isInput := strings.CutSuffix(s.Sel.Name, "Input")
				if !ok || !isInput || services[x.Name] == "" {
					return true
				}
				service := services[x.Name]
				if p := prefixes[service]; p != "" {
					service = p
				}
				out[service+":"+op] = set.Position(s.Pos()).String()
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// A file none of whose actions is called may wait for the code, if IAM.md says so.
func TestPoliciesGrantWhatIsCalledAndNoMore(t *testing.T) {
	called := calls(t)
	granted := map[string]bool{}
	for name, p := range policies(t) {
		var actions []string
		for _, s := range p.Statement {
			actions = append(actions, s.Action...)
		}
		waits := !slices.ContainsFunc(actions, func(a string) bool { return called[a] != "" })
		line := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(name) + "` \\|.*$").FindString(read(t, "IAM.md"))
		if said := strings.Contains(line, "nothing calls it yet"); said != waits {
			t.Errorf("%s: nothing calls it: %t, IAM.md says so: %t", name, waits, said)
		}
		for _, a := range actions {
			granted[a] = true
			if !waits && called[a] == "" && implied[a] == "" {
				t.Errorf("%s: %s is granted and never called: take it out there and in IAM.md", name, a)
			}
		}
	}
	for _, a := range slices.Sorted(maps.Keys(called)) {
		if !granted[a] && free[a] == "" {
			t.Errorf("%s: %s is called and in no policy of configs/aws: add it there and its reason to IAM.md", called[a], a)
		}
	}
}
