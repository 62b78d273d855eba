package bgp

import (
	"net/netip"
	"strconv"
	"time"
)

// BFDSession is one BFD session as it should be (RFC 5880, single hop by RFC
// 5881): asynchronous mode, no authentication, no echo.
type BFDSession struct {
	Name    string     // unique, stable: the name of the neighbor or site it watches
	Address netip.Addr // the other end
	// LocalAddress is the source; invalid: the kernel chooses. It may not exist yet.
	LocalAddress netip.Addr
	// Device is the interface the session is bound to, in both directions. Empty:
	// any, as the routes say. It may not exist yet.
	Device string
	// Interval is Desired Min TX and Required Min RX Interval while the session
	// is up; while it is not, at most one packet a second is sent.
	Interval   time.Duration
	Multiplier uint8 // Detect Mult, not 0
	// AdminDown keeps the session down on purpose and says so to the other end.
	AdminDown bool
	// Strict is for who judges by the session: one that never came up counts as
	// failed.
	Strict bool
}

// BFDSessionState is the state of a session by its RFC 5880 name.
type BFDSessionState string

// Session states (RFC 5880 section 4.1).
const (
	BFDAdminDown BFDSessionState = "AdminDown"
	BFDDown      BFDSessionState = "Down"
	BFDInit      BFDSessionState = "Init"
	BFDUp        BFDSessionState = "Up"
)

// BFDDiag is a diagnostic code (RFC 5880 section 4.1): why a session changed
// its state last.
type BFDDiag uint8

// The diagnostics this implementation sends itself.
const (
	BFDDiagNone          BFDDiag = 0
	BFDDiagDetectExpired BFDDiag = 1
	BFDDiagNeighborDown  BFDDiag = 3
	BFDDiagAdminDown     BFDDiag = 7
)

var bfdDiags = [...]string{
	"none", "detection-time-expired", "echo-failed", "neighbor-signaled-down", "forwarding-plane-reset",
	"path-down", "concatenated-path-down", "administratively-down", "reverse-concatenated-path-down",
}

// String names the diagnostic in the RFC's words.
func (d BFDDiag) String() string {
	if int(d) < len(bfdDiags) {
		return bfdDiags[d]
	}
	return "diag-" + strconv.Itoa(int(d))
}

// BFDState is one observation of a session: it changed its state or what it
// negotiated.
type BFDState struct {
	Name               string
	State, RemoteState BFDSessionState
	Diag, RemoteDiag   BFDDiag
	// Failed says that the session was Up, is not any more, and that neither end
	// did it on purpose. A session that never was Up, and one that is AdminDown at
	// either end, is no evidence of a failure (RFC 5882 sections 3.2 and 4.2).
	Failed bool
	Since  time.Time // of State, on the monotonic clock
	// Interval is how often packets are sent, without jitter; RemoteInterval how
	// often they are expected; DetectTime after how much silence the session is
	// down. All as negotiated, zero until the other end was heard.
	Interval, RemoteInterval, DetectTime time.Duration
	RemoteMultiplier                     uint8
	LocalDiscr, RemoteDiscr              uint32
	Flaps                                uint32 // times it failed since it was made
	Note                                 string // why nothing can be sent, empty: it can
}
