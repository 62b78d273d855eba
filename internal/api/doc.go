// Package api is the control interface of the daemon: the JSON types that
// every answer is made of, an HTTP server on a unix socket that serves them
// from a Backend, and the client the command line uses.
//
// The types are a promise to scripts: fields are snake_case and are only ever
// added within one Schema, arrays are never null, absolute times come with
// their age in seconds, and no type has room for a secret. Golden files pin
// the names.
//
// Start reading at Backend (what the daemon provides), then types.go (what an
// operator sees), server.go and client.go. ExplainFrom and Problems turn plain
// answers into conclusions; they are pure.
package api
