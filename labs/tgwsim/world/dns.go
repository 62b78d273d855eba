package world

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// HostedZone is a zone of Route 53. Names end with a dot, as Route 53 shows them.
type HostedZone struct {
	ID, Name, CallerReference, Comment string
	VPCIDs                             []string // of a private zone
	Records                            []Record // sorted as ListResourceRecordSets does
	// Busy is until when Route 53 still works at the change before.
	Busy time.Time
	Tags Tags
}

// NewZone is a zone with the two record sets that Route 53 makes itself [API].
func NewZone(id, name string) *HostedZone {
	ttl := func(seconds int64) *int64 { return &seconds }
	name = DNSName(name)
	return &HostedZone{ID: id, Name: name, CallerReference: name, Tags: Tags{"Name": strings.TrimSuffix(name, ".")}, Records: []Record{
		{Name: name, Type: "NS", TTL: ttl(172800), Values: []string{"ns-1.awsdns-01.org.", "ns-2.awsdns-02.net."}},
		{Name: name, Type: "SOA", TTL: ttl(900), Values: []string{"ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}},
	}}
}

// Record is a resource record set.
type Record struct {
	Name, Type string
	TTL        *int64 // seconds; nil: an alias
	Values     []string
	Alias      *Alias

	SetID         string // of a routing policy other than simple
	Weight        *int64
	Failover      string // PRIMARY, SECONDARY
	Region        string // latency
	MultiValue    bool
	HealthCheckID string
}

// Alias is where an alias record leads.
type Alias struct {
	ZoneID, Name   string
	EvaluateHealth bool
}

// DNSChange is a change on its way to all name servers: PENDING, then INSYNC.
type DNSChange struct {
	ID, Comment string
	Lifecycle
}

// RecordChange is one change of a batch.
type RecordChange struct {
	Action string // CREATE, DELETE, UPSERT
	Record Record
}

// key names a resource record set [API].
func (r *Record) key() string { return r.Name + " " + r.Type + " " + r.SetID }

// label is how Route 53's errors call a resource record set (seen in reports of
// external-dns and Terraform).
func (r *Record) label() string {
	text := "[name='" + r.Name + "', type='" + r.Type + "'"
	if r.SetID != "" {
		text += ", set-identifier='" + r.SetID + "'"
	}
	return text + "]"
}

// CompareRecords is the order of ListResourceRecordSets: by reversed labels, type,
// set identifier [API].
func CompareRecords(a, b Record) int {
	return cmp.Or(cmp.Compare(ReverseLabels(a.Name), ReverseLabels(b.Name)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.SetID, b.SetID))
}

// ReverseLabels is "com.example.www." of "www.example.com.".
func ReverseLabels(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// DNSName is a name as Route 53 keeps it: small letters, a dot at the end, and
// other characters than a-z 0-9 - _ . as \ooo, an asterisk too
// [R53-NAMES].
func DNSName(name string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(name)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(`-_.\`, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7})
		}
	}
	if s := b.String(); strings.HasSuffix(s, ".") {
		return s
	}
	return b.String() + "."
}

// ChangeRecords makes all changes of a batch or none [API], and returns the change
// that tells how far they are.
func (w *World) ChangeRecords(zoneID, comment string, changes []RecordChange) (out DNSChange, err error) {
	err = w.change(func(s *State, now time.Time) *Error {
		z := s.HostedZones[zoneID]
		if z == nil {
			return refuse("NoSuchHostedZone", "No hosted zone found with ID: %s", zoneID) // [API]
		}
		if now.Before(z.Busy) { // [API]
			return refuse("PriorRequestNotComplete", "The request was rejected because Route 53 was still processing a prior request.")
		}
		records, refusal := z.after(s, changes)
		if refusal != nil {
			return refusal
		}
		z.Records, z.Busy = records, now.Add(s.Delays.Zone)
		change := &DNSChange{ID: strings.ToUpper(strings.ReplaceAll(s.NewID("C"), "-", "")), Comment: comment}
		change.begin("PENDING", "INSYNC", now, s.Delays.DNS)
		s.DNSChanges[change.ID] = change
		out = *change
		return nil
	})
	return out, err
}

// after is what the records are after a batch. Its changes are made in order on a
// copy, so that a record can be deleted and made anew in one batch [API].
func (z *HostedZone) after(s *State, changes []RecordChange) ([]Record, *Error) {
	records := slices.Clone(z.Records)
	var wrong []string // all that is, in one answer [API, InvalidChangeBatch]
	for _, c := range changes {
		r := c.Record
		if r.HealthCheckID != "" && !s.HealthChecks[r.HealthCheckID] && c.Action != "DELETE" {
			return nil, refuse("NoSuchHealthCheck", "No health check exists with the specified ID: %s", r.HealthCheckID)
		}
		at := slices.IndexFunc(records, func(have Record) bool { return have.key() == r.key() })
		switch {
		case r.Name != z.Name && !strings.HasSuffix(r.Name, "."+z.Name):
			wrong = append(wrong, "RRSet with DNS name "+r.Name+" is not permitted in zone "+z.Name)
		case c.Action == "DELETE" && at < 0:
			wrong = append(wrong, "Tried to delete resource record set "+r.label()+" but it was not found")
		case c.Action == "DELETE" && !same(records[at], r):
			wrong = append(wrong, "Tried to delete resource record set "+r.label()+" but the values provided do not match the current values")
		case c.Action == "DELETE" && r.Name == z.Name && (r.Type == "NS" || r.Type == "SOA"):
			wrong = append(wrong, "A HostedZone must contain exactly one SOA record and at least one NS record for the zone itself.")
		case c.Action == "DELETE":
			records = slices.Delete(records, at, at+1)
		case c.Action == "CREATE" && at >= 0:
			wrong = append(wrong, "Tried to create resource record set "+r.label()+" but it already exists")
		default:
			if bad := value(r); bad != "" {
				wrong = append(wrong, bad)
			}
			if at >= 0 {
				records = slices.Delete(records, at, at+1)
			}
			if conflict := z.conflict(records, r); conflict != "" {
				wrong = append(wrong, conflict)
			}
			records = append(records, r)
		}
	}
	if len(wrong) > 0 {
		return nil, refuse("InvalidChangeBatch", "[%s]", strings.Join(wrong, ", "))
	}
	slices.SortFunc(records, CompareRecords)
	return records, nil
}

// same says whether a DELETE gives all the values that are there [API].
func same(a, b Record) bool {
	equal := func(p, q *int64) bool { return p == q || p != nil && q != nil && *p == *q }
	if (a.Alias == nil) != (b.Alias == nil) || a.Alias != nil && *a.Alias != *b.Alias {
		return false
	}
	return equal(a.TTL, b.TTL) && equal(a.Weight, b.Weight) && a.Failover == b.Failover && a.Region == b.Region && a.MultiValue == b.MultiValue &&
		a.HealthCheckID == b.HealthCheckID && slices.Equal(slices.Sorted(slices.Values(a.Values)), slices.Sorted(slices.Values(b.Values)))
}

// conflict says why a record can not be beside others: a CNAME is alone, and all
// of one name and type have one routing policy [API]; the words are assumed,
// except of CNAME.
func (z *HostedZone) conflict(others []Record, r Record) string {
	if r.Type == "CNAME" && r.Name == z.Name {
		return "RRSet of type CNAME with DNS name " + r.Name + " is not permitted at apex in zone " + z.Name
	}
	for _, o := range others {
		switch {
		case o.Name != r.Name:
		case o.Type != r.Type && (o.Type == "CNAME" || r.Type == "CNAME"):
			return "RRSet of type " + r.Type + " with DNS name " + r.Name + " is not permitted because a conflicting RRSet of type " + o.Type + " with the same DNS name already exists in zone " + z.Name
		case o.Type == r.Type && o.policy() != r.policy():
			return "RRSet with DNS name " + r.Name + ", type " + r.Type + ", SetIdentifier " + r.SetID + " cannot be created because an RRSet with another routing policy exists with the same name and type."
		case o.Type == r.Type && r.Failover != "" && o.Failover == r.Failover:
			return "RRSet with DNS name " + r.Name + ", type " + r.Type + ", SetIdentifier " + r.SetID + " cannot be created because a " + r.Failover + " one exists."
		}
	}
	return ""
}

func (r *Record) policy() string {
	switch {
	case r.Weight != nil:
		return "weighted"
	case r.Failover != "":
		return "failover"
	case r.Region != "":
		return "latency"
	case r.MultiValue:
		return "multivalue"
	}
	return "simple"
}
