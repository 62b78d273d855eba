package ec2api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/internal/secret/vault"
)

// Secrets reads AWS's stores of secrets with this host's credentials. It needs
// secretsmanager:GetSecretValue on the secrets or ssm:GetParameter on the
// parameters that are named, and kms:Decrypt where they have a key of their own.
type Secrets struct{ sdk lazy }

// NewSecrets makes a reader. Region is empty for the environment's or the
// instance's; nothing is asked before the first secret is.
func NewSecrets(region string) *Secrets { return &Secrets{sdk: lazy{region: region}} }

// Manager reads from Secrets Manager: a name or an ARN, the version AWSCURRENT.
func (s *Secrets) Manager() secret.Fetcher { return managed{s} }

// Parameters reads SecureStrings from Systems Manager Parameter Store: a path, a
// path with ":VERSION" or ":LABEL", or an ARN.
func (s *Secrets) Parameters() secret.Fetcher { return parameters{s} }

type managed struct{ *Secrets }

// Fetch reads one secret.
func (m managed) Fetch(ctx context.Context, name string) (secret.Document, error) {
	cfg, err := m.sdk.get(ctx)
	if err != nil {
		return secret.Document{}, storeError(err, "")
	}
	c := secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) { o.Region = regionOf(name, o.Region) })
	out, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
	if err != nil {
		return secret.Document{}, storeError(err, "secretsmanager:GetSecretValue")
	}
	if out.SecretString == nil {
		return secret.Document{}, errors.New("a binary secret; store text or a JSON object")
	}
	return secret.Document{Text: secret.NewValue(*out.SecretString), Version: aws.ToString(out.VersionId)}, nil
}

type parameters struct{ *Secrets }

// Fetch reads one parameter.
func (p parameters) Fetch(ctx context.Context, name string) (secret.Document, error) {
	cfg, err := p.sdk.get(ctx)
	if err != nil {
		return secret.Document{}, storeError(err, "")
	}
	c := ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.Region = regionOf(name, o.Region) })
	out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	switch {
	case err != nil:
		return secret.Document{}, storeError(err, "ssm:GetParameter")
	case out.Parameter == nil || out.Parameter.Value == nil:
		return secret.Document{}, fmt.Errorf("%w: the answer has no value", secret.ErrNotFound)
	case out.Parameter.Type != types.ParameterTypeSecureString:
		return secret.Document{}, fmt.Errorf("a parameter of type %s is kept in clear text; make it a SecureString, and replace the secret", out.Parameter.Type)
	}
	return secret.Document{Text: secret.NewValue(*out.Parameter.Value), Version: strconv.FormatInt(out.Parameter.Version, 10)}, nil
}

// regionOf takes the region of an ARN, which may be another one.
func regionOf(name, otherwise string) string {
	if f := strings.SplitN(name, ":", 6); len(f) == 6 && f[0] == "arn" && f[3] != "" {
		return f[3]
	}
	return otherwise
}

// storeError sorts the errors of both stores. The messages of AWS name what was
// asked for and by whom, never a secret, but the code says it as well.
func storeError(err error, action string) error {
	code, status := apiCode(err), httpStatus(err)
	switch code {
	case "ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound", "ParameterVersionLabelNotFound":
		return fmt.Errorf("%w (%s); check name and region", secret.ErrNotFound, code)
	case "InvalidRequestException": // [API]: marked for deletion
		return fmt.Errorf("%w (%s): it may be marked for deletion; restore it", secret.ErrNotFound, code)
	case "AccessDeniedException", "UnauthorizedOperation", "AccessDenied":
		return fmt.Errorf("%w (%s); allow %s on it to this host's role, and kms:Decrypt if it has a key of its own", secret.ErrDenied, code, action)
	case "DecryptionFailure", "InvalidKeyId":
		return fmt.Errorf("%w (%s): its key can not be used; allow kms:Decrypt on it to this host's role", secret.ErrDenied, code)
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "InvalidSignatureException":
		return fmt.Errorf("%w: the credentials of this host are not accepted (%s); check its role and its clock", secret.ErrUnavailable, code)
	case "":
		return fmt.Errorf("%w: %w", secret.ErrUnavailable, innermost(err))
	}
	if status >= 500 || status == http.StatusTooManyRequests || strings.Contains(code, "Throttl") || code == "RequestLimitExceeded" {
		return fmt.Errorf("%w: %s (HTTP %d)", secret.ErrUnavailable, code, status)
	}
	return fmt.Errorf("refused: %s (HTTP %d)", code, status)
}

// SignCallerIdentity signs a GetCallerIdentity request, for others to send: it
// tells Vault's AWS login which role this host has. It is for the global
// endpoint, which Vault asks if not told otherwise
// (https://openbao.org/api-docs/auth/aws/).
func (s *Secrets) SignCallerIdentity(ctx context.Context, serverID string) (vault.Signed, error) {
	cfg, err := s.sdk.get(ctx)
	if err != nil {
		return vault.Signed{}, err
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return vault.Signed{}, fmt.Errorf("%w: no AWS credentials: %w", secret.ErrUnavailable, innermost(err))
	}
	at := os.Getenv("AWS_ENDPOINT_URL_STS")
	if at == "" {
		at = "https://sts.amazonaws.com/"
	}
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		return vault.Signed{}, errors.New("AWS_ENDPOINT_URL_STS is no URL")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if serverID != "" {
		r.Header.Set("X-Vault-AWS-IAM-Server-ID", serverID)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, creds, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now()); err != nil {
		return vault.Signed{}, fmt.Errorf("sign: %w", err)
	}
	return vault.Signed{Method: r.Method, URL: at, Body: body, Header: r.Header}, nil
}
