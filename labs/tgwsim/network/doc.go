// Package network is the network behind the Transit Gateway simulator: for every
// Connect peer a GRE endpoint and two real BGP speakers, kernel routes by what
// package routing decides, the VPCs around it, and VPC Route Servers. It runs in
// the network namespace of its process and knows nothing of AWS's API: Set says
// what should be there, and Sessions and Decisions what is true.
//
// Start reading at Spec, then Network.apply; speakers.go runs the sessions,
// forward.go leads packets, routeserver.go is what its name says, and double.go
// the short file that most labs describe their Transit Gateway in.
package network
