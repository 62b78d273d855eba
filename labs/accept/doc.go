// Package accept holds no code, only the acceptance tests: each line AC-n of the
// catalogue is shown by real daemons and real packets, watched from outside with
// the tools an operator has (wg, ip, wgbgp) and at the Transit Gateway's end.
//
// Each test logs what it measured as "figure: AC-n ...". The labs are those of
// labs/gwlab.
package accept
