package ec2api

import (
	"reflect"
	"strings"
	"testing"
)

// TestTheTypeOfClientLeadsToNoService keeps the programs small: see Client.api.
func TestTheTypeOfClientLeadsToNoService(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(x reflect.Type, path string)
	walk = func(x reflect.Type, path string) {
		if seen[x] {
			return
		}
		seen[x] = true
		if strings.Contains(x.PkgPath(), "/aws-sdk-go-v2/service/") {
			t.Errorf("%s is a %s", path, x)
			return
		}
		switch x.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Chan:
			walk(x.Elem(), path+"[]")
		case reflect.Struct:
			for i := range x.NumField() {
				walk(x.Field(i).Type, path+"."+x.Field(i).Name)
			}
		}
	}
	walk(reflect.TypeFor[*Client](), "Client")
}
