package services

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// addSTS serves STS. It alone verifies whole signatures, since others take its
// word for who has signed; that is, where the world has callers.
func addSTS(s *tgwsim.Server) {
	s.AddService(wire.STS, queryWords, tgwsim.Op("GetCallerIdentity", getCallerIdentity))
	s.Verify(wire.STS.Name, func(r *http.Request, body []byte, signed tgwsim.Scope) *wire.Error {
		callers := s.World().Snapshot().Callers
		if len(callers) == 0 {
			return nil
		}
		caller, ok := callers[signed.AccessKey]
		if !ok { // [COMMON]
			return &wire.Error{Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid.", Status: http.StatusForbidden}
		}
		if !verified(r, body, signed, caller) {
			return &wire.Error{Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided.", Status: http.StatusForbidden}
		}
		return nil
	})
}

// verified signs the request anew with the caller's key and compares.
func verified(r *http.Request, body []byte, signed tgwsim.Scope, caller world.Caller) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), strings.NewReader(string(body)))
	if err != nil {
		return false
	}
	have := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(have, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	for name := range strings.SplitSeq(names, ";") {
		if v := r.Header.Values(name); len(v) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	if !strings.Contains(";"+names+";", ";content-length;") {
		again.ContentLength = 0
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: signed.AccessKey, SecretAccessKey: caller.SecretKey}, again, hex.EncodeToString(sum[:]), "sts", signed.Region, at)
	return err == nil && again.Header.Get("Authorization") == have
}

func getCallerIdentity(c *tgwsim.Call, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	who := c.Caller()
	return &sts.GetCallerIdentityOutput{Account: &c.State.AccountID, Arn: &who.ARN, UserId: &who.UserID}, nil
}
