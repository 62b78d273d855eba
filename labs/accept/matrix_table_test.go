package accept

import "net/netip"

// keyEdit gives one key another valid value.
type keyEdit struct {
	to string // TOML
	on string // object, empty: the usual one of its table (matrixObjects)
	// with sets more keys of the same block, where the value needs them.
	with map[string]string
	// moves names what the edit itself withdraws from the Transit Gateway: sites,
	// or "aggregates". Nothing else may flicker. What moves is put back afterwards.
	moves []string
	// back puts the old value back before the next edit.
	back bool
	// still: the declared class is the most it can cost, and this edit costs less.
	still string
}

// matrixObjects are the objects that are edited where keyEdit.on names none.
var matrixObjects = map[string]string{
	"site": "paris", "site.probe": "paris", "site.neighbor": "berlin", "wireguard": "wg0", "rule": "spare",
	"tgw-connect": "tgw", "neighbor": "core1", "aggregate": "all", "aws-route": "sites", "tgw-apply": "core", "community-action": "fifty",
	"conditional": "spare-line", "aws-target-group": "wg", "aws-record": "endpoint",
}

// notEdited are the keys that no edit of a lab can prove, with the reason.
var notEdited = map[string]string{
	"site[].name":             "a name is what makes two objects the same one: a new name is one object gone and another one new (AC-36)",
	"tgw-connect[].name":      "as for site[].name",
	"tgw-connect[].discover":  "it takes the place of addresses that the lab's file has; labs/topologies/aws-connect runs with it",
	"tgw-connect[].peer":      "as for discover",
	"neighbor[].name":         "as for site[].name",
	"neighbor[].route-server": "as for discover",
}

// parisMore is the prefix that an edit adds to paris.
var parisMore = netip.MustParsePrefix("10.111.0.0/16")

var paris, every = []string{"paris"}, []string{"paris", "oslo", "berlin", "bonn", "bern", "ulm"}

// fleet makes a neighbor a host of the fleet, and confirmed one whose death has to
// be confirmed.
var fleet, confirmed = map[string]string{"kind": `"fleet"`}, map[string]string{"kind": `"fleet"`, "device": `"eth1"`, "confirm": `"probe"`}

// Why an edit of a Connect peer's tunnel costs less than a session at once.
const (
	survives = "the tunnel is made anew in moments, and TCP inside it sends again what was lost"
	holds    = "nobody answers in the new tunnel, and the hold time of 30 s goes by before the session falls"
)

// matrixEdits has one edit for every key of a configuration; the class that it
// must have is that of configs.Fields.
var matrixEdits = map[string]keyEdit{
	"include":   {to: `["conf.d/*.toml"]`},
	"state-dir": {to: `"/run/elsewhere"`},

	"gateway.name":            {to: `"gw-renamed"`},
	"gateway.asn":             {to: `65011`},
	"gateway.router-id":       {to: `"192.0.2.99"`},
	"gateway.region":          {to: `"eu-west-1"`},
	"gateway.prefer-regions":  {to: `["us"]`},
	"gateway.coalesce":        {to: `"20ms"`},
	"gateway.end-of-rib-wait": {to: `"5s"`},
	"gateway.drain-limit":     {to: `"14s"`},
	"gateway.linger":          {to: `"4s"`},

	"wireguard.NAME.backend":     {to: `"userspace"`},
	"wireguard.NAME.private-key": {to: `"file:DIR/other.key"`, on: "wg-oslo"},
	"wireguard.NAME.shared-key":  {to: `true`, back: true},
	"wireguard.NAME.listen-port": {to: `51999`},
	"wireguard.NAME.address":     {to: `["172.20.1.1/24", "fd20:1::1/64", "172.20.1.2/24", "172.20.1.3/24", "172.20.99.1/24"]`},
	"wireguard.NAME.mtu":         {to: `1400`},
	"wireguard.NAME.mode":        {to: `"synced"`, on: "wg-oslo", still: "the peer keeps its key and its session"},
	"wireguard.NAME.vrf":         {to: `"blue"`},

	"site[].description":        {to: `"in the north"`},
	"site[].interface":          {to: `"wg1"`},
	"site[].public-key":         {to: `"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="`},
	"site[].preshared-key":      {to: `"file:DIR/other.key"`, back: true},
	"site[].endpoint":           {to: `"198.19.1.9:51821"`, back: true},
	"site[].keepalive":          {to: `"7s"`},
	"site[].address":            {to: `["172.20.1.11"]`, back: true},
	"site[].prefixes":           {to: `["10.101.0.0/16", "2001:db8:101::/48", "10.111.0.0/16"]`},
	"site[].allow":              {to: `["10.103.0.0/16 le 25", "2001:db8:103::/48 le 64"]`, on: "berlin"},
	"site[].max-prefixes":       {to: `90`, on: "berlin"},
	"site[].group":              {to: `"pair"`},
	"site[].role":               {to: `"backup"`},
	"site[].regions":            {to: `["us", "here"]`, on: "oslo"},
	"site[].disabled":           {to: `true`, moves: paris},
	"site[].heartbeat":          {to: `false`, back: true},
	"site[].heartbeat-interval": {to: `"4s"`},
	"site[].idle-policy":        {to: `"announce"`},
	"site[].hold-down":          {to: `"1s"`, back: true},
	"site[].damping":            {to: `false`},
	"site[].preempt":            {to: `false`},
	"site[].rise":               {to: `2`},
	"site[].fall":               {to: `4`},
	"site[].rule":               {to: `"any"`, back: true},
	"site[].bfd":                {to: `true`},
	"site[].bfd-interval":       {to: `"400ms"`},
	"site[].bfd-multiplier":     {to: `4`},
	"site[].bfd-strict":         {to: `true`, back: true},

	"site[].probe[].name":     {to: `"ping"`},
	"site[].probe[].type":     {to: `"tcp"`, with: map[string]string{"port": `1`}, moves: paris},
	"site[].probe[].target":   {to: `"172.20.1.11"`},
	"site[].probe[].port":     {to: `2`, with: map[string]string{"type": `"tcp"`}, moves: paris},
	"site[].probe[].interval": {to: `"2s"`},
	"site[].probe[].timeout":  {to: `"900ms"`},
	"site[].probe[].rise":     {to: `2`},
	"site[].probe[].fall":     {to: `4`},
	"site[].probe[].prefixes": {to: `["10.101.0.0/16"]`},

	"site[].neighbor.asn":              {to: `65299`, on: "bonn"},
	"site[].neighbor.local-asn":        {to: `65298`, on: "bern"},
	"site[].neighbor.address":          {to: `"172.20.1.99"`, on: "bonn"},
	"site[].neighbor.local-address":    {to: `"172.20.1.2"`, on: "bern"},
	"site[].neighbor.group":            {to: `"others"`},
	"site[].neighbor.port":             {to: `1790`, on: "bonn"},
	"site[].neighbor.passive":          {to: `true`, on: "ulm"},
	"site[].neighbor.password":         {to: `"file:DIR/password"`, on: "bonn"},
	"site[].neighbor.ttl-security":     {to: `true`, on: "bern"},
	"site[].neighbor.hold-time":        {to: `"33s"`},
	"site[].neighbor.keepalive":        {to: `"8s"`},
	"site[].neighbor.connect-retry":    {to: `"2s"`},
	"site[].neighbor.families":         {to: `["ipv4"]`, on: "ulm"},
	"site[].neighbor.next-hop4":        {to: `"172.20.1.9"`},
	"site[].neighbor.next-hop6":        {to: `"fd20:1::9"`},
	"site[].neighbor.local-pref":       {to: `210`},
	"site[].neighbor.enforce-first-as": {to: `false`},
	"site[].neighbor.allow-own-asn":    {to: `true`},
	"site[].neighbor.add-paths":        {to: `true`, on: "ulm"},
	"site[].neighbor.graceful-restart": {to: `true`, on: "ulm"},
	"site[].neighbor.restart-time":     {to: `"3m0s"`},
	"site[].neighbor.bfd":              {to: `true`},
	"site[].neighbor.bfd-interval":     {to: `"400ms"`},
	"site[].neighbor.bfd-multiplier":   {to: `4`},
	"site[].neighbor.bfd-strict":       {to: `true`, back: true},
	"site[].neighbor.export":           {to: `false`},
	"site[].neighbor.actions":          {to: `true`},
	"site[].neighbor.accept-blackhole": {to: `true`},

	"rule[].name": {to: `"spare2"`, back: true},
	"rule[].mode": {to: `"any"`},
	"rule[].of":   {to: `["bgp"]`},

	"aws.region":        {to: `"eu-west-1"`},
	"aws.poll-interval": {to: `"2m"`},

	"tgw-connect[].device":         {to: `"gre-other"`, still: survives},
	"tgw-connect[].backend":        {to: `"userspace"`, still: survives},
	"tgw-connect[].local":          {to: `"10.254.1.7"`, still: holds},
	"tgw-connect[].remote":         {to: `"10.254.1.9"`, still: holds},
	"tgw-connect[].inside":         {to: `["169.254.99.0/29"]`},
	"tgw-connect[].tgw-asn":        {to: `64599`},
	"tgw-connect[].mtu":            {to: `1400`},
	"tgw-connect[].hold-time":      {to: `"33s"`},
	"tgw-connect[].keepalive":      {to: `"8s"`},
	"tgw-connect[].connect-retry":  {to: `"3s"`, back: true},
	"tgw-connect[].allow":          {to: `["0.0.0.0/0 le 32", "::/0 le 127"]`},
	"tgw-connect[].max-prefixes":   {to: `1000`},
	"tgw-connect[].local-pref":     {to: `110`},
	"tgw-connect[].announce-limit": {to: `900`},

	"neighbor[].description":      {to: `"the core"`},
	"neighbor[].kind":             {to: `"fleet"`, on: "mate"},
	"neighbor[].region":           {to: `"us"`, on: "mate", with: fleet},
	"neighbor[].confirm":          {to: `"probe"`, on: "mate", with: map[string]string{"kind": `"fleet"`, "device": `"eth1"`}},
	"neighbor[].confirm-target":   {to: `"198.18.1.20"`, on: "mate", with: confirmed},
	"neighbor[].confirm-device":   {to: `"eth1"`, on: "mate", with: confirmed},
	"neighbor[].confirm-wait":     {to: `"1s"`, on: "mate", with: confirmed},
	"neighbor[].group":            {to: `"others"`},
	"neighbor[].address":          {to: `"198.18.1.99"`, on: "core2"},
	"neighbor[].range":            {to: `"198.18.1.64/27"`, on: "any"},
	"neighbor[].max-sessions":     {to: `8`, on: "any"},
	"neighbor[].local-address":    {to: `"198.18.1.2"`, on: "core3"},
	"neighbor[].device":           {to: `"eth0"`, on: "core4"},
	"neighbor[].bind-device":      {to: `false`, on: "core4"},
	"neighbor[].asn":              {to: `65299`, on: "core2"},
	"neighbor[].local-asn":        {to: `65298`, on: "core3"},
	"neighbor[].port":             {to: `1790`, on: "core4"},
	"neighbor[].passive":          {to: `true`, on: "core6"},
	"neighbor[].multihop-ttl":     {to: `5`, on: "core3"},
	"neighbor[].ttl-security":     {to: `true`, on: "core4"},
	"neighbor[].password":         {to: `"file:DIR/password"`, on: "core2"},
	"neighbor[].hold-time":        {to: `"33s"`},
	"neighbor[].keepalive":        {to: `"8s"`},
	"neighbor[].connect-retry":    {to: `"2s"`},
	"neighbor[].families":         {to: `["ipv4", "ipv6"]`, on: "core6", with: map[string]string{"next-hop6": `"fd20:1::1"`}},
	"neighbor[].next-hop4":        {to: `"198.18.1.9"`},
	"neighbor[].next-hop6":        {to: `"fd20:1::9"`, on: "core5"},
	"neighbor[].allow":            {to: `["10.150.0.0/16 le 24"]`},
	"neighbor[].max-prefixes":     {to: `900`},
	"neighbor[].local-pref":       {to: `110`},
	"neighbor[].enforce-first-as": {to: `false`},
	"neighbor[].allow-own-asn":    {to: `true`},
	"neighbor[].add-paths":        {to: `true`, on: "core2"},
	"neighbor[].graceful-restart": {to: `true`, on: "core6"},
	"neighbor[].restart-time":     {to: `"3m0s"`, on: "core5"},
	"neighbor[].bfd":              {to: `true`},
	"neighbor[].bfd-interval":     {to: `"400ms"`},
	"neighbor[].bfd-multiplier":   {to: `4`},
	"neighbor[].bfd-strict":       {to: `true`, back: true},
	"neighbor[].export":           {to: `false`},
	"neighbor[].actions":          {to: `true`},
	"neighbor[].accept-blackhole": {to: `true`},
	"neighbor[].announce-limit":   {to: `50`},

	"tgw-apply[].name":             {to: `"others"`},
	"tgw-apply[].transit-gateway":  {to: `"tgw-0123456789abcdef1"`},
	"tgw-apply[].transport":        {to: `"tgw-attach-0123456789abcdef1"`},
	"tgw-apply[].addresses":        {to: `["10.0.0.11"]`},
	"tgw-apply[].ipv6":             {to: `true`},
	"tgw-apply[].cidr":             {to: `"10.253.0.0/24"`},
	"tgw-apply[].route-table":      {to: `"tgw-rtb-0123456789abcdef0"`},
	"tgw-apply[].vpc-route-tables": {to: `["rtb-0123456789abcdef0"]`},
	"tgw-apply[].interfaces":       {to: `["eni-0123456789abcdef0"]`},

	"aws-route[].name":             {to: `"others"`},
	"aws-route[].vpc-route-tables": {to: `["rtb-0123456789abcdef1"]`},
	"aws-route[].tgw-route-tables": {to: `["tgw-rtb-0123456789abcdef0"]`, with: map[string]string{"attachment": `"tgw-attach-0123456789abcdef0"`}},
	"aws-route[].interface":        {to: `"eni-0123456789abcdef0"`},
	"aws-route[].attachment":       {to: `"tgw-attach-0123456789abcdef0"`},
	"aws-route[].targets":          {to: `["eni-0123456789abcdef0"]`},
	"aws-route[].prefixes":         {to: `["10.102.0.0/16"]`},
	"aws-route[].when-down":        {to: `"leave"`},

	"aws-target-group[].name":       {to: `"others"`},
	"aws-target-group[].arn":        {to: `"arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/wg/0123456789abcde0"`},
	"aws-target-group[].target":     {to: `"10.0.0.10"`},
	"aws-target-group[].port":       {to: `51821`},
	"aws-target-group[].deregister": {to: `false`},

	"aws-record[].name":           {to: `"others"`},
	"aws-record[].zone":           {to: `"Z0123456789ABCDEFGHI0"`},
	"aws-record[].record":         {to: `"wg2.example.net"`},
	"aws-record[].set-identifier": {to: `"other"`},
	"aws-record[].addresses":      {to: `["203.0.113.11"]`},
	"aws-record[].policy":         {to: `"multivalue"`, back: true},
	"aws-record[].weight":         {to: `50`, back: true},
	"aws-record[].role":           {to: `"secondary"`, with: map[string]string{"policy": `"failover"`}},
	"aws-record[].health-check":   {to: `"01234567-89ab-cdef-0123-456789abcdef"`},
	"aws-record[].ttl":            {to: `"30s"`},
	"aws-record[].when-down":      {to: `"leave"`},
	"aws-record[].at-drain":       {to: `"leave"`},
	"aws-record[].down-after":     {to: `"5s"`},
	"aws-record[].up-after":       {to: `"20s"`},
	"aws-record[].adopt":          {to: `true`},

	"aggregate[].name":     {to: `"everything"`},
	"aggregate[].prefix":   {to: `"10.96.0.0/12"`, moves: []string{"aggregates"}},
	"aggregate[].min":      {to: `2`, back: true},
	"aggregate[].suppress": {to: `true`, moves: every},
	"aggregate[].to":       {to: `["tgw", "routers"]`},

	"conditional[].name":     {to: `"other-line"`},
	"conditional[].prefixes": {to: `["10.251.0.0/16"]`},
	"conditional[].unless":   {to: `["core2"]`},
	"conditional[].only-if":  {to: `["10.101.0.0/16"]`},
	"conditional[].to":       {to: `["tgw"]`},

	"group-rank[].name":        {to: `"far"`},
	"group-rank[].group":       {to: `"sites"`},
	"group-rank[].rank":        {to: `"indirect"`},
	"group-rank[].med":         {to: `151`},
	"group-rank[].prepend":     {to: `4`},
	"group-rank[].local-pref":  {to: `151`},
	"group-rank[].communities": {to: `["65010:7"]`},

	"community-action[].name":        {to: `"half"`},
	"community-action[].community":   {to: `"65010:51"`},
	"community-action[].local-pref":  {to: `60`},
	"community-action[].prepend":     {to: `2`},
	"community-action[].no-announce": {to: `["routers"]`},

	"damping.enabled":      {to: `true`, back: true},
	"damping.half-life":    {to: `"90s"`},
	"damping.penalty":      {to: `900`},
	"damping.suppress":     {to: `2900`},
	"damping.reuse":        {to: `1600`},
	"damping.max-suppress": {to: `"3m"`},

	"guard.share":          {to: `70`},
	"guard.min-sites":      {to: `5`},
	"guard.within":         {to: `"2s"`},
	"guard.anchors":        {to: `["198.18.1.1"]`},
	"guard.anchors-needed": {to: `2`, with: map[string]string{"anchors": `["198.18.1.1", "172.20.1.1"]`}},

	"fib.table":           {to: `1187`},
	"fib.vrf":             {to: `"blue"`},
	"fib.protocol":        {to: `187`},
	"fib.metric":          {to: `101`},
	"fib.sink-metric":     {to: `65000`},
	"fib.rule-preference": {to: `1187`},
	"fib.mark":            {to: `4487`},
	"fib.source":          {to: `["172.20.1.1"]`},
	"fib.max-ecmp":        {to: `4`},
	"fib.takeover":        {to: `true`},
	"fib.permit":          {to: `["192.0.2.0/24"]`},
	"fib.sysctl":          {to: `"check"`},
	"fib.mss-clamp":       {to: `false`},

	"api.socket":     {to: `"/run/wgbgpd/other.sock"`},
	"api.mode":       {to: `"0600"`},
	"api.group":      {to: `"root"`},
	"metrics.listen": {to: `"127.0.0.1:9586"`},
	"log.level":      {to: `"debug"`},
	"log.format":     {to: `"json"`},

	"health.listen":     {to: `["127.0.0.1:8081"]`},
	"health.tcp-listen": {to: `["127.0.0.1:8082"]`},
	"health.allow-from": {to: `["127.0.0.0/8"]`},
	"health.sites":      {to: `"none"`},
	"health.drain-wait": {to: `"1s"`},

	"secrets.refresh":         {to: `"10m"`},
	"secrets.aws-region":      {to: `"eu-west-1"`},
	"secrets.vault.address":   {to: `"https://127.0.0.1:8200"`},
	"secrets.vault.ca-file":   {to: `"/etc/ssl/vault.pem"`},
	"secrets.vault.namespace": {to: `"net"`},
	"secrets.vault.auth":      {to: `"aws"`, with: map[string]string{"role": `"gw"`}},
	"secrets.vault.mount":     {to: `"corp"`},
	"secrets.vault.token":     {to: `"file:DIR/password"`},
	"secrets.vault.role-id":   {to: `"r"`},
	"secrets.vault.secret-id": {to: `"file:DIR/password"`},
	"secrets.vault.role":      {to: `"gw"`},
	"secrets.vault.server-id": {to: `"vault.example.net"`},
}

func init() {
	for _, rank := range []string{"takeover", "direct", "backup", "indirect", "remote", "drain"} {
		matrixEdits["rank."+rank+".med"] = keyEdit{to: `77`}
		matrixEdits["rank."+rank+".prepend"] = keyEdit{to: `4`}
		matrixEdits["rank."+rank+".local-pref"] = keyEdit{to: `333`}
		matrixEdits["rank."+rank+".communities"] = keyEdit{to: `["65010:7"]`}
	}
}
