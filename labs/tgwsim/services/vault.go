package services

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Vault is a double of a Vault or OpenBao server, as far as a reader of secrets
// needs it: the KV version 2 engine, and logins by token, AppRole and AWS IAM. It
// is an http.Handler. What it does is what the API documentation says
// (https://openbao.org/api-docs/, the same paths as Vault's); marked where it is
// assumed. What it does not know it answers with 404 and notes as a violation.
type Vault struct {
	// STS is asked who signed, in an AWS login; empty: that login is refused.
	STS string
	Now func() time.Time // nil: time.Now

	mu         sync.Mutex
	secrets    map[string][]version // by "MOUNT/PATH"
	tokens     map[string]*token
	approles   map[string]approle // by role ID
	awsRoles   map[string]awsRole
	state      VaultState
	violations []string
	requests   []string
	issued     int
}

// VaultState is what is wrong with a Vault.
type VaultState struct {
	Sealed    bool   // 503 to everything
	Throttled bool   // 429 to everything
	Status    int    // this status to everything, 0: none (472 and 473: standby)
	Namespace string // that requests must name, empty: none
	Garbage   bool   // answers are no JSON, and hold the secret
}

type version struct {
	data    map[string]string
	deleted time.Time
}

type token struct {
	expires   time.Time // zero: never
	ttl       time.Duration
	renewable bool
	paths     []string // prefixes of "MOUNT/PATH" that it may read; nil: all
}

type approle struct {
	secretID string
	ttl      time.Duration
}

type awsRole struct {
	arn, serverID string
	ttl           time.Duration
}

// NewVault makes an empty server that nobody can log in to.
func NewVault() *Vault {
	return &Vault{
		Now: time.Now, secrets: map[string][]version{}, tokens: map[string]*token{},
		approles: map[string]approle{}, awsRoles: map[string]awsRole{},
	}
}

// Put writes a new version of a secret at "MOUNT/PATH".
func (v *Vault) Put(path string, data map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[path] = append(v.secrets[path], version{data: data})
}

// Delete deletes the latest version softly.
func (v *Vault) Delete(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.secrets[path]; len(s) > 0 {
		s[len(s)-1].deleted = v.Now()
	}
}

// Token makes a token valid; TTL 0: for ever and not renewable. It may read below
// the given "MOUNT/PATH" prefixes, or without one everything.
func (v *Vault) Token(name string, ttl time.Duration, paths ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens[name] = v.newToken(ttl, paths)
}

func (v *Vault) newToken(ttl time.Duration, paths []string) *token {
	t := &token{ttl: ttl, renewable: ttl > 0, paths: paths}
	if ttl > 0 {
		t.expires = v.Now().Add(ttl)
	}
	return t
}

// Revoke ends all tokens that were given out, as a restart of an in-memory server
// or an operator does.
func (v *Vault) Revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.tokens)
}

// AppRole lets a role log in at auth/approle.
func (v *Vault) AppRole(roleID, secretID string, ttl time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.approles[roleID] = approle{secretID, ttl}
}

// AWSRole lets whoever STS calls arn log in at auth/aws.
func (v *Vault) AWSRole(role, arn, serverID string, ttl time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.awsRoles[role] = awsRole{arn, serverID, ttl}
}

// SetState replaces what is wrong.
func (v *Vault) SetState(s VaultState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = s
}

// Violations are the requests that a server would not have understood.
func (v *Vault) Violations() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.violations...)
}

// Requests are the methods and paths asked for, in order.
func (v *Vault) Requests() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.requests...)
}

func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests = append(v.requests, r.Method+" "+r.URL.Path)
	fail := func(status int, text ...string) { reply(w, status, map[string]any{"errors": text}) }
	switch s := v.state; {
	case s.Sealed:
		fail(http.StatusServiceUnavailable, "Vault is sealed")
		return
	case s.Throttled:
		fail(http.StatusTooManyRequests, "request path: rate limit quota exceeded")
		return
	case s.Status != 0:
		fail(s.Status)
		return
	case r.Header.Get("X-Vault-Namespace") != s.Namespace:
		fail(http.StatusForbidden, "permission denied") // assumed: a wrong namespace is not told from a wrong token
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		v.unknown(w, r)
		return
	}
	if auth, ok := strings.CutPrefix(path, "auth/"); ok {
		v.auth(w, r, auth)
		return
	}
	mount, name, ok := strings.Cut(path, "/data/")
	if !ok || r.Method != http.MethodGet || len(r.URL.RawQuery) > 0 {
		v.unknown(w, r)
		return
	}
	at := mount + "/" + name
	if t := v.valid(r); t == nil || !t.may(at) {
		fail(http.StatusForbidden, "permission denied")
		return
	}
	versions := v.secrets[at]
	if len(versions) == 0 {
		fail(http.StatusNotFound)
		return
	}
	last := versions[len(versions)-1]
	meta := map[string]any{"version": len(versions), "destroyed": false, "deletion_time": "", "created_time": v.Now().UTC().Format(time.RFC3339Nano), "custom_metadata": nil}
	switch {
	case v.state.Garbage:
		_, _ = fmt.Fprintf(w, "<html>%v</html>", last.data)
	case !last.deleted.IsZero():
		meta["deletion_time"] = last.deleted.UTC().Format(time.RFC3339Nano)
		reply(w, http.StatusNotFound, map[string]any{"data": map[string]any{"data": nil, "metadata": meta}})
	default:
		reply(w, http.StatusOK, map[string]any{"request_id": "r", "lease_duration": 0, "data": map[string]any{"data": last.data, "metadata": meta}})
	}
}

func (v *Vault) unknown(w http.ResponseWriter, r *http.Request) {
	v.violations = append(v.violations, r.Method+" "+r.URL.RequestURI()+" is not emulated")
	reply(w, http.StatusNotFound, map[string]any{"errors": []string{"unsupported path"}})
}

func (v *Vault) valid(r *http.Request) *token {
	t := v.tokens[r.Header.Get("X-Vault-Token")]
	if t == nil || !t.expires.IsZero() && v.Now().After(t.expires) {
		return nil
	}
	return t
}

func (t *token) may(path string) bool {
	for _, p := range t.paths {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return t.paths == nil
}

// auth answers below auth/.
func (v *Vault) auth(w http.ResponseWriter, r *http.Request, path string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	var in map[string]string
	if r.Method != http.MethodPost || err != nil || json.Unmarshal(body, &in) != nil {
		v.unknown(w, r)
		return
	}
	fail := func(status int, text string) { reply(w, status, map[string]any{"errors": []string{text}}) }
	switch path {
	case "token/renew-self":
		t := v.valid(r)
		switch {
		case t == nil:
			fail(http.StatusForbidden, "permission denied")
		case !t.renewable:
			fail(http.StatusBadRequest, "lease is not renewable")
		default:
			t.expires = v.Now().Add(t.ttl)
			v.granted(w, r.Header.Get("X-Vault-Token"), t)
		}
	case "approle/login":
		role, ok := v.approles[in["role_id"]]
		if !ok || role.secretID != in["secret_id"] || len(in) != 2 {
			fail(http.StatusBadRequest, "invalid role or secret ID")
			return
		}
		v.grant(w, role.ttl)
	case "aws/login":
		role, ok := v.awsRoles[in["role"]]
		if !ok {
			fail(http.StatusBadRequest, "entry for role "+in["role"]+" not found")
			return
		}
		if err := v.proven(in, role); err != nil {
			fail(http.StatusBadRequest, err.Error())
			return
		}
		v.grant(w, role.ttl)
	default:
		v.unknown(w, r)
	}
}

// proven sends the signed request on to STS, never to where it says itself.
func (v *Vault) proven(in map[string]string, role awsRole) error {
	un64 := func(key string) []byte { b, _ := base64.StdEncoding.DecodeString(in[key]); return b }
	header := http.Header{}
	u, err := url.Parse(string(un64("iam_request_url")))
	switch {
	case v.STS == "":
		return errors.New("the AWS login is not set up")
	case in["iam_http_request_method"] != http.MethodPost || err != nil || u.Path != "/" && u.Path != "" || json.Unmarshal(un64("iam_request_headers"), &header) != nil:
		return errors.New("error making upstream request")
	case string(un64("iam_request_body")) != "Action=GetCallerIdentity&Version=2011-06-15":
		return errors.New("unexpected value for Action")
	case role.serverID != "" && (header.Get("X-Vault-AWS-IAM-Server-ID") != role.serverID || !strings.Contains(header.Get("Authorization"), "x-vault-aws-iam-server-id")):
		return errors.New("error validating X-Vault-AWS-IAM-Server-ID header")
	}
	r, err := http.NewRequest(http.MethodPost, v.STS, strings.NewReader(string(un64("iam_request_body"))))
	if err != nil {
		return err
	}
	r.Header, r.Host = header, u.Host
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return errors.New("error making upstream request")
	}
	defer a.Body.Close()
	var who struct {
		ARN string `xml:"GetCallerIdentityResult>Arn"`
	}
	if a.StatusCode != http.StatusOK || xml.NewDecoder(a.Body).Decode(&who) != nil {
		return fmt.Errorf("received error code %d from STS", a.StatusCode)
	}
	if who.ARN != role.arn {
		return fmt.Errorf("IAM Principal %q does not belong to the role %q", who.ARN, in["role"])
	}
	return nil
}

func (v *Vault) grant(w http.ResponseWriter, ttl time.Duration) {
	v.issued++
	name := fmt.Sprintf("s.issued%d", v.issued)
	v.tokens[name] = v.newToken(ttl, nil)
	v.granted(w, name, v.tokens[name])
}

func (v *Vault) granted(w http.ResponseWriter, name string, t *token) {
	reply(w, http.StatusOK, map[string]any{"auth": map[string]any{
		"client_token": name, "lease_duration": int(t.ttl.Seconds()), "renewable": t.renewable, "policies": []string{"default"},
	}})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
