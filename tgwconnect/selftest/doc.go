// Package selftest asks a real AWS account the questions that AWS's documentation
// leaves open, and records the answers: the simulator of labs/tgwsim has to assume
// them. It makes a Connect attachment with two Connect peers on a transport
// attachment that the operator names, tagged with the run's name, and takes away
// all that carries the tag, also after an interrupt.
//
// Start reading at Run; points.go has the questions, cleanup.go what is left
// behind (nothing).
package selftest
