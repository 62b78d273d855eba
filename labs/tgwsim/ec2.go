package tgwsim

import (
	"slices"
	"strings"
)

// ec2Operations are the operations of EC2 that are emulated, those of
// wire/gen/operations.txt.
func ec2Operations() []Operation {
	return slices.Concat(
		connectOperations(), attachmentOperations(), tableOperations(), tgwRouteOperations(),
		vpcOperations(), interfaceOperations(), securityOperations(), routeServerOperations(), tagOperations(),
	)
}

// OperationNames are the operations of a service that are served, sorted.
func (s *Server) OperationNames(service string) []string {
	var names []string
	for name := range s.query[service].operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// arn names a resource of EC2.
func (c *Call) arn(kind, id string) *string {
	return ptr(strings.Join([]string{"arn:aws:ec2", c.State.Region, c.State.AccountID, kind + "/" + id}, ":"))
}

// fresh looks at the world again after a change, so that the answer shows it.
func (c *Call) fresh() { c.State = c.World.Snapshot() }
