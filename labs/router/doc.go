// Package router is a small BGP router for the far ends of a lab: it learns,
// selects as a Transit Gateway does, installs kernel routes with ECMP, and
// announces. It uses the product's own speaker and route edges, which is why
// tests of those edges talk to FRR and BIRD instead (package daemons).
//
// Start reading at Config, then rib.go (selection) and Router.Run.
package router
