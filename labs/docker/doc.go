// Package docker makes labs stand by the real containerlab: it deploys a topology
// file as it is, finds the first process of every node, whose namespaces the
// caller may join, and takes the lab away again.
//
// Start reading at Deploy, then unprivileged.go for engines that can not give
// containers every privilege.
package docker
