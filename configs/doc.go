// Package configs turns TOML files into the validated configuration of the
// core, and holds what an operator installs: reference.toml, examples and
// systemd units.
//
// The way of one file: tree.go reads TOML into nodes that know their file and
// line; decode.go fills the typed documents of document.go and reports unknown
// keys, wrong types and wrong ranges; derive.go fills defaults that depend on
// other keys; check*.go judge what one key alone can not show; build.go makes
// the ha.Config. Every step collects Problems and goes on, so that an operator
// sees all mistakes at once. Show and Diff work on the same typed documents.
//
// Start reading at document.go, which is the list of all keys, and Load.
package configs
