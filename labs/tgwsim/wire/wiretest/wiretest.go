// Package wiretest holds what tests of the emulated services share: structs of the
// SDK filled with values, and the SDK's own snapshots and validators.
package wiretest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Exported leaves out the SDK's noSmithyDocumentSerde and metadata.
var Exported = cmp.FilterPath(func(p cmp.Path) bool {
	f, ok := p.Last().(cmp.StructField)
	return ok && (f.Name() == "noSmithyDocumentSerde" || f.Name() == "ResultMetadata")
}, cmp.Ignore())

// Fill gives every field below a pointer a value that is not zero and unlike its
// neighbors'; maps stay empty.
func Fill(v any) { fill(reflect.ValueOf(v).Elem(), new(int)) }

func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(1_700_000_000+*n), 0).UTC()))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" {
				fill(v.Field(i), n)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte{byte(*n)})
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case v.Kind() == reflect.Map:
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("<text> & %d", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Float64:
		v.SetFloat(float64(*n) / 8)
	default:
		v.SetInt(int64(*n))
	}
}

// InMemory sends bodies of a type that net/http knows, which it does not ask for
// more once the answer is there (see tgwsim.Answer).
type InMemory struct{}

// Do sends a request.
func (InMemory) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return http.DefaultClient.Do(r)
}

// Dir is where the SDK's module of a service is.
func Dir(t *testing.T, service string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+service).Output()
	if err != nil {
		t.Fatalf("find the SDK: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Snapshot is the request that the SDK sends for an operation with every member
// filled: it is part of the SDK's own module.
func Snapshot(t *testing.T, service, operation string) *http.Request {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Dir(t, service), "request_snapshot", operation+".request.snap"))
	if err != nil {
		t.Fatal(err)
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	method, address, _ := strings.Cut(line, " ")
	_, body, _ := strings.Cut(strings.TrimLeft(rest, "\n"), "\n\n")
	r, err := http.NewRequest(method, address, strings.NewReader(strings.TrimSpace(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

var (
	validator = regexp.MustCompile(`^func validate\w+\(v \*(?:types\.)?(\w+)\)`)
	required  = regexp.MustCompile(`NewErrParamRequired\("(\w+)"\)`)
)

// Required are the members that the SDK's validators want, by type and sorted.
func Required(t *testing.T, service string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Dir(t, service), "validators.go"))
	if err != nil {
		t.Fatal(err)
	}
	found, current := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		if m := validator.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := required.FindStringSubmatch(line); m != nil {
			found[current] = append(found[current], m[1])
		}
	}
	for _, members := range found {
		slices.Sort(members)
	}
	return found
}
