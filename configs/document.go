package configs

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
)

// document is the whole configuration as written: the list of all keys. Field
// tags are explained in fields.go, meanings in reference.toml. Defaults stand
// in the setDefaults methods below; those that depend on other keys are filled
// by derive.go.
type document struct {
	meta
	Include     []string                 `toml:"include" class:"live"`
	StateDir    string                   `toml:"state-dir" class:"restart"`
	Gateway     gatewayDoc               `toml:"gateway"`
	WireGuard   map[string]*wireguardDoc `toml:"wireguard"`
	Site        []*siteDoc               `toml:"site"`
	Rule        []*ruleDoc               `toml:"rule"`
	AWS         awsDoc                   `toml:"aws"`
	Connect     []*connectDoc            `toml:"tgw-connect"`
	Neighbor    []*neighborDoc           `toml:"neighbor"`
	Aggregate   []*aggregateDoc          `toml:"aggregate"`
	Conditional []*conditionalDoc        `toml:"conditional"`
	Action      []*actionDoc             `toml:"community-action"`
	AWSRoute    []*awsRouteDoc           `toml:"aws-route"`
	TargetGroup []*targetGroupDoc        `toml:"aws-target-group"`
	Record      []*recordDoc             `toml:"aws-record"`
	TGWApply    []*tgwApplyDoc           `toml:"tgw-apply"`
	Damping     dampingDoc               `toml:"damping"`
	Guard       guardDoc                 `toml:"guard"`
	FIB         fibDoc                   `toml:"fib"`
	Rank        ranksDoc                 `toml:"rank"`
	GroupRank   []*groupRankDoc          `toml:"group-rank"`
	Health      healthDoc                `toml:"health"`
	Secrets     secretsDoc               `toml:"secrets"`
	API         apiDoc                   `toml:"api"`
	Metrics     metricsDoc               `toml:"metrics"`
	Log         logDoc                   `toml:"log"`
}

type gatewayDoc struct {
	meta
	Name          string        `toml:"name" class:"live" req:"name = \"gw-a\""`
	ASN           uint32        `toml:"asn" class:"restart" req:"asn = 65010"`
	RouterID      netip.Addr    `toml:"router-id" class:"restart" req:"router-id = \"192.0.2.1\", an IPv4 address that no other router has"`
	Region        string        `toml:"region" class:"live"`
	PreferRegions []string      `toml:"prefer-regions" class:"live"`
	Coalesce      time.Duration `toml:"coalesce" class:"live" span:"0s..1s"`
	EndOfRIBWait  time.Duration `toml:"end-of-rib-wait" class:"live" span:"1s..1h"`
	Linger        time.Duration `toml:"linger" class:"live" span:"0s..5m"`
	DrainLimit    time.Duration `toml:"drain-limit" class:"live" span:"0s..10m"`
}

type wireguardDoc struct {
	meta
	name       string
	Backend    string         `toml:"backend" class:"restart" enum:"auto|kernel|userspace"`
	PrivateKey secretRef      `toml:"private-key" class:"session-reset" req:"private-key = \"file:/etc/wgbgp/wg0.key\""`
	SharedKey  bool           `toml:"shared-key" class:"live"`
	ListenPort uint16         `toml:"listen-port" class:"live"`
	Address    []netip.Prefix `toml:"address" class:"live" opt:"host"`
	MTU        int            `toml:"mtu" class:"live" span:"0..9000"`
	Mode       string         `toml:"mode" class:"session-reset" enum:"synced|open"`
	VRF        string         `toml:"vrf" class:"restart"`
}

type siteDoc struct {
	meta
	Name              string           `toml:"name" class:"session-reset" req:"name = \"paris\""`
	Description       string           `toml:"description" class:"live"`
	Interface         string           `toml:"interface" class:"session-reset"`
	PublicKey         publicKey        `toml:"public-key" class:"session-reset" req:"public-key = \"...\", the output of wg pubkey at the site"`
	PresharedKey      secretRef        `toml:"preshared-key" class:"live"`
	Endpoint          endpoint         `toml:"endpoint" class:"live"`
	Keepalive         time.Duration    `toml:"keepalive" class:"live" span:"0s..18h" opt:"whole"`
	Address           []netip.Addr     `toml:"address" class:"live"`
	Prefixes          []netip.Prefix   `toml:"prefixes" class:"live" opt:"set"`
	Allow             []prefixRule     `toml:"allow" class:"soft-reset" opt:"set"`
	MaxPrefixes       uint32           `toml:"max-prefixes" class:"live"`
	Group             string           `toml:"group" class:"live"`
	Role              string           `toml:"role" class:"soft-reset" enum:"primary|backup"`
	Regions           []string         `toml:"regions" class:"soft-reset"`
	Disabled          bool             `toml:"disabled" class:"live"`
	Heartbeat         bool             `toml:"heartbeat" class:"live"`
	HeartbeatInterval time.Duration    `toml:"heartbeat-interval" class:"live" span:"1s..5s"`
	IdlePolicy        string           `toml:"idle-policy" class:"live" enum:"announce|withhold"`
	HoldDown          time.Duration    `toml:"hold-down" class:"live" span:"0s..1h"`
	Damping           bool             `toml:"damping" class:"live"`
	Preempt           bool             `toml:"preempt" class:"live"`
	Rise              int              `toml:"rise" class:"live" span:"1..100"`
	Fall              int              `toml:"fall" class:"live" span:"1..100"`
	Rule              string           `toml:"rule" class:"live"`
	BFD               bool             `toml:"bfd" class:"live"`
	BFDInterval       time.Duration    `toml:"bfd-interval" class:"live" span:"50ms..10s"`
	BFDMultiplier     uint8            `toml:"bfd-multiplier" class:"live" span:"2..50"`
	BFDStrict         bool             `toml:"bfd-strict" class:"live"`
	Probe             []*probeDoc      `toml:"probe"`
	Neighbor          *siteNeighborDoc `toml:"neighbor"`
}

type probeDoc struct {
	meta
	Name     string         `toml:"name" class:"live" req:"name = \"lan\""`
	Type     string         `toml:"type" class:"live" enum:"icmp|tcp"`
	Target   netip.Addr     `toml:"target" class:"live"`
	Port     uint16         `toml:"port" class:"live"`
	Interval time.Duration  `toml:"interval" class:"live" span:"100ms..1h"`
	Timeout  time.Duration  `toml:"timeout" class:"live" span:"10ms..1m"`
	Rise     int            `toml:"rise" class:"live" span:"0..100"`
	Fall     int            `toml:"fall" class:"live" span:"0..100"`
	Prefixes []netip.Prefix `toml:"prefixes" class:"live" opt:"set"`
}

type siteNeighborDoc struct {
	meta
	ASN             uint32        `toml:"asn" class:"session-reset" req:"asn = 65101"`
	LocalASN        uint32        `toml:"local-asn" class:"session-reset"`
	Address         netip.Addr    `toml:"address" class:"session-reset"`
	LocalAddress    netip.Addr    `toml:"local-address" class:"session-reset"`
	Group           string        `toml:"group" class:"soft-reset"`
	Port            uint16        `toml:"port" class:"session-reset" span:"1..65535"`
	Passive         bool          `toml:"passive" class:"session-reset"`
	Password        secretRef     `toml:"password" class:"session-reset"`
	TTLSecurity     bool          `toml:"ttl-security" class:"session-reset"`
	HoldTime        time.Duration `toml:"hold-time" class:"live" span:"3s..18h" opt:"whole"`
	Keepalive       time.Duration `toml:"keepalive" class:"live" span:"0s..6h" opt:"whole"`
	ConnectRetry    time.Duration `toml:"connect-retry" class:"live" span:"1s..1h" opt:"whole"`
	Families        []family      `toml:"families" class:"session-reset" opt:"set"`
	NextHop4        netip.Addr    `toml:"next-hop4" class:"soft-reset"`
	NextHop6        netip.Addr    `toml:"next-hop6" class:"soft-reset"`
	LocalPref       uint32        `toml:"local-pref" class:"soft-reset"`
	EnforceFirstAS  bool          `toml:"enforce-first-as" class:"soft-reset"`
	AllowOwnASN     bool          `toml:"allow-own-asn" class:"soft-reset"`
	AddPaths        bool          `toml:"add-paths" class:"session-reset"`
	GracefulRestart bool          `toml:"graceful-restart" class:"session-reset"`
	RestartTime     time.Duration `toml:"restart-time" class:"session-reset" span:"1s..4095s" opt:"whole"`
	BFD             bool          `toml:"bfd" class:"live"`
	BFDInterval     time.Duration `toml:"bfd-interval" class:"live" span:"50ms..10s"`
	BFDMultiplier   uint8         `toml:"bfd-multiplier" class:"live" span:"2..50"`
	BFDStrict       bool          `toml:"bfd-strict" class:"live"`
	Export          bool          `toml:"export" class:"soft-reset"`
	Actions         bool          `toml:"actions" class:"soft-reset"`
	AcceptBlackhole bool          `toml:"accept-blackhole" class:"soft-reset"`
}

type ruleDoc struct {
	meta
	Name string   `toml:"name" class:"live" req:"name = \"probe-or-bgp\""`
	Mode string   `toml:"mode" class:"live" enum:"any|all"`
	Of   []string `toml:"of" class:"live" opt:"set" req:"of = [\"heartbeat\", \"bgp\"]"`
}

type connectDoc struct {
	meta
	Name          string         `toml:"name" class:"session-reset" req:"name = \"tgw-a\""`
	Device        string         `toml:"device" class:"session-reset"`
	Backend       string         `toml:"backend" class:"session-reset" enum:"auto|kernel|userspace"`
	Discover      bool           `toml:"discover" class:"session-reset"`
	Peer          string         `toml:"peer" class:"session-reset"`
	Local         netip.Addr     `toml:"local" class:"session-reset" unless:"discover,peer" req:"local = \"10.0.0.10\", the Connect peer's PeerAddress"`
	Remote        netip.Addr     `toml:"remote" class:"session-reset" unless:"discover,peer" req:"remote = \"192.0.2.1\", the Connect peer's TransitGatewayAddress"`
	Inside        []netip.Prefix `toml:"inside" class:"session-reset" unless:"discover,peer" req:"inside = [\"169.254.6.0/29\"], the Connect peer's InsideCidrBlocks"`
	TGWASN        uint32         `toml:"tgw-asn" class:"session-reset"`
	MTU           int            `toml:"mtu" class:"live" span:"0..8476"`
	HoldTime      time.Duration  `toml:"hold-time" class:"live" span:"3s..18h" opt:"whole"`
	Keepalive     time.Duration  `toml:"keepalive" class:"live" span:"0s..6h" opt:"whole"`
	ConnectRetry  time.Duration  `toml:"connect-retry" class:"live" span:"1s..1h" opt:"whole"`
	Allow         []prefixRule   `toml:"allow" class:"soft-reset" opt:"set"`
	MaxPrefixes   uint32         `toml:"max-prefixes" class:"live"`
	LocalPref     uint32         `toml:"local-pref" class:"soft-reset"`
	AnnounceLimit uint32         `toml:"announce-limit" class:"live"`
}

type neighborDoc struct {
	meta
	Name            string        `toml:"name" class:"session-reset" req:"name = \"core-1\""`
	Description     string        `toml:"description" class:"live"`
	Kind            string        `toml:"kind" class:"live" enum:"router|fleet"`
	Region          string        `toml:"region" class:"live"`
	Group           string        `toml:"group" class:"soft-reset"`
	Address         netip.Addr    `toml:"address" class:"session-reset"`
	Range           netip.Prefix  `toml:"range" class:"session-reset"`
	MaxSessions     uint32        `toml:"max-sessions" class:"live" span:"1..1000"`
	LocalAddress    netip.Addr    `toml:"local-address" class:"session-reset"`
	Device          string        `toml:"device" class:"session-reset"`
	BindDevice      bool          `toml:"bind-device" class:"session-reset"`
	RouteServer     string        `toml:"route-server" class:"session-reset"`
	ASN             uint32        `toml:"asn" class:"session-reset" unless:"route-server" req:"asn = 65020"`
	LocalASN        uint32        `toml:"local-asn" class:"session-reset"`
	Port            uint16        `toml:"port" class:"session-reset" span:"1..65535"`
	Passive         bool          `toml:"passive" class:"session-reset"`
	MultihopTTL     uint8         `toml:"multihop-ttl" class:"session-reset"`
	TTLSecurity     bool          `toml:"ttl-security" class:"session-reset"`
	Password        secretRef     `toml:"password" class:"session-reset"`
	HoldTime        time.Duration `toml:"hold-time" class:"live" span:"3s..18h" opt:"whole"`
	Keepalive       time.Duration `toml:"keepalive" class:"live" span:"0s..6h" opt:"whole"`
	ConnectRetry    time.Duration `toml:"connect-retry" class:"live" span:"1s..1h" opt:"whole"`
	Families        []family      `toml:"families" class:"session-reset" opt:"set"`
	NextHop4        netip.Addr    `toml:"next-hop4" class:"soft-reset"`
	NextHop6        netip.Addr    `toml:"next-hop6" class:"soft-reset"`
	Allow           []prefixRule  `toml:"allow" class:"soft-reset" opt:"set"`
	MaxPrefixes     uint32        `toml:"max-prefixes" class:"live"`
	LocalPref       uint32        `toml:"local-pref" class:"soft-reset"`
	EnforceFirstAS  bool          `toml:"enforce-first-as" class:"soft-reset"`
	AllowOwnASN     bool          `toml:"allow-own-asn" class:"soft-reset"`
	AddPaths        bool          `toml:"add-paths" class:"session-reset"`
	GracefulRestart bool          `toml:"graceful-restart" class:"session-reset"`
	RestartTime     time.Duration `toml:"restart-time" class:"session-reset" span:"1s..4095s" opt:"whole"`
	BFD             bool          `toml:"bfd" class:"live"`
	BFDInterval     time.Duration `toml:"bfd-interval" class:"live" span:"50ms..10s"`
	BFDMultiplier   uint8         `toml:"bfd-multiplier" class:"live" span:"2..50"`
	BFDStrict       bool          `toml:"bfd-strict" class:"live"`
	Confirm         string        `toml:"confirm" class:"live" enum:"none|link|probe"`
	ConfirmTarget   netip.Addr    `toml:"confirm-target" class:"live"`
	ConfirmDevice   string        `toml:"confirm-device" class:"live"`
	ConfirmWait     time.Duration `toml:"confirm-wait" class:"live" span:"100ms..1m"`
	Export          bool          `toml:"export" class:"soft-reset"`
	Actions         bool          `toml:"actions" class:"soft-reset"`
	AcceptBlackhole bool          `toml:"accept-blackhole" class:"soft-reset"`
	AnnounceLimit   uint32        `toml:"announce-limit" class:"live"`
}

type aggregateDoc struct {
	meta
	Name     string       `toml:"name" class:"live"`
	Prefix   netip.Prefix `toml:"prefix" class:"live" req:"prefix = \"10.96.0.0/11\""`
	Min      int          `toml:"min" class:"live" span:"1..1000000"`
	Suppress bool         `toml:"suppress" class:"live"`
	To       []string     `toml:"to" class:"live" opt:"set"`
}

type actionDoc struct {
	meta
	Name       string    `toml:"name" class:"live"`
	Community  community `toml:"community" class:"soft-reset" req:"community = \"65010:50\""`
	LocalPref  uint32    `toml:"local-pref" class:"soft-reset"`
	Prepend    uint8     `toml:"prepend" class:"soft-reset" span:"0..10"`
	NoAnnounce []string  `toml:"no-announce" class:"soft-reset" opt:"set"`
}

type fibDoc struct {
	meta
	Table      uint32         `toml:"table" class:"restart" span:"1..4294967295"`
	VRF        string         `toml:"vrf" class:"restart"`
	Protocol   uint8          `toml:"protocol" class:"restart" span:"5..255"`
	Metric     uint32         `toml:"metric" class:"restart" span:"1..4294967295"`
	SinkMetric uint32         `toml:"sink-metric" class:"restart" span:"2..4294967295"`
	RulePref   uint32         `toml:"rule-preference" class:"restart" span:"1..32700"`
	Mark       uint32         `toml:"mark" class:"restart" span:"1..4294967295"`
	Source     []netip.Addr   `toml:"source" class:"live"`
	MaxECMP    int            `toml:"max-ecmp" class:"live" span:"1..64"`
	Takeover   bool           `toml:"takeover" class:"live"`
	Permit     []netip.Prefix `toml:"permit" class:"live" opt:"set"`
	Sysctl     string         `toml:"sysctl" class:"live" enum:"set|check|off"`
	MSSClamp   bool           `toml:"mss-clamp" class:"live"`
}

// dampingDoc is for all sites that do not opt out.
type dampingDoc struct {
	meta
	Enabled     bool          `toml:"enabled" class:"live"`
	HalfLife    time.Duration `toml:"half-life" class:"live" span:"1s..24h"`
	Penalty     uint32        `toml:"penalty" class:"live" span:"1..1000000"`
	Suppress    uint32        `toml:"suppress" class:"live" span:"1..1000000"`
	Reuse       uint32        `toml:"reuse" class:"live" span:"1..1000000"`
	MaxSuppress time.Duration `toml:"max-suppress" class:"live" span:"1s..24h"`
}

// ranksDoc has one table per rank, strongest first.
type ranksDoc struct {
	meta
	Takeover rankDoc `toml:"takeover"`
	Direct   rankDoc `toml:"direct"`
	Backup   rankDoc `toml:"backup"`
	Indirect rankDoc `toml:"indirect"`
	Remote   rankDoc `toml:"remote"`
	Drain    rankDoc `toml:"drain"`
}

type rankDoc struct {
	meta
	MED         uint32      `toml:"med" class:"live"`
	Prepend     uint8       `toml:"prepend" class:"live" span:"0..10"`
	LocalPref   uint32      `toml:"local-pref" class:"live"`
	Communities []community `toml:"communities" class:"live" opt:"set"`
}

type apiDoc struct {
	meta
	Socket string   `toml:"socket" class:"restart"`
	Mode   fileMode `toml:"mode" class:"restart"`
	Group  string   `toml:"group" class:"restart"`
}

type metricsDoc struct {
	meta
	Listen string         `toml:"listen" class:"restart"`
	addr   netip.AddrPort // Listen, checked
}

type logDoc struct {
	meta
	Level  logLevel `toml:"level" class:"live"`
	Format string   `toml:"format" class:"restart" enum:"text|json"`
}

// setDefaults fills everything that no table of the file may mention.
func (d *document) setDefaults() {
	d.StateDir = "/run/wgbgpd"
	d.Gateway.setDefaults()
	d.FIB.setDefaults()
	d.Damping.setDefaults()
	d.Guard.setDefaults()
	d.Rank.setDefaults()
	d.Health.setDefaults()
	d.Secrets.setDefaults()
	d.AWS.setDefaults()
	d.API.setDefaults()
	d.Log.setDefaults()
}

func (g *gatewayDoc) setDefaults() {
	g.Coalesce = 10 * time.Millisecond
	g.EndOfRIBWait = time.Minute
	g.Linger, g.DrainLimit = 3*time.Second, 15*time.Second
}

func (d *dampingDoc) setDefaults() {
	d.HalfLife, d.MaxSuppress = 2*time.Minute, 2*time.Minute
	d.Penalty, d.Suppress, d.Reuse = 1000, 3000, 1500
}

func (w *wireguardDoc) setDefaults() {
	w.Backend, w.ListenPort, w.Mode = "auto", 51820, "synced"
}

func (s *siteDoc) setDefaults() {
	s.MaxPrefixes = 100
	s.Role = string(ha.RolePrimary)
	s.Heartbeat, s.HeartbeatInterval = true, 5*time.Second
	s.IdlePolicy = string(ha.IdleWithhold)
	s.HoldDown, s.Damping, s.Preempt = 5*time.Second, true, true
	s.Rise, s.Fall, s.Rule = 3, 3, ruleAll
	s.BFDInterval, s.BFDMultiplier = bfdInterval, bfdMultiplier
}

func (d *probeDoc) setDefaults() {
	d.Type, d.Interval, d.Timeout = "icmp", time.Second, time.Second
}

func (n *siteNeighborDoc) setDefaults() {
	n.Group, n.Port = "sites", 179
	n.HoldTime, n.ConnectRetry = 30*time.Second, 5*time.Second
	n.LocalPref, n.EnforceFirstAS, n.Export = 200, true, true
	n.RestartTime = 2 * time.Minute
	n.BFDInterval, n.BFDMultiplier = bfdInterval, bfdMultiplier
}

func (d *ruleDoc) setDefaults() { d.Mode = ruleAll }

func (c *connectDoc) setDefaults() {
	c.Backend, c.TGWASN = "auto", defaultTGWASN
	c.HoldTime, c.Keepalive, c.ConnectRetry = 30*time.Second, 10*time.Second, 2*time.Second
	c.Allow, c.LocalPref = allowEverything(), 100
	c.AnnounceLimit = 1000 // https://docs.aws.amazon.com/vpc/latest/tgw/transit-gateway-quotas.html
}

func (a *aggregateDoc) setDefaults() { a.Min = 1 }

func (n *neighborDoc) setDefaults() {
	n.Kind, n.Port, n.MaxSessions = string(bgp.KindRouter), 179, 16
	n.HoldTime, n.ConnectRetry = 30*time.Second, 5*time.Second
	n.MaxPrefixes, n.LocalPref, n.EnforceFirstAS = 10000, 100, true
	n.Confirm, n.ConfirmWait = confirmNone, 2*time.Second
	n.RestartTime = 2 * time.Minute
	n.BFDInterval, n.BFDMultiplier = bfdInterval, bfdMultiplier
}

// setDefaults: table, rule preference and mark are 1000 + RTPROT_BGP, behind
// the l3mdev rule (1000) and well before main (32766). The mark's bits are free
// in what Kubernetes, Calico, Tailscale and wg-quick use.
func (f *fibDoc) setDefaults() {
	f.Table, f.RulePref, f.Mark = 1186, 1186, 0x1186
	f.Protocol, f.Metric, f.SinkMetric = 186, 100, 65535
	f.MaxECMP, f.Sysctl, f.MSSClamp = 8, string(ha.SysctlSet), true
}

func (d *ranksDoc) setDefaults() {
	ranks := ha.DefaultRanks()
	for _, r := range d.all() {
		a := ranks[r.rank]
		r.doc.MED, r.doc.Prepend, r.doc.LocalPref = a.MED, a.Prepend, a.LocalPref
		r.doc.Communities = nil
		for _, c := range a.Communities {
			r.doc.Communities = append(r.doc.Communities, community{c})
		}
	}
}

type rankEntry struct {
	rank ha.Rank
	doc  *rankDoc
}

func (d *ranksDoc) all() []rankEntry {
	return []rankEntry{
		{ha.RankTakeover, &d.Takeover},
		{ha.RankDirect, &d.Direct},
		{ha.RankBackup, &d.Backup},
		{ha.RankIndirect, &d.Indirect},
		{ha.RankRemote, &d.Remote},
		{ha.RankDrain, &d.Drain},
	}
}

func (d *apiDoc) setDefaults() {
	d.Socket, d.Mode = "/run/wgbgpd/wgbgpd.sock", fileMode{0o660}
}

func (d *logDoc) setDefaults() { d.Level, d.Format = logLevel{slog.LevelInfo}, "text" }

// allowEverything is the default toward a TGW, whose routes come from the
// operator's own AWS account. Toward everybody else the default is nothing
// (RFC 8212).
func allowEverything() []prefixRule {
	return []prefixRule{
		{bgp.PrefixRule{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), LE: 32}},
		{bgp.PrefixRule{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), LE: 128}},
	}
}

const (
	ruleAll = "all"
	ruleAny = "any"
)
