// Package routing decides as a Transit Gateway does: which routes its tables
// hold, what it forwards by, and what it tells each Connect peer. It is pure:
// configuration and learned paths in, a Decision out.
//
// Every rule says where it is known from, by the keys of facts/aws.md: HOW is
// "How Amazon VPC Transit Gateways work" (route evaluation order), CONNECT
// "Connect attachments and Connect peers", QUOTA "Quotas", PBR-LIM "policy table
// limitations", API the EC2 API model. "Assumed" marks what AWS does not say.
//
// Start reading at TGW, then Decide, then rank.go for the order of paths; Lookups
// lead from there to what a kernel is told.
package routing
