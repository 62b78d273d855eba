// Command tgwsim is a Transit Gateway with the AWS APIs around it, for labs:
//
//	tgwsim run WORLD.toml     plays the world that the file describes (labs/tgwsim/live)
//	tgwsim plain TGW.toml     a Transit Gateway without an API (labs/tgwsim/plain)
//	tgwsim ctl WORD...        speaks to the one that runs on this host; without words: help
//	tgwsim get URL            asks as a load balancer's health check does, and prints status and body
//
// labs/tgwsim/README.md says what it imitates, known from where, and what is
// assumed.
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/live"
	"github.com/wgbgp/wgbgp/labs/tgwsim/plain"
)

func main() {
	socket := flag.String("s", live.DefaultControl, "control `socket` of ctl")
	verbose := flag.Bool("v", false, "log every call")
	flag.Parse()
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	var err error
	switch args := flag.Args(); {
	case len(args) == 2 && args[0] == "run":
		err = run(args[1], log)
	case len(args) == 2 && args[0] == "plain":
		err = plain.Run(args[1], log)
	case len(args) > 0 && args[0] == "ctl":
		err = ask(*socket, args[1:])
	case len(args) == 2 && args[0] == "get":
		err = get(args[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: tgwsim run|plain FILE | tgwsim ctl WORD... | tgwsim get URL")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// get follows no redirection and waits as long as an NLB does at most by default.
func get(url string) error {
	c := &http.Client{
		Timeout:       6 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := c.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	fmt.Println(r.Status)
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}
