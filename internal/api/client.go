package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// Client asks a daemon. Every method's error is an *Error.
type Client struct {
	target string
	socket string
	http   *http.Client
}

// NewClient takes a target of the form unix:///run/wgbgpd/wgbgpd.sock, or just
// a path. Nothing is opened before the first question.
func NewClient(target string) (*Client, error) {
	path, ok := strings.CutPrefix(target, "unix://")
	if !ok && strings.Contains(target, "://") {
		return nil, Usagef("target %s: want unix:///path/of/socket", target)
	}
	if !strings.HasPrefix(path, "/") {
		return nil, Usagef("target %s: want an absolute path, such as unix://%s", target, DefaultSocket)
	}
	c := &Client{target: "unix://" + path, socket: path}
	var d net.Dialer
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", c.socket)
		},
		DisableCompression: true,
	}}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Target is the target in its full form.
func (c *Client) Target() string { return c.target }

// get asks a question and decodes the answer.
func get[T any](ctx context.Context, c *Client, path string, q url.Values) (v T, err error) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	err = c.do(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

// post gives an order.
func post[T any](ctx context.Context, c *Client, path string, o order) (v T, err error) {
	b, err := json.Marshal(o)
	if err != nil {
		return v, Errorf(CodeFailed, "%s: %v", path, err)
	}
	err = c.do(ctx, http.MethodPost, path, b, &v)
	return v, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return c.translate(ctx, err)
	}
	if err := checkSchema(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return Errorf(CodeFailed, "answer of %s: %v", c.target, err)
	}
	return nil
}

// send returns the response to a request that succeeded.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://wgbgpd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, Errorf(CodeFailed, "%s: %v", path, err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.translate(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, c.translate(ctx, err)
	}
	if err := checkSchema(b); err != nil {
		return nil, err
	}
	e := &Error{}
	if err := json.Unmarshal(b, e); err != nil || e.Code == "" {
		return nil, Errorf(CodeFailed, "%s answered %s", c.target, resp.Status)
	}
	return nil, e
}

// checkSchema refuses answers of a daemon whose fields may mean something
// else.
func checkSchema(b []byte) error {
	var s struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return Errorf(CodeFailed, "the answer is not JSON: is this the socket of wgbgpd?")
	}
	if s.Schema != Schema {
		return Errorf(CodeFailed, "the daemon speaks schema %q, this program %q", s.Schema, Schema).
			WithHint("install wgbgp and wgbgpd of one version")
	}
	return nil
}

// translate tells apart what an operator can do something about.
func (c *Client) translate(ctx context.Context, err error) *Error {
	var ne net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded),
		errors.As(err, &ne) && ne.Timeout():
		return Errorf(CodeTimeout, "%s: no answer in time", c.target).WithHint("give it longer with --timeout")
	case errors.Is(err, context.Canceled):
		return Errorf(CodeFailed, "interrupted")
	case errors.Is(err, syscall.ENOENT):
		return Errorf(CodeUnreachable, "%s: no such socket", c.target).WithHint("is wgbgpd running?")
	case errors.Is(err, syscall.ECONNREFUSED):
		return Errorf(CodeUnreachable, "%s: nobody listens", c.target).WithHint("is wgbgpd running?")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return Errorf(CodeUnreachable, "%s: permission denied", c.target).
			WithHint("be root or a member of the group that owns the socket")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return Errorf(CodeUnreachable, "%s: %s", c.target, strings.TrimSpace(fmt.Sprint(err)))
}
