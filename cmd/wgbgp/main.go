// Command wgbgp asks the daemon wgbgpd what it does and why, and gives it
// orders.
//
// Start reading at registry.go, the table of all commands. app.go runs one of
// them, words.go lets words be shortened, the render files turn answers into
// text and know nothing else.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Check: checkFile})
	stop()
	os.Exit(code)
}
