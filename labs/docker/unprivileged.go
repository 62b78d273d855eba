package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// engineSocket is where Docker's engine listens if DOCKER_HOST says nothing else.
const engineSocket = "/var/run/docker.sock"

// unprivileged stands between containerlab and an engine that lacks a capability
// itself, because it runs in a container or a micro-VM. Such an engine can start
// no privileged container at all ("unable to apply caps: operation not permitted"),
// and containerlab's nodes are privileged. Here a privileged container becomes one
// with everything that a router needs, and all else goes through unchanged.
type unprivileged struct {
	socket string
	dir    string
	server *http.Server
	served chan error
}

// needed is what routers ask for. BPF is part of SYS_ADMIN for engines that do not
// know its own name yet.
var needed = []string{"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_NICE", "SYS_PTRACE", "IPC_LOCK"}

// newUnprivileged returns nil where it is not needed. Whether it is, this
// process's own capabilities tell: the engine was started by the same machine.
func newUnprivileged() (*unprivileged, error) {
	lacking, err := lacksCapability()
	if err != nil || !lacking {
		return nil, err
	}
	engine := engineSocket
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		path, ok := strings.CutPrefix(host, "unix://")
		if !ok {
			return nil, fmt.Errorf("DOCKER_HOST=%s: labs need an engine on this machine, by a Unix socket", host)
		}
		engine = path
	}
	dir, err := os.MkdirTemp("", "wgbgp-docker-") // only its owner may enter
	if err != nil {
		return nil, err
	}
	u := &unprivileged{socket: filepath.Join(dir, "sock"), dir: dir, served: make(chan error, 1)}
	listener, err := net.Listen("unix", u.socket)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", engine)
	}}
	proxy.FlushInterval = -1 // events and logs are streams
	u.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/containers/create") {
			if err := reduceRequest(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { u.served <- u.server.Serve(listener) }()
	return u, nil
}

func (u *unprivileged) close() error {
	err := u.server.Close()
	if served := <-u.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, os.RemoveAll(u.dir))
}

func reduceRequest(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if body, err = reduce(body); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// reduce rewrites the body of a request to create a container.
// https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
func reduce(body []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // limits are 64-bit integers
	var create map[string]any
	if err := decoder.Decode(&create); err != nil {
		return nil, fmt.Errorf("request to create a container: %w", err)
	}
	host, ok := create["HostConfig"].(map[string]any)
	if !ok || host["Privileged"] != true {
		return body, nil
	}
	host["Privileged"] = false
	appendTo(host, "CapAdd", needed)
	// As for privileged containers: /proc/sys may be written, no system call is filtered.
	host["MaskedPaths"], host["ReadonlyPaths"] = []string{}, []string{}
	appendTo(host, "SecurityOpt", []string{"seccomp=unconfined", "apparmor=unconfined"})
	devices, _ := host["Devices"].([]any)
	host["Devices"] = append(devices, map[string]string{
		"PathOnHost": "/dev/net/tun", "PathInContainer": "/dev/net/tun", "CgroupPermissions": "rwm",
	})
	return json.Marshal(create)
}

func appendTo(m map[string]any, key string, words []string) {
	list, _ := m[key].([]any)
	for _, w := range words {
		list = append(list, w)
	}
	m[key] = list
}

// lacksCapability reports whether this process could never have some capability
// that the kernel knows (capabilities(7): bounding set).
func lacksCapability() (bool, error) {
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return false, err
	}
	highest, err := strconv.Atoi(strings.TrimSpace(string(last)))
	if err != nil {
		return false, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, err
	}
	_, rest, _ := strings.Cut(string(status), "CapBnd:")
	line, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return false, fmt.Errorf("/proc/self/status: CapBnd: %w", err)
	}
	return bits.OnesCount64(set) < highest+1, nil
}
