package live

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

// ControlUsage are the words of Control.
const ControlUsage = `peers                          Connect peers with the states of their sessions and the number of
                               prefixes that these brought
routes TABLE                   routes of a TGW route table, with peers
servers                        Route Server peers with BGP, BFD and its detection time
targets GROUP                  targets of a load balancer's target group with their health
records ZONE                   records of a hosted zone
secret NAME TEXT               writes a new version of a secret of Secrets Manager
parameter NAME VALUE           writes a new version of a SecureString of Parameter Store
why PEER                       what stops the GRE packets of a Connect peer
session PEER 1|2 up|down       lets AWS close a session, or open it again
peer replace PEER [FIELD=JSON...]
                               deletes a Connect peer and makes one like it under a new ID
get PATH                       a part of the world, as JSON: Interfaces/gw1/SourceDestCheck
set PATH JSON                  changes it behind everybody's back; index + is a new entry
unset PATH                     takes it away
`

// Control does one thing for a scenario. Objects are named by ID or tag Name.
func (l *Network) Control(words ...string) (string, error) {
	usage := fmt.Errorf("usage:\n%s", strings.TrimSpace(ControlUsage))
	if len(words) == 0 {
		return "", usage
	}
	args := words[1:]
	switch {
	case words[0] == "peers" && len(args) == 0:
		return l.showPeers(), nil
	case words[0] == "servers" && len(args) == 0:
		return l.showServers(), nil
	case words[0] == "routes" && len(args) == 1:
		return l.showRoutes(args[0])
	case words[0] == "targets" && len(args) == 1:
		return l.showTargets(args[0])
	case words[0] == "records" && len(args) == 1:
		return l.showRecords(args[0])
	case words[0] == "secret" && len(args) == 2:
		l.world.Do(func(s *world.State) {
			s.PutSecret("", args[0], world.SecretVersion{Text: args[1], Created: time.Now()})
		})
		return "", nil
	case words[0] == "parameter" && len(args) == 2:
		l.world.Do(func(s *world.State) {
			s.PutParameter("", args[0], "SecureString", world.ParameterVersion{Value: args[1], Modified: time.Now()})
		})
		return "", nil
	case words[0] == "why" && len(args) == 1:
		s := l.world.Snapshot()
		p, err := find(s.ConnectPeers, args[0], func(p *world.ConnectPeer) world.Tags { return p.Tags })
		if err != nil {
			return "", err
		}
		why, ok := passes(s, p)
		if ok {
			why = "nothing stops it"
		}
		return why + "\n", nil
	case words[0] == "session" && len(args) == 3:
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 || n > 2 || args[2] != "up" && args[2] != "down" {
			return "", usage
		}
		s := l.world.Snapshot()
		p, err := find(s.ConnectPeers, args[0], func(p *world.ConnectPeer) world.Tags { return p.Tags })
		if err == nil {
			l.Close(p.ID, n, args[2] == "down")
		}
		return "", err
	case words[0] == "peer" && len(args) >= 2 && args[0] == "replace":
		return l.replacePeer(args[1], args[2:])
	case words[0] == "get" && len(args) == 1:
		return get(l.world.Snapshot(), args[0])
	case words[0] == "set" && len(args) == 2:
		return "", l.change(args[0], args[1], false)
	case words[0] == "unset" && len(args) == 1:
		return "", l.change(args[0], "", true)
	}
	return "", usage
}

func (l *Network) change(path, value string, remove bool) (err error) {
	l.world.Do(func(s *world.State) { err = set(s, path, value, remove) })
	return err
}

// find is the object with an ID or a tag Name.
func find[V any](m map[string]V, name string, tags func(V) world.Tags) (found V, err error) {
	if v, ok := m[name]; ok {
		return v, nil
	}
	n := 0
	for _, id := range slices.Sorted(maps.Keys(m)) {
		if tags(m[id])["Name"] == name {
			found = m[id]
			n++
		}
	}
	if n != 1 {
		return found, fmt.Errorf("%d objects are named %q", n, name)
	}
	return found, nil
}

// replacePeer makes a Connect peer anew, as an operator does who must change one:
// the API has no other way [API].
func (l *Network) replacePeer(name string, fields []string) (string, error) {
	var id string
	var err error
	l.world.Do(func(s *world.State) {
		var old *world.ConnectPeer
		if old, err = find(s.ConnectPeers, name, func(p *world.ConnectPeer) world.Tags { return p.Tags }); err != nil {
			return
		}
		changed := *old
		id = s.NewID("tgw-connect-peer")
		changed.ID = id
		delete(s.ConnectPeers, old.ID)
		s.ConnectPeers[id] = &changed
		for _, f := range fields {
			field, value, _ := strings.Cut(f, "=")
			if err = set(s, "ConnectPeers/"+id+"/"+field, value, false); err != nil {
				return
			}
		}
	})
	return id + "\n", err
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush()
	return b.String()
}

func (l *Network) showPeers() string {
	var rows [][]string
	s := l.world.Snapshot()
	for _, p := range world.Values(s.ConnectPeers) {
		up := l.network.Sessions(p.ID)
		learned := map[netip.Prefix]bool{}
		for _, path := range l.network.Learned(p.ID) {
			learned[path.Prefix] = true
		}
		rows = append(rows, []string{p.Tags["Name"], p.ID, p.State, upDown(up[0]), upDown(up[1]), strconv.Itoa(len(learned))})
	}
	return table(rows)
}

func (l *Network) showServers() string {
	var rows [][]string
	s := l.world.Snapshot()
	for _, p := range world.Values(s.RouteServerPeers) {
		peer := l.network.RouteServerPeer(p.ID)
		rows = append(rows, []string{p.Tags["Name"], p.ID, p.State, upDown(peer.BGPUp), upDown(peer.BFDUp), peer.Detect.String()})
	}
	return table(rows)
}

func (l *Network) showRoutes(name string) (string, error) {
	s := l.world.Snapshot()
	t, err := find(s.Tables, name, func(t *world.Table) world.Tags { return t.Tags })
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, r := range l.network.Table(t.ID) {
		kind := "propagated"
		switch {
		case r.Blackhole:
			kind = "blackhole"
		case r.Static:
			kind = "static"
		}
		row := []string{r.Prefix.String(), kind}
		for _, v := range r.Via {
			name := s.Attachments[v.Attachment].Tags["Name"]
			if p := s.ConnectPeers[v.Peer]; p != nil {
				name = p.Tags["Name"]
			}
			row = append(row, name)
		}
		rows = append(rows, row)
	}
	return table(rows), nil
}
