package services

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
)

// Add serves all services of this package besides EC2.
func Add(s *tgwsim.Server) {
	s.AddService(wire.ELB, queryWords, elbOperations()...)
	addSTS(s)
	secretsManager.add(s)
	parameterStore.add(s)
	s.Mount(wire.Route53.Name, func(w http.ResponseWriter, r *http.Request, signed tgwsim.Scope, refused *wire.Error) {
		serveRoute53(s, w, r, signed, refused)
	})
}

// queryWords are the common refusals of the Query and REST XML services [COMMON].
var queryWords = tgwsim.Words{
	"UnauthorizedOperation": {Code: "AccessDenied", Status: http.StatusForbidden},
	"RequestLimitExceeded":  {Code: "Throttling", Status: http.StatusBadRequest},
	"AuthFailure":           {Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
	"MissingParameter":      {Code: "ValidationError", Status: http.StatusBadRequest},
	"InvalidParameterValue": {Code: "ValidationError", Status: http.StatusBadRequest},
}

// page cuts one page out of a sorted list. The marker names the last item of the
// page before. Sizes are from 1 to most.
func page[T any](c *tgwsim.Call, found []T, id func(T) string, marker *string, size *int32, most int32) ([]T, *string, error) {
	n := int(most)
	if size != nil {
		if *size < 1 || *size > most {
			return nil, nil, &wire.Error{Code: "ValidationError", Message: "the page size is out of range"}
		}
		n = int(*size)
	}
	if forced := c.PageSize(); forced > 0 {
		n = min(n, forced)
	}
	if marker != nil {
		after, err := base64.URLEncoding.DecodeString(*marker)
		if err != nil {
			return nil, nil, &wire.Error{Code: "ValidationError", Message: "the marker is invalid"}
		}
		found = slices.DeleteFunc(found, func(v T) bool { return strings.Compare(id(v), string(after)) <= 0 })
	}
	if len(found) <= n {
		return found, nil, nil
	}
	next := base64.URLEncoding.EncodeToString([]byte(id(found[n-1])))
	return found[:n], &next, nil
}

func convert[T, O any](found []T, f func(T) O) []O {
	var list []O
	for _, v := range found {
		list = append(list, f(v))
	}
	return list
}
