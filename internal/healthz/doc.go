// Package healthz tells load balancers and DNS whether this host forwards: over
// HTTP by 200 or 503, or over TCP by accepting a connection or refusing it. NLB
// target groups, Global Accelerator and Route 53 all can do one of the two; none
// of them can check a UDP service. Start reading at Board, which holds the
// answer, then Server.
package healthz
