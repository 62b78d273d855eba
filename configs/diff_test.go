package configs

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/internal/secret"
)

// mutate changes a value into another one of its type.
func mutate(t *testing.T, v reflect.Value) {
	t.Helper()
	switch p := v.Addr().Interface().(type) {
	case *secretRef:
		p.ref = secret.Ref{Scheme: "file", Name: p.ref.Name + ".new"}
	case *netip.Addr:
		if *p = p.Next(); !p.IsValid() {
			*p = netip.MustParseAddr("203.0.113.9")
		}
	case *netip.Prefix:
		if !p.IsValid() {
			*p = netip.MustParsePrefix("203.0.113.0/24")
			break
		}
		*p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
	case *time.Duration:
		*p += time.Second
	case *community:
		p.Community++
	case *endpoint:
		p.Host, p.Port = "other.example.net", p.Port+1
	case *publicKey:
		p.Key[0]++
	case *fileMode:
		p.FileMode ^= 0o040
	case *logLevel:
		p.Level += 4
	default:
		switch {
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		default:
			t.Fatalf("can not change a %s", v.Type())
		}
	}
}

// leaves calls f with every leaf below v, with its path as in Fields.
func leaves(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	for _, fd := range fieldsOf(v.Type()) {
		fv, at := v.Field(fd.index), strings.TrimPrefix(path+"."+fd.key, ".")
		if _, table := below(fv.Type()); !table {
			f(at, fv)
			continue
		}
		switch fv.Kind() {
		case reflect.Struct:
			leaves(fv, at, f)
		case reflect.Pointer:
			if !fv.IsNil() {
				leaves(fv.Elem(), at, f)
			}
		case reflect.Slice:
			for i := range fv.Len() {
				leaves(fv.Index(i).Elem(), at+"[]", f)
			}
		case reflect.Map:
			for _, k := range fv.MapKeys() {
				leaves(fv.MapIndex(k).Elem(), at+".NAME", f)
			}
		}
	}
}

// AC-35, the part of the configuration: an edit of any one key is seen as that
// one change, with the class that reference.toml declares.
func TestEveryKeysChangeIsSeenWithItsClass(t *testing.T) {
	load := func() *Config {
		cfg, _, err := Load("testdata/valid/full.toml", testOptions())
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old := load()
	if changes := Diff(old, load()); len(changes) != 0 {
		t.Fatalf("two loads of one file differ: %v", changes)
	}
	for _, f := range Fields() {
		if f.Path == "include" || strings.HasSuffix(f.Path, ".name") || f.Path == "site[].probe[].name" {
			continue // where a file stands and what it is called are no settings; names are identity
		}
		cfg, done := load(), false
		leaves(reflect.ValueOf(cfg.doc).Elem(), "", func(path string, v reflect.Value) {
			if path == f.Path && !done {
				mutate(t, v)
				done = true
			}
		})
		if !done {
			t.Errorf("%s: full.toml has none", f.Path)
			continue
		}
		changes := Diff(old, cfg)
		key := f.Path[strings.LastIndex(f.Path, ".")+1:]
		if len(changes) != 1 || len(changes[0].Keys) != 1 || !strings.HasSuffix(changes[0].Keys[0], key) || changes[0].Class != f.Class || changes[0].Action != Changed {
			t.Errorf("%s: got %+v, want one change of class %s", f.Path, changes, f.Class)
		}
	}
}

func TestDiffNamesWhatCameAndWent(t *testing.T) {
	lyon := strings.NewReplacer("paris", "lyon", "10.255.0.2", "10.255.0.3", "fd77::2", "fd77::3", "10.1.0.0", "10.2.0.0",
		"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=").Replace(parisText)
	a := mustLoad(t, baseText+parisText+"[site.neighbor]\nasn = 65101\n")
	b := mustLoad(t, baseText+lyon)
	got := fmt.Sprint(Diff(a, b))
	want := "[{site lyon added [] live} {site paris removed [] session-reset}]"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c := mustLoad(t, baseText+parisText+"hold-down = \"9s\"\n[site.neighbor]\nasn = 65102\n[[site.probe]]\nname = \"lan\"\ninterval = \"2s\"\n")
	got = fmt.Sprintf("%s %v %s", Worst(Diff(a, c)), Diff(a, c)[0].Keys[:2], Diff(a, c)[0].Object)
	want = "session-reset [hold-down neighbor.asn] site paris"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCommentsOrderAndWrittenDefaultsAreNoChange(t *testing.T) {
	a := mustLoad(t, baseText+parisText+"allow = [\"10.1.0.0/16\", \"10.2.0.0/16\"]\n[site.neighbor]\nasn = 65101\n")
	b := mustLoad(t, "# a comment\n"+parisText+"allow = [\"10.2.0.0/16\", \"10.1.0.0/16\"]\nrise = 3\nhold-down = \"5000ms\"\n[site.neighbor]\nasn = 65101\nkeepalive = \"10s\"\n"+baseText)
	if changes := Diff(a, b); len(changes) != 0 {
		t.Errorf("got %v, want none", changes)
	}
}

func TestRotatedKeyBehindTheSameReferenceIsAChange(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "wg0.key")
	conf := filepath.Join(dir, "wgbgpd.toml")
	text := strings.Replace(baseText, "/etc/wgbgp/wg0.key", key, 1)
	var cfgs []*Config
	for _, k := range []string{testKeys["/etc/wgbgp/wg0.key"], testKeys["/etc/wgbgp/wg1.key"]} {
		if err := os.WriteFile(key, []byte(k), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, _, err := Load(conf, Options{})
		if err != nil {
			t.Fatal(err)
		}
		cfgs = append(cfgs, cfg)
	}
	changes := Diff(cfgs[0], cfgs[1])
	if len(changes) != 1 || changes[0].Object != "wireguard wg0" || fmt.Sprint(changes[0].Keys) != "[private-key]" {
		t.Errorf("got %+v, want wireguard wg0 private-key", changes)
	}
	for _, c := range cfgs {
		if out := fmt.Sprintf("%+v %#v %v %s", c, c, c.Core, Show(c)) + fmt.Sprintf("%+v", changes); strings.Contains(out, "SJ/CI6u2") || strings.Contains(out, "mGZHZIJT") {
			t.Error("a printed configuration holds a private key")
		}
	}
}

func TestKeyFileOfTheWrongModeIsRefusedWithTheCure(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "wg0.key")
	if err := os.WriteFile(key, []byte(testKeys["/etc/wgbgp/wg0.key"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(baseText, "/etc/wgbgp/wg0.key", key, 1)
	_, _, err := loadText(t, text)
	if err == nil || !strings.Contains(err.Error(), "; chmod 0600 "+key) || !strings.Contains(err.Error(), ":8: wireguard.wg0.private-key: ") {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := loadText(t, text)
	if os.Geteuid() == 0 && (err != nil || len(warnings) != 1 || warnings[0].Code != "W-KEYMODE") {
		t.Errorf("mode 0640 of root: got %v, %v, want W-KEYMODE", warnings, err)
	}
}

// What reference.toml promises is not milder than what bgp.Neighbor.Compare,
// which the speaker acts on, makes of the same edit.
func TestNoKeyCostsASessionMoreThanItSays(t *testing.T) {
	load := func() *Config {
		cfg, _, err := Load("testdata/valid/full.toml", testOptions())
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old := load()
	compared := 0
	for _, f := range Fields() {
		table, _, _ := strings.Cut(f.Path, "[")
		if strings.HasSuffix(f.Path, ".name") || table != "neighbor" && table != "tgw-connect" && !strings.HasPrefix(f.Path, "site[].neighbor.") && f.Path != "site[].allow" && f.Path != "site[].max-prefixes" {
			continue
		}
		cfg, done := load(), false
		leaves(reflect.ValueOf(cfg.doc).Elem(), "", func(path string, v reflect.Value) {
			if path != f.Path || done {
				return
			}
			done = true
			if v.Kind() == reflect.Slice {
				v.SetZero() // an element of a list must have a value to count
				return
			}
			if s, ok := v.Addr().Interface().(*secretRef); ok {
				s.value = secret.NewValue("another")
				return
			}
			mutate(t, v)
		})
		if f.Path == "tgw-connect[].inside" {
			continue // without a block there is no session to compare
		}
		got := Live
		for i, n := range (&loader{doc: *cfg.doc}).build().Neighbors {
			change := old.Core.Neighbors[i].Compare(&n)
			if change != 0 {
				compared++
			}
			switch {
			case change&bgp.ChangeReset != 0:
				got = SessionReset
			case change&(bgp.ChangeImport|bgp.ChangeExport) != 0 && got == Live:
				got = SoftReset
			}
		}
		if slices.Index(classOrder, got) > slices.Index(classOrder, f.Class) {
			t.Errorf("%s: declared %s, the speaker makes it %s", f.Path, f.Class, got)
		}
	}
	if compared < 30 {
		t.Errorf("only %d edits reached a neighbor", compared)
	}
}
