package main

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
	"os"
	"strings"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/live"
)

const usage = `calls [PATTERN]                API calls so far, one a line: time, operation, error
faults JSON                    makes calls fail (labs/tgwsim/faults.go); {} ends it
violations                     calls that no AWS would understand; exit code 1 if there are any
` + live.ControlUsage

// wordsPath takes the words of live.Control; the paths of tgwsim.Server are
// below tgwsim.ControlPath.
const wordsPath = "/words"

func control(api *tgwsim.Server, l *live.Network) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(tgwsim.ControlPath, api.Control())
	mux.HandleFunc("POST "+wordsPath, func(w http.ResponseWriter, r *http.Request) {
		var words []string
		err := json.NewDecoder(r.Body).Decode(&words)
		var out string
		if err == nil {
			out, err = l.Control(words...)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, out)
	})
	return mux
}

// ask is the other end of control.
func ask(socket string, words []string) error {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	switch {
	case len(words) == 0:
		fmt.Print(usage)
		return nil
	case words[0] == "calls" && len(words) <= 2:
		var calls []tgwsim.LoggedCall
		if err := fetch(c, "calls?pattern="+url.QueryEscape(strings.Join(words[1:], "")), &calls); err != nil {
			return err
		}
		for _, k := range calls {
			fmt.Println(k.Time.UTC().Format("15:04:05.000"), k.Operation, k.Code)
		}
		return nil
	case words[0] == "violations" && len(words) == 1:
		var found []string
		if err := fetch(c, "violations", &found); err != nil || len(found) == 0 {
			return err
		}
		return errors.New(strings.Join(found, "\n"))
	case words[0] == "faults" && len(words) == 2:
		return send(c, tgwsim.ControlPath+"faults", []byte(words[1]))
	}
	body, err := json.Marshal(words)
	if err != nil {
		return err
	}
	return send(c, wordsPath, body)
}

func fetch(c *http.Client, path string, to any) error {
	r, err := c.Get("http://tgwsim" + tgwsim.ControlPath + path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	return json.NewDecoder(r.Body).Decode(to)
}

// send posts, and prints the answer.
func send(c *http.Client, path string, body []byte) error {
	r, err := c.Post("http://tgwsim"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r.Body)
		return errors.New(strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}
