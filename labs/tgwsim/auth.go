package tgwsim

import (
	"net/http"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// Scope is the credential scope of a signature (SigV4): who signs for what.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type Scope struct{ AccessKey, Date, Region, Service string }

// parseScope reads the signature's scope and checks that it is for a region of the
// world and for this day. The signature itself is not computed here: what the
// product could do wrong (the wrong service or region, an old date) shows in the
// scope. STS computes it, since it exists to tell who has signed.
func parseScope(r *http.Request, w *world.State, now time.Time) (Scope, *wire.Error) {
	fail := func(code, message string) *wire.Error {
		return &wire.Error{Code: code, Message: message, Status: http.StatusForbidden}
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return Scope{}, &wire.Error{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden}
	}
	var s Scope
	signed := false
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			f := strings.Split(value, "/")
			if len(f) != 5 || f[4] != "aws4_request" {
				return Scope{}, fail("IncompleteSignature", "Credential must have exactly 5 slash-delimited elements")
			}
			s = Scope{f[0], f[1], f[2], f[3]}
		case "Signature":
			signed = len(value) == 64
		}
	}
	if !signed || s.AccessKey == "" {
		return s, fail("AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	if !s.serves(w) {
		return s, fail("AuthFailure", "Credential should be scoped to a valid region, not '"+s.Region+"'")
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != s.Date {
		return s, fail("AuthFailure", "Date in Credential scope does not match X-Amz-Date")
	}
	// Fifteen minutes are the most that clocks may differ [ERR, RequestExpired].
	if d := now.Sub(at); d > 15*time.Minute || d < -15*time.Minute {
		return s, &wire.Error{Code: "RequestExpired", Message: "Request has expired."}
	}
	return s, nil
}

// serves says whether the service is in the region that is signed for. Route 53
// has one for all, STS one for all besides each region's.
func (s Scope) serves(w *world.State) bool {
	switch s.Service {
	case "route53":
		return true
	case "sts":
		return s.Region == w.Region || s.Region == "us-east-1"
	case "secretsmanager", "ssm":
		return s.Region == w.Region || w.OtherRegions[s.Region]
	}
	return s.Region == w.Region
}
