package swarm

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the sites of the lab again")

func TestTheLabHasTheSitesOfTheSwarm(t *testing.T) {
	const file = "../topologies/hub-200/gw1/conf.d/sites.toml"
	c, err := Load("../topologies/hub-200/sites/swarm.toml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Sites()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the swarm's file says (%v); go test ./labs/swarm -update writes it", file, err)
	}
}
