package accept

import (
	"os"
	"testing"

	"github.com/wgbgp/wgbgp/labs/daemons"
	"github.com/wgbgp/wgbgp/labs/gwlab"
	"github.com/wgbgp/wgbgp/labs/node"
)

var daemon, cli string

func TestMain(m *testing.M) {
	node.Main()
	os.Exit(gwlab.Main(func() int {
		daemon, cli = os.Getenv(gwlab.EnvDaemon), os.Getenv(gwlab.EnvCLI)
		return m.Run()
	}))
}

// start builds a lab that ends with the test. After a failure the ends of the
// daemons' logs are shown.
func start(t *testing.T, spec gwlab.Spec) *gwlab.Lab {
	t.Helper()
	spec.Daemon, spec.CLI = daemon, cli
	l, err := gwlab.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, g := range l.Gateways {
				if g.Process != nil {
					t.Logf("%s, end of log:\n%s", g.Name, g.Process.Tail(60))
				}
			}
			t.Logf("tgw, end of log:\n%s", l.TGWProcess.Tail(20))
		}
		if err := l.Close(false); err != nil {
			t.Error(err)
		}
	})
	return l
}

// needDaemons skips the test where FRR, BIRD or wireguard-go are not installed.
func needDaemons(t *testing.T) {
	t.Helper()
	if m := daemons.Missing(); len(m) > 0 {
		t.Skipf("needs %v", m)
	}
}
