// Package doctor judges what is usually wrong between a gateway and AWS: 55 rows,
// one function each, from facts that others have read. It is pure: the facts come
// in with the time, verdicts go out.
//
// Start reading at Facts, then Rows, the table of all rows; Examine judges them.
// The functions are grouped by theme: connect.go, vpc.go, attachment.go, routes.go,
// mtu.go, kernel.go, wireguard.go, api.go. Package doctor/gather reads the facts.
//
// The rows are those of the AWS facts that this project was begun with; README.md
// lists them, with what is read and the cure.
package doctor
