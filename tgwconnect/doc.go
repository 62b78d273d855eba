// Package tgwconnect is the vocabulary of the AWS side of the gateway: Connect
// peers and the GRE tunnels and BGP sessions they consist of.
//
// The package is pure. tgwconnect/gre makes the tunnels; tgwconnect/ec2api
// will be the only importer of the AWS SDK.
package tgwconnect
