// Package front keeps this host in the target groups of load balancers and its
// records in DNS, as package tgwconnect decides. Like package failover it reads
// before it writes, and after an error or a lost answer it reads again. Start reading
// at Runner.Turn.
package front
