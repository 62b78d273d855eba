package tgwsim

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire/wiretest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// documented are the filters of an operation in the comments of the SDK.
func documented(t *testing.T, dir, operation string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "api_op_"+operation+".go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "type "+operation+"Input struct")
	input, _, _ := strings.Cut(rest, "\n}\n")
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t//   - (\S+?):? `).FindAllStringSubmatch(input, -1) {
		names[m[1]] = true
	}
	// They write of one in several ways: "tag :", "tag:", and "tag-key" with the text of "tag:".
	if names["tag"] || strings.Contains(input, "tag:Owner") {
		names["tag:Name"], names["tag-key"] = true, true
	}
	delete(names, "tag")
	return names
}

// accepts says whether an operation takes a filter, and whether it says why not.
func accepts(c *Call, o Operation, filter string) bool {
	form := url.Values{"Filter.1.Name": {filter}, "Filter.1.Value.1": {"10.0.0.0/8"}}
	for name, id := range map[string]string{
		"TransitGatewayRouteTableId": only(c.State.Tables), "TransitGatewayAttachmentId": only(c.State.Attachments), "RouteServerId": "rs-1",
	} {
		if _, ok := o.input.FieldByName(name); ok {
			form.Set(name, id)
		}
	}
	_, err := o.run(c, wire.EC2, form)
	return err == nil
}

func only[V any](m map[string]V) string { return slices.Min(slices.Collect(maps.Keys(m))) }

func TestOnlyDocumentedFiltersAreAccepted(t *testing.T) {
	w, _ := world.Example("us-east-1", time.Now, world.ExampleOptions{})
	w.Do(func(s *world.State) { s.RouteServers["rs-1"] = &world.RouteServer{ID: "rs-1"} })
	c := &Call{Server: NewServer(w, Options{}), World: w, State: w.Snapshot()}
	dir := wiretest.Dir(t, "ec2")
	docs, all, lists := map[string]map[string]bool{}, map[string]bool{}, []Operation{}
	for _, o := range ec2Operations() {
		if f, ok := o.input.FieldByName("Filters"); !ok || f.Type.Kind() != reflect.Slice {
			continue
		}
		lists = append(lists, o)
		docs[o.Name] = documented(t, dir, o.Name)
		for name := range docs[o.Name] {
			if accepts(c, o, name) {
				all[name] = true
			}
		}
	}
	if len(lists) < 20 || len(all) < 40 {
		t.Fatalf("%d operations with %d filters were found: the SDK's comments are not read right", len(lists), len(all))
	}
	for _, o := range lists {
		for name := range all {
			if !docs[o.Name][name] && accepts(c, o, name) {
				t.Errorf("%s takes the filter %s, which the SDK does not document", o.Name, name)
			}
		}
	}
}
