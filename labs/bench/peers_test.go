package bench

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/internal/nstest"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/wg"
)

// manyPeers is how many sites the interface has; livePeers of them dial it. The
// far end of a living one is a WireGuard device of its own, so that ten thousand
// are more than one machine can play.
const (
	manyPeers = 10_000
	livePeers = 200
)

var swarmAt = netip.MustParseAddrPort("127.0.0.1:51820")

// swarmKey is that of a site, from 1 on; 0: the gateway's.
func swarmKey(i int) wg.PrivateKey {
	k := [wg.KeyLen]byte{1, 31: 1}
	binary.BigEndian.PutUint32(k[8:], uint32(i))
	return wg.NewPrivateKey(k)
}

// swarm is a gateway with very many sites on one interface.
type swarm struct {
	dir, file string
	text      []byte // of the configuration
	proc      *exec.Cmd
	done      chan struct{}
	started   time.Duration // from the start of the process to the last peer
}

func (s *swarm) add(i int) {
	s.text = fmt.Appendf(s.text, "\n[[site]]\nname = \"site-%05d\"\npublic-key = %q\naddress = [\"10.%d.%d.1\"]\nprefixes = [\"20.%d.%d.0/24\"]\n",
		i, swarmKey(i).Public(), 128+i>>8, i&255, i>>8, i&255)
}

func (s *swarm) write(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(s.file, s.text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func startSwarm(t testing.TB) *swarm {
	t.Helper()
	s := &swarm{dir: t.TempDir(), done: make(chan struct{})}
	s.file = filepath.Join(s.dir, "wgbgpd.toml")
	k := swarmKey(0).Reveal()
	if err := os.WriteFile(s.dir+"/key", []byte(base64.StdEncoding.EncodeToString(k[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.text = fmt.Appendf(nil, `state-dir = %[1]q
[gateway]
name = "gw"
asn = 65010
router-id = "10.0.0.10"
end-of-rib-wait = "1s"
[wireguard.wg0]
private-key = "file:%[1]s/key"
backend = "userspace"
listen-port = %[2]d
mtu = 1420
address = ["10.255.255.254/9"]
`, s.dir, swarmAt.Port())
	for i := range manyPeers {
		s.add(i + 1)
	}
	s.write(t)
	log, err := os.Create(s.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.proc = exec.Command(os.Getenv(gwlab.EnvDaemon), "-f", s.file)
	s.proc.Stdout, s.proc.Stderr = log, log
	begin := time.Now()
	if err := s.proc.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.proc.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(s.dir + "/log")
			t.Logf("end of the daemon's log:\n%s", b[max(0, len(b)-4000):])
		}
		_ = s.proc.Process.Kill()
		<-s.done
	})
	s.waitOwned(t, manyPeers)
	s.waitPeers(t, manyPeers)
	s.started = time.Since(begin)
	return s
}

// waitOwned waits until the daemon has noted, as it does just before it makes
// one, that it owns n peers. That costs it nothing, unlike asking for them.
func (s *swarm) waitOwned(t testing.TB, n int) {
	t.Helper()
	nstest.Eventually(t, 3*time.Minute, func() error {
		select {
		case <-s.done:
			t.Fatal("the daemon ended")
		default:
		}
		b, err := os.ReadFile(s.dir + "/wireguard/wg0.owned")
		if got := strings.Count(string(b), "+peer "); err == nil && got < n {
			err = fmt.Errorf("%d peers are noted, want %d", got, n)
		}
		return err
	})
}

func (s *swarm) waitPeers(t testing.TB, n int) {
	t.Helper()
	nstest.Eventually(t, time.Minute, func() error {
		if got := len(s.peers(t)); got != n {
			return fmt.Errorf("%d peers, want %d", got, n)
		}
		return nil
	})
}

// seen is what wg show says of a peer.
type seen struct {
	endpoint          string
	handshake, rx, tx int
}

func (s *swarm) peers(t testing.TB) map[string]seen {
	t.Helper()
	out, err := exec.Command("wg", "show", "wg0", "dump").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]seen{}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) != 8 {
			continue
		}
		p := seen{endpoint: f[2]}
		for j, n := range []*int{&p.handshake, &p.rx, &p.tx} {
			if *n, err = strconv.Atoi(f[4+j]); err != nil {
				t.Fatal(err)
			}
		}
		all[f[0]] = p
	}
	return all
}

// BenchmarkManySites is the whole daemon with 10,000 sites in their default form,
// with heartbeats: what it costs to watch them, of which 200 live, and how long a
// reload with one more takes to reach the interface.
func BenchmarkManySites(b *testing.B) {
	buildPrograms(b)
	if !nstest.Isolate(b) {
		return
	}
	nstest.Need(b, "wg")
	s := startSwarm(b)
	for i := range livePeers {
		dial(b, swarmKey(i+1), swarmKey(0).Public(), swarmAt)
	}
	nstest.Eventually(b, time.Minute, func() error {
		live := 0
		for _, p := range s.peers(b) {
			if p.handshake != 0 {
				live++
			}
		}
		if live < livePeers {
			return fmt.Errorf("%d peers live, want %d", live, livePeers)
		}
		return nil
	})
	idle(b, s.proc.Process.Pid, 10*time.Second) // what the start left to do
	c, percent := idle(b, s.proc.Process.Pid, 30*time.Second)
	b.ReportMetric(percent, "%-cpu")
	b.ReportMetric(c.rss, "MB-rss")
	b.ReportMetric(s.started.Seconds(), "s-start")

	before := s.peers(b)
	s.add(manyPeers + 1)
	s.write(b)
	cpu, begin := measure(b, s.proc.Process.Pid).cpu, time.Now()
	if err := s.proc.Process.Signal(syscall.SIGHUP); err != nil {
		b.Fatal(err)
	}
	s.waitOwned(b, manyPeers+1)
	b.ReportMetric(time.Since(begin).Seconds()*1e3, "ms-reload")
	b.ReportMetric((measure(b, s.proc.Process.Pid).cpu-cpu).Seconds()*1e3, "ms-cpu-reload")
	s.waitPeers(b, manyPeers+1)
	if err := untouched(before, s.peers(b)); err != nil {
		b.Error(err)
	}
}

// untouched compares peers before and after somebody else came. One that was made
// anew would have lost its endpoint, or begun to count again.
func untouched(before, after map[string]seen) error {
	for k, was := range before {
		is := after[k]
		if is.endpoint != was.endpoint || is.handshake < was.handshake || is.rx < was.rx || is.tx < was.tx {
			return fmt.Errorf("peer %s was %+v and is %+v", k, was, is)
		}
	}
	return nil
}
