// Package gwlab builds the whole picture on one machine: gateways running the
// real wgbgpd, a Transit Gateway with a workload behind it, and remote sites with
// a workload each, joined by an "internet".
//
//	vpc --- tgw ===GRE=== gw1 ---.            .--- paris --- paris-lan
//	          \                  internet ----
//	           `==GRE=== gw2 ---'            `--- berlin -- berlin-lan
//
// The WireGuard tunnels go from each gateway through the internet to each site.
// Addresses follow from the order in Spec; see plan.go.
//
// Start reading at Spec, then Start.
package gwlab
