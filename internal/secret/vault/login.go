package vault

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
)

// login returns a token that is not the refused one. The token that it has is
// used until two thirds of its time are over.
func (c *Client) login(ctx context.Context, refused secret.Value) (secret.Value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.token.IsZero() && c.token != refused && (c.until.IsZero() || time.Now().Before(c.until)) {
		return c.token, nil
	}
	var a auth
	var err error
	switch c.cfg.Auth {
	case AuthAppRole:
		a, err = c.appRole(ctx)
	case AuthAWS:
		a, err = c.aws(ctx)
	default:
		a, err = c.given(ctx)
	}
	if err != nil {
		return secret.Value{}, err
	}
	c.token, c.until = secret.NewValue(a.Token), time.Time{}
	if a.Lease > 0 {
		c.until = time.Now().Add(time.Duration(a.Lease) * time.Second * 2 / 3)
	}
	return c.token, nil
}

// auth is what a login answers.
type auth struct {
	Token string `json:"client_token"`
	Lease int64  `json:"lease_duration"` // seconds, 0: for ever
}

type authAnswer struct{ Auth auth }

// given opens the token, which its owner may have replaced, and renews it where
// that is allowed.
func (c *Client) given(ctx context.Context) (auth, error) {
	if c.cfg.Token.IsZero() {
		return auth{}, errors.New("no token; set token under [secrets.vault], or VAULT_TOKEN")
	}
	v, err := c.opt.Secrets.Open(c.cfg.Token)
	if err != nil {
		return auth{}, fmt.Errorf("token: %w", err)
	}
	var got authAnswer
	err = c.send(ctx, http.MethodPost, "/v1/auth/token/renew-self", v, struct{}{}, &got)
	if err != nil && errors.Is(err, secret.ErrUnavailable) {
		return auth{}, err
	}
	// A token that may not renew itself, such as a root or batch token, is used as
	// it is.
	return auth{Token: v.Reveal(), Lease: got.Auth.Lease}, nil
}

func (c *Client) appRole(ctx context.Context) (auth, error) {
	v, err := c.opt.Secrets.Open(c.cfg.SecretID)
	if err != nil {
		return auth{}, fmt.Errorf("secret-id: %w", err)
	}
	return c.ask4token(ctx, map[string]string{"role_id": c.cfg.RoleID, "secret_id": v.Reveal()})
}

// aws proves by a signed request, which only the server sends, which IAM role
// this host has (https://openbao.org/api-docs/auth/aws/).
func (c *Client) aws(ctx context.Context) (auth, error) {
	if c.opt.Sign == nil {
		return auth{}, errors.New("this program has no AWS credentials; use another auth")
	}
	s, err := c.opt.Sign(ctx, c.cfg.ServerID)
	if err != nil {
		return auth{}, fmt.Errorf("AWS login: %w", err)
	}
	header, err := json.Marshal(s.Header)
	if err != nil {
		return auth{}, err
	}
	b64 := base64.StdEncoding.EncodeToString
	return c.ask4token(ctx, map[string]string{
		"role": c.cfg.Role, "iam_http_request_method": s.Method, "iam_request_url": b64([]byte(s.URL)),
		"iam_request_body": b64([]byte(s.Body)), "iam_request_headers": b64(header),
	})
}

func (c *Client) ask4token(ctx context.Context, in map[string]string) (auth, error) {
	var got authAnswer
	mount := cmp.Or(c.cfg.Mount, c.cfg.Auth)
	err := c.send(ctx, http.MethodPost, "/v1/auth/"+escape(mount)+"/login", secret.Value{}, in, &got)
	var e *Error
	switch {
	case errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusForbidden):
		return auth{}, fmt.Errorf("%w: login by %s is refused (HTTP %d); check role and credentials at auth/%s", secret.ErrDenied, c.cfg.Auth, e.Status, mount)
	case err != nil:
		return auth{}, fmt.Errorf("login by %s at auth/%s: %w", c.cfg.Auth, mount, err)
	case got.Auth.Token == "":
		return auth{}, errors.New("the login's answer has no token")
	}
	return got.Auth, nil
}
