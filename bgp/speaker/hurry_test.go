package speaker

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/nstest"
)

// A neighbor that restarts is let in at once, but not one whose session keeps
// breaking: that would be an oscillation (RFC 4271 section 8.1.1).
func TestBrokenConnectionIsForgivenAtOnceButNotTwice(t *testing.T) {
	t.Parallel()
	if !nstest.Isolate(t) {
		return
	}
	s, rec := start(t, Config{})
	apply(t, s, []bgp.Neighbor{neighbor("paris", "127.0.0.2", 65101, "sites")}, nil)
	again := func(p *rawPeer) (*rawPeer, time.Duration) {
		_ = p.conn.Close()
		began := time.Now()
		nstest.Eventually(t, 3*time.Second, func() error {
			if st := rec.state("paris"); st.State == bgp.StateEstablished {
				return errors.New("the session still stands")
			}
			return nil
		})
		p = dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101})
		established(t, s, "paris")
		return p, time.Since(began)
	}
	p, first := again(dialRaw(t, rawConf{local: "127.0.0.2", asn: 65101}))
	if first > idleHold/2 {
		t.Errorf("session after a broken one: got it after %s, want at once", first)
	}
	p.update(t, []uint32{65101}, "127.0.0.2", "10.1.0.0/24")
	rec.has(t, "paris 10.1.0.0/24")
	if _, second := again(p); second < idleHold/2 {
		t.Errorf("session after two that broke: got it after %s, want to have waited %s", second, idleHold)
	}
}

// An engine that is asked just before the machine is suspended is not to blame.
func TestSuspendedProcessBlamesNobody(t *testing.T) {
	const child = "WGBGP_SUSPENDED"
	if os.Getenv(child) != "" {
		s, err := New(Config{ASN: 65000, RouterID: neighbor("", "10.0.0.1", 1, "").Address, ListenPort: -1, CallTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.call("busy", func() error {
			_, _ = os.Stdout.WriteString("asked\n")
			for range 10 { // the engine needs to run before it can answer
				<-time.After(30 * time.Millisecond)
			}
			return nil
		}); err != nil {
			t.Errorf("call over a suspension: got %v", err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	<-time.After(1500 * time.Millisecond) // longer than the limit
	_ = cmd.Process.Signal(syscall.SIGCONT)
	rest := make([]byte, 4096)
	n, _ := out.Read(rest)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, rest[:n])
	}
}
