package tgwsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// IMDS is the instance metadata service, version 2, as one instance sees it. The
// listener says who asks: give each instance its own handler.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
type IMDS struct {
	world    *world.World
	now      func() time.Time
	instance string

	mu     sync.Mutex
	last   int
	tokens map[string]time.Time // valid until
	role   Role
	down   bool
}

// Role are the credentials of the instance's role; the zero value is no role.
type Role struct {
	Name, AccessKey, SecretKey, SessionToken string
	Expires                                  time.Time
}

// NewIMDS returns the service for one instance of the world.
func NewIMDS(w *world.World, now func() time.Time, instanceID string) *IMDS {
	return &IMDS{
		world: w, now: now, instance: instanceID, tokens: map[string]time.Time{},
		role: Role{Name: "gateway", AccessKey: "ASIAEXAMPLE", SecretKey: "secret", SessionToken: "session", Expires: now().Add(6 * time.Hour)},
	}
}

// SetRole gives the instance other credentials.
func (i *IMDS) SetRole(r Role) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.role = r
}

// SetDown makes the service answer nothing but 503, or work again.
func (i *IMDS) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// ForgetTokens makes all tokens invalid, as a restart of the service would.
func (i *IMDS) ForgetTokens() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.tokens)
}

const (
	tokenHeader = "X-aws-ec2-metadata-token"
	ttlHeader   = "X-aws-ec2-metadata-token-ttl-seconds"
	longestTTL  = 21600 // seconds [IMDS]
)

func (i *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	down := i.down
	i.mu.Unlock()
	if down {
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/latest/api/token" {
		i.token(w, r)
		return
	}
	s := i.world.Snapshot()
	instance := s.Instances[i.instance]
	if instance == nil {
		http.NotFound(w, r)
		return
	}
	// Where tokens are required a request without a valid one is 401; where they
	// are optional only a wrong one is [IMDS].
	token := r.Header.Get(tokenHeader)
	if !i.valid(token) && (token != "" || instance.MetadataTokens == "required") {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	path, _ := strings.CutPrefix(r.URL.Path, "/latest/")
	text, ok := i.get(s, instance, strings.TrimSuffix(path, "/"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Write([]byte(text)) // the caller has gone
}

func (i *IMDS) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get("X-Forwarded-For") != "" { // a proxy's request gets no token [IMDS]
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > longestTTL {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	token := fmt.Sprintf("AQAEA-%s-%d", i.instance, i.last)
	i.tokens[token] = i.now().Add(time.Duration(ttl) * time.Second)
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	w.Write([]byte(token)) // the caller has gone
}

func (i *IMDS) valid(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	until, ok := i.tokens[token]
	return ok && i.now().Before(until)
}

// get answers a path below /latest/.
func (i *IMDS) get(s *world.State, instance *world.Instance, path string) (string, bool) {
	if path == "dynamic/instance-identity/document" {
		return i.identity(s, instance), true
	}
	path, ok := strings.CutPrefix(path, "meta-data/")
	if !ok {
		return "", false
	}
	if rest, ok := strings.CutPrefix(path, "network/interfaces/macs"); ok {
		return macs(s, instance, strings.Trim(rest, "/"))
	}
	subnet, first := subnetOf(s, instance.SubnetID), firstInterface(s, instance)
	switch path {
	case "instance-id":
		return instance.ID, true
	case "instance-type":
		return instance.Type, true
	case "placement/availability-zone":
		return subnet.AZ, true
	case "placement/availability-zone-id":
		return subnet.AZID, true
	case "placement/region":
		return s.Region, true
	case "mac":
		return first.MAC, true
	case "local-ipv4":
		return first.Addresses[0].String(), true
	case "public-ipv4":
		return first.PublicIP.String(), first.PublicIP.IsValid()
	case "iam/security-credentials":
		return i.credentials().Name, i.credentials().Name != ""
	}
	if name, ok := strings.CutPrefix(path, "iam/security-credentials/"); ok {
		r := i.credentials()
		return jsonText(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": i.now().UTC().Format(time.RFC3339),
			"AccessKeyId": r.AccessKey, "SecretAccessKey": r.SecretKey, "Token": r.SessionToken, "Expiration": r.Expires.UTC().Format(time.RFC3339),
		}), name == r.Name && name != ""
	}
	return "", false
}

func (i *IMDS) credentials() Role {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.role
}

func (i *IMDS) identity(s *world.State, instance *world.Instance) string {
	return jsonText(map[string]any{
		"accountId": s.AccountID, "architecture": "x86_64", "availabilityZone": subnetOf(s, instance.SubnetID).AZ, "imageId": "ami-00000000000000001",
		"instanceId": instance.ID, "instanceType": instance.Type, "pendingTime": "2026-01-01T00:00:00Z",
		"privateIp": firstInterface(s, instance).Addresses[0].String(), "region": s.Region, "version": "2017-09-30",
	})
}

func jsonText(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // only text goes in
	}
	return string(text)
}

func subnetOf(s *world.State, id string) *world.Subnet {
	if subnet := s.Subnets[id]; subnet != nil {
		return subnet
	}
	return &world.Subnet{}
}

func firstInterface(s *world.State, instance *world.Instance) *world.Interface {
	for _, id := range instance.InterfaceIDs {
		if n := s.Interfaces[id]; n != nil && len(n.Addresses) > 0 {
			return n
		}
	}
	return &world.Interface{Addresses: []netip.Addr{{}}}
}

// macs answers paths below network/interfaces/macs/.
func macs(s *world.State, instance *world.Instance, path string) (string, bool) {
	if path == "" {
		var list []string
		for _, id := range instance.InterfaceIDs {
			if n := s.Interfaces[id]; n != nil {
				list = append(list, n.MAC+"/")
			}
		}
		return strings.Join(list, "\n"), true
	}
	mac, item, _ := strings.Cut(path, "/")
	at := slices.IndexFunc(instance.InterfaceIDs, func(id string) bool { n := s.Interfaces[id]; return n != nil && n.MAC == mac })
	if at < 0 {
		return "", false
	}
	n := s.Interfaces[instance.InterfaceIDs[at]]
	subnet := subnetOf(s, n.SubnetID)
	vpc := s.VPCs[n.VPCID]
	if vpc == nil {
		vpc = &world.VPC{}
	}
	items := map[string][]string{
		"device-number": {strconv.Itoa(int(n.DeviceIndex))}, "interface-id": {n.ID}, "mac": {n.MAC}, "owner-id": {s.AccountID},
		"subnet-id": {n.SubnetID}, "vpc-id": {n.VPCID}, "security-group-ids": n.GroupIDs,
		"local-ipv4s": addresses(n, netip.Addr.Is4), "ipv6s": addresses(n, netip.Addr.Is6),
		"subnet-ipv4-cidr-block": {subnet.CIDR4.String()}, "vpc-ipv4-cidr-blocks": prefixes(vpc.CIDRs, is4), "vpc-ipv6-cidr-blocks": prefixes(vpc.CIDRs, is6),
	}
	if subnet.CIDR6.IsValid() {
		items["subnet-ipv6-cidr-blocks"] = []string{subnet.CIDR6.String()}
	}
	if n.PublicIP.IsValid() {
		items["public-ipv4s"] = []string{n.PublicIP.String()}
	}
	if item == "" {
		var names []string
		for name, values := range items {
			if len(values) > 0 {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return strings.Join(names, "\n"), true
	}
	values := items[item]
	return strings.Join(values, "\n"), len(values) > 0 // what is empty is not there
}
