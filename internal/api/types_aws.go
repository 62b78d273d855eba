package api

import "net/netip"

// AWSRouteList is the entries of AWS route tables that follow the sites.
type AWSRouteList struct {
	Schema       string         `json:"schema"`
	Rules        int            `json:"rules"`
	Entries      List[AWSRoute] `json:"entries"`
	Error        string         `json:"error"` // of the last round; empty: none
	RetrySeconds float64        `json:"retry_seconds"`
}

// AWSRoute is one entry as last read, and what was decided about it.
type AWSRoute struct {
	Rule      string       `json:"rule"`
	Table     string       `json:"table"`
	Prefix    netip.Prefix `json:"prefix"`
	Present   bool         `json:"present"`
	Target    string       `json:"target"` // interface or attachment
	Blackhole bool         `json:"blackhole"`
	Holder    string       `json:"holder"` // "this host", "another host", "nobody"
	Action    string       `json:"action"` // "leave", "create", "replace", "delete"
	To        string       `json:"to"`
	Why       string       `json:"why"`
	Problem   bool         `json:"problem"` // it should lead here and must not be touched
	Read      Stamp        `json:"read,omitzero"`
	Written   Stamp        `json:"written,omitzero"`
}

// AWSFront is where clients find this host: target groups of load balancers and
// records in DNS, as last read, and what was decided about them.
type AWSFront struct {
	Schema       string          `json:"schema"`
	Read         Stamp           `json:"read,omitzero"`
	Targets      List[AWSTarget] `json:"targets"`
	Records      List[AWSRecord] `json:"records"`
	Error        string          `json:"error"` // of the last round; empty: none
	RetrySeconds float64         `json:"retry_seconds"`
}

// AWSTarget is this host as a target of one target group.
type AWSTarget struct {
	Name    string `json:"name"`
	Group   string `json:"group"` // ARN
	ID      string `json:"id"`    // instance or address
	Port    int    `json:"port"`
	State   string `json:"state"`  // AWS's word; empty: not registered
	Reason  string `json:"reason"` // AWS's word for it
	Others  int    `json:"others"` // targets of other hosts,
	Healthy int    `json:"others_healthy"`
	Action  string `json:"action"` // "leave", "register", "deregister"
	Why     string `json:"why"`
}

// AWSRecord is this host's records of one name.
type AWSRecord struct {
	Name    string             `json:"name"`
	Zone    string             `json:"zone"`
	Record  string             `json:"record"`
	SetID   string             `json:"set_identifier"`
	Present List[AWSRecordSet] `json:"present"`
	Action  string             `json:"action"` // "leave", "write", "remove"
	Why     string             `json:"why"`
	Problem bool               `json:"problem"` // they should be written and are not ours
}

// AWSRecordSet is one of them.
type AWSRecordSet struct {
	Type       string       `json:"type"`
	Values     List[string] `json:"values"`
	Policy     string       `json:"policy"`
	Weight     int64        `json:"weight"`
	TTLSeconds int64        `json:"ttl_seconds"`
}

// AWSRequests counts what this daemon has asked of AWS.
type AWSRequests struct {
	Requests  uint64 `json:"requests"` // sent, retries included
	Throttled uint64 `json:"throttled"`
	Denied    uint64 `json:"denied"` // for lack of a permission
	Failed    uint64 `json:"failed"` // after all attempts
}
