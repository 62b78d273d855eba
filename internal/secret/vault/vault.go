// Package vault reads secrets from HashiCorp Vault or OpenBao: the KV version 2
// engine, with a token, AppRole or AWS IAM login, over plain HTTP requests. Both
// servers have the same API (https://openbao.org/api-docs/secret/kv/kv-v2/).
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/internal/secret"
)

// Config says where the server is and how to log in.
type Config struct {
	Address   string // such as "https://vault.example.net:8200"
	CAFile    string // PEM; empty: the system's
	Namespace string
	Auth      string // one of the Auth words
	Mount     string // of the auth method; empty: its name

	Token    secret.Ref // AuthToken; opened at every login
	RoleID   string     // AuthAppRole
	SecretID secret.Ref // AuthAppRole
	Role     string     // AuthAWS
	ServerID string     // AuthAWS: X-Vault-AWS-IAM-Server-ID, empty: none
}

// Ways to log in.
const (
	AuthToken   = "token"
	AuthAppRole = "approle"
	AuthAWS     = "aws"
)

// Options are what the client uses of its process.
type Options struct {
	// Secrets opens Token and SecretID.
	Secrets *secret.Resolver
	// Sign makes the signed request that proves who this host is to AWS; nil: no
	// AWS login.
	Sign func(ctx context.Context, serverID string) (Signed, error)
}

// Signed is a signed GetCallerIdentity request.
type Signed struct {
	Method, URL, Body string
	Header            http.Header
}

// Client is a secret.Fetcher. It keeps its token until a third of the token's
// time is left, and logs in again when it is refused.
type Client struct {
	cfg  Config
	opt  Options
	http *http.Client

	mu    sync.Mutex // one login at a time
	token secret.Value
	until time.Time // log in again after this; zero: never
}

// maxAnswer bounds an answer of the server, in bytes.
const maxAnswer = 1 << 20

// New makes a client. It reads the CA file and connects to nobody.
func New(cfg Config, opt Options) (*Client, error) {
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New(`vault: the address is no URL; write "https://vault.example.net:8200", or set VAULT_ADDR`)
	}
	pool := (*x509.CertPool)(nil)
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("vault: CA file: %w", err)
		}
		if pool = x509.NewCertPool(); !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("vault: CA file %s: it holds no certificate", cfg.CAFile)
		}
	}
	c := &Client{cfg: cfg, opt: opt}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 30 * time.Second,
		},
		// A standby sends to the active node, once; never from TLS to plain text.
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 1 || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return errors.New("refused to follow a redirection")
			}
			return nil
		},
	}
	return c, nil
}

// Fetch reads the latest version of "MOUNT/PATH". A mount with slashes is set
// off by two: "team/kv//PATH".
func (c *Client) Fetch(ctx context.Context, name string) (secret.Document, error) {
	mount, path, ok := strings.Cut(name, "//")
	if !ok {
		mount, path, ok = strings.Cut(name, "/")
	}
	if !ok || mount == "" || path == "" || strings.Contains("/"+name+"/", "/../") {
		return secret.Document{}, errors.New("the name is malformed; write vault:MOUNT/PATH#FIELD, without the \"data/\" of the API")
	}
	var got struct {
		Data struct {
			Data     json.RawMessage
			Metadata struct {
				Version   json.Number
				Destroyed bool
				Deleted   string `json:"deletion_time"`
			}
		}
	}
	at := "/v1/" + escape(mount) + "/data/" + escape(path)
	err := c.ask(ctx, http.MethodGet, at, nil, &got)
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.deleted:
		return secret.Document{}, fmt.Errorf("%w: its latest version is deleted; undelete it, or write a new one", secret.ErrNotFound)
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return secret.Document{}, fmt.Errorf("%w; check mount and path: it must be a KV version 2 engine", secret.ErrNotFound)
	case err != nil:
		return secret.Document{}, err
	case len(got.Data.Data) == 0 || string(got.Data.Data) == "null":
		return secret.Document{}, fmt.Errorf("%w: the answer has no data; it must be a KV version 2 engine", secret.ErrNotFound)
	}
	return secret.Document{Text: secret.NewValue(string(got.Data.Data)), Version: got.Data.Metadata.Version.String()}, nil
}

func escape(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// ask sends a request with a token, and once more with a new one if the server
// does not take it.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	token, err := c.login(ctx, secret.Value{})
	if err != nil {
		return err
	}
	err = c.send(ctx, method, path, token, in, out)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		if fresh, lerr := c.login(ctx, token); lerr == nil && fresh != token {
			return c.send(ctx, method, path, fresh, in, out)
		}
	}
	return err
}

// Error is an answer of the server that is no success. It says nothing of what
// was asked or sent.
type Error struct {
	Status  int
	deleted bool // a version exists and is deleted
}

// Error names the status and what it means to an operator.
func (e *Error) Error() string {
	switch e.Status {
	case http.StatusForbidden:
		return fmt.Sprintf("%v (HTTP 403); give the token's policy \"read\" on MOUNT/data/PATH", secret.ErrDenied)
	case http.StatusServiceUnavailable:
		return "the server is sealed or in maintenance (HTTP 503); unseal it"
	case http.StatusTooManyRequests:
		return "too many requests (HTTP 429)"
	}
	return fmt.Sprintf("HTTP %d", e.Status)
}

// Is sorts the statuses into the errors of package secret. 472 and 473 are
// standby nodes.
func (e *Error) Is(target error) bool {
	switch target {
	case secret.ErrDenied:
		return e.Status == http.StatusForbidden
	case secret.ErrUnavailable:
		return e.Status == http.StatusTooManyRequests || e.Status == 472 || e.Status == 473 || e.Status >= 500
	case secret.ErrNotFound:
		return e.Status == http.StatusNotFound
	}
	return false
}

// send makes one request.
func (c *Client) send(ctx context.Context, method, path string, token secret.Value, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = strings.NewReader(string(b))
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.cfg.Address, "/")+path, body)
	if err != nil {
		return errors.New("the request can not be made")
	}
	r.Header.Set("X-Vault-Request", "true")
	if !token.IsZero() {
		r.Header.Set("X-Vault-Token", token.Reveal())
	}
	if c.cfg.Namespace != "" {
		r.Header.Set("X-Vault-Namespace", c.cfg.Namespace)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w from %s: %w", secret.ErrUnavailable, c.cfg.Address, bare(err))
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w from %s: %w", secret.ErrUnavailable, c.cfg.Address, bare(err))
	case len(b) > maxAnswer:
		return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case a.StatusCode == http.StatusNoContent:
		return nil
	case a.StatusCode != http.StatusOK:
		e := &Error{Status: a.StatusCode}
		e.deleted = a.StatusCode == http.StatusNotFound && strings.Contains(string(b), `"deletion_time"`)
		return e
	case json.Unmarshal(b, out) != nil:
		return errors.New("the answer is not what a Vault server sends") // the text may hold the secret
	}
	return nil
}

// bare drops the URL of the request from an error.
func bare(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
