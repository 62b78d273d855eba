package configs

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// Class is what a change costs, from nothing to everything.
type Class string

// Classes, mildest first.
const (
	Live         Class = "live"          // no session and no peer notices
	SoftReset    Class = "soft-reset"    // routes are judged or sent again, the session stays
	SessionReset Class = "session-reset" // one BGP session or WireGuard peer starts over
	Restart      Class = "restart"       // takes effect when the daemon is restarted
)

var classOrder = []Class{Live, SoftReset, SessionReset, Restart}

// Worst is the costliest effect of a set of changes; Live for none.
func Worst(changes []Change) Class {
	worst := 0
	for _, c := range changes {
		worst = max(worst, slices.Index(classOrder, c.Class))
	}
	return classOrder[worst]
}

// Action says what happened to an object.
type Action string

// Actions.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Change is what happened to one object between two configurations.
type Change struct {
	Object string // such as "site paris", "wireguard wg0", "gateway"
	Action Action
	Keys   []string // changed keys, sorted; "neighbor.asn" and "probe lan.target" inside a site
	Class  Class    // the costliest of Keys
}

// object is one named table with its keys as text. Secrets are represented by
// themselves, so that a rotated key behind the same reference is seen, and are
// never printed.
type object struct {
	keys    map[string]any
	classes map[string]Class
}

// Diff compares two configurations as they are in effect, with defaults filled
// in: a comment or a default written out is no change. Changes are sorted by
// object.
func Diff(old, new *Config) []Change {
	a, b := objects(old.doc), objects(new.doc)
	var out []Change
	for name, o := range a {
		n, ok := b[name]
		if !ok {
			out = append(out, Change{Object: name, Action: Removed, Class: lifeClass(o)})
			continue
		}
		c := Change{Object: name, Action: Changed, Class: Live}
		for k, v := range o.keys {
			if nv, ok := n.keys[k]; !ok || nv != v {
				c.Keys = append(c.Keys, k)
			}
		}
		for k := range n.keys {
			if _, ok := o.keys[k]; !ok {
				c.Keys = append(c.Keys, k)
			}
		}
		if len(c.Keys) == 0 {
			continue
		}
		slices.Sort(c.Keys)
		var each []Change
		for _, k := range c.Keys {
			each = append(each, Change{Class: cmp.Or(n.classes[k], o.classes[k])})
		}
		c.Class = Worst(each)
		out = append(out, c)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			out = append(out, Change{Object: name, Action: Added, Class: Live})
		}
	}
	slices.SortFunc(out, func(x, y Change) int { return cmp.Compare(x.Object, y.Object) })
	return out
}

// lifeClass: what goes takes its sessions along, and nothing else.
func lifeClass(o object) Class {
	for _, c := range o.classes {
		if c == SessionReset {
			return SessionReset
		}
	}
	return Live
}

func objects(d *document) map[string]object {
	out := map[string]object{}
	add := func(name string, doc any) {
		o := object{keys: map[string]any{}, classes: map[string]Class{}}
		o.flatten("", reflect.ValueOf(doc).Elem())
		out[name] = o
	}
	add("gateway", &d.Gateway)
	add("damping", &d.Damping)
	add("guard", &d.Guard)
	add("fib", &d.FIB)
	add("health", &d.Health)
	add("secrets", &d.Secrets)
	add("aws", &d.AWS)
	add("secrets vault", &d.Secrets.Vault)
	add("api", &d.API)
	add("metrics", &d.Metrics)
	add("log", &d.Log)
	add("daemon", &struct {
		StateDir string `toml:"state-dir" class:"restart"`
	}{d.StateDir})
	for _, r := range d.Rank.all() {
		add("rank "+string(r.rank), r.doc)
	}
	for _, w := range d.devices() {
		add("wireguard "+w.name, w)
	}
	for _, s := range d.Site {
		add("site "+s.Name, s)
	}
	for _, r := range d.Rule {
		add("rule "+r.Name, r)
	}
	for _, c := range d.Connect {
		add("tgw-connect "+c.Name, c)
	}
	for _, n := range d.Neighbor {
		add("neighbor "+n.Name, n)
	}
	for _, a := range d.Action {
		add("community-action "+a.Name, a)
	}
	for _, t := range d.TGWApply {
		add("tgw-apply "+t.Name, t)
	}
	for _, a := range d.AWSRoute {
		add("aws-route "+a.Name, a)
	}
	for _, g := range d.GroupRank {
		add("group-rank "+g.Name, g)
	}
	for _, c := range d.Conditional {
		add("conditional "+c.Name, c)
	}
	for _, t := range d.TargetGroup {
		add("aws-target-group "+t.Name, t)
	}
	for _, r := range d.Record {
		add("aws-record "+r.Name, r)
	}
	for _, a := range d.Aggregate {
		add("aggregate "+a.Name, a)
	}
	return out
}

// flatten collects the leaf keys below v with comparable values.
func (o object) flatten(path string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		key := path + f.key
		sub, table := below(fv.Type())
		switch {
		case !table:
			o.classes[key] = f.class
			if r, ok := fv.Addr().Interface().(*secretRef); ok {
				o.keys[key] = *r
				continue
			}
			o.keys[key] = encodeValue(fv)
			if f.set {
				parts := encodeParts(fv)
				slices.Sort(parts)
				o.keys[key] = strings.Join(parts, " ")
			}
		case fv.Kind() == reflect.Pointer && !fv.IsNil():
			o.flatten(key+".", fv.Elem())
		case fv.Kind() == reflect.Slice && sub == reflect.TypeFor[probeDoc]():
			for i := range fv.Len() {
				p := fv.Index(i).Elem()
				o.flatten(strings.Join([]string{f.key, p.FieldByName("Name").String()}, " ")+".", p)
			}
		}
	}
}
