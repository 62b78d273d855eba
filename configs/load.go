package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/secret"
	"github.com/wgbgp/wgbgp/tgwconnect"
)

// Config is a validated configuration with every default filled in.
type Config struct {
	Core     *ha.Config
	API      API
	Metrics  netip.AddrPort // where metrics are read; invalid: nowhere
	Health   Health
	Secrets  Secrets
	AWS      AWS
	Log      Log
	StateDir string
	Routes   []tgwconnect.RouteRule // tables of AWS that follow the sites
	Front    Front
	Wants    []tgwconnect.Want // what "wgbgp tgw apply" makes
	Files    []string          // files read, the named one first

	doc    *document
	source source
}

// API is where the control API listens.
type API struct {
	Socket string      // path of the unix socket
	Mode   fs.FileMode // of the socket
	Group  string      // that owns the socket; empty: the daemon's
}

// Log is how the daemon logs.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Options change how a configuration is loaded.
type Options struct {
	// Secrets opens references; nil: secret.Default.
	Secrets *secret.Resolver
	// Stores takes the place of Secrets: it makes what opens references once it is
	// known where the stores are.
	Stores func(Secrets) *secret.Resolver
	// CheckOnly checks that secrets could be opened, without reading them. The
	// keys of the result are empty.
	CheckOnly bool
}

// maxFile bounds the size of one file, in bytes: 10,000 sites are some 5 MB.
const maxFile = 64 << 20

// Load reads a configuration file with what it includes. All problems of all
// files come at once: err is a Problems, and so are the warnings, which come
// with and without an error.
func Load(path string, opt Options) (cfg *Config, warnings Problems, err error) {
	src := source{files: map[string][]byte{}, matches: map[string][]string{}}
	l := &loader{opt: opt}
	l.read = func(path string) (b []byte, err error) {
		if b, err = readFile(path); err == nil {
			src.files[path] = b
		}
		return b, err
	}
	l.glob = func(pattern string) (m []string, err error) {
		if m, err = filepath.Glob(pattern); err == nil {
			src.matches[pattern] = m
		}
		return m, err
	}
	if cfg, warnings, err = l.load(path); cfg != nil {
		cfg.source = src
	}
	return cfg, warnings, err
}

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return os.ReadFile(path)
}

// loader is one Load. The two functions are the file system.
type loader struct {
	decoder
	read     func(string) ([]byte, error)
	glob     func(string) ([]string, error)
	opt      Options
	files    []string
	warnings Problems
	doc      document
	// partial: a file is missing or broken, so that checks between objects
	// would complain about everything that stands in it.
	partial bool
}

func (l *loader) warn(code string, p Problem) {
	p.Code = code
	l.warnings = append(l.warnings, p)
}

func (l *loader) load(path string) (*Config, Problems, error) {
	root := l.gather(path)
	if root != nil {
		l.table(root, "", reflect.ValueOf(&l.doc).Elem())
		for name, w := range l.doc.WireGuard {
			w.name = name
		}
		l.order()
		if !l.partial {
			l.derive()
			l.check()
			l.secrets()
		}
	}
	warnings := l.warnings.sorted(l.files)
	if len(l.problems) > 0 {
		return nil, warnings, l.problems.sorted(l.files)
	}
	cfg := &Config{
		Core:     l.build(),
		API:      API{Socket: l.doc.API.Socket, Mode: l.doc.API.Mode.FileMode, Group: l.doc.API.Group},
		Metrics:  l.doc.Metrics.addr,
		Log:      Log{Level: l.doc.Log.Level.Level, Format: l.doc.Log.Format},
		Health:   l.doc.Health.build(),
		Secrets:  l.doc.Secrets.build(),
		AWS:      l.doc.AWS.build(),
		StateDir: l.doc.StateDir,
		Routes:   l.doc.awsRules(),
		Front:    l.doc.front(),
		Wants:    l.doc.tgwWants(),
		Files:    l.files,
		doc:      &l.doc,
	}
	return cfg, warnings, nil
}

// gather parses the file and everything it includes, and unites them. A file
// that does not parse leaves the others to be checked; without the main file
// there is nothing to check.
func (l *loader) gather(path string) *node {
	root := l.parseFile(path, Problem{File: path, Line: 1})
	if root == nil {
		return nil
	}
	for _, f := range l.included(root, filepath.Dir(path)) {
		n := l.parseFile(f.path, f.at)
		if n == nil {
			l.partial = true
			continue
		}
		if inc := n.kids["include"]; inc != nil {
			l.report(Problem{File: inc.file, Line: inc.line, Key: "include", Text: "an included file includes others", Cure: "name them in " + path})
			delete(n.kids, "include")
			n.keys = slices.DeleteFunc(n.keys, func(k string) bool { return k == "include" })
		}
		root.merge(n, "", l.report)
	}
	return root
}

func (l *loader) parseFile(path string, from Problem) *node {
	data, err := l.read(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		from.Text = fmt.Sprintf("can not read %s: %v", path, err)
		from.Cure = "name an existing file that the daemon may read"
		l.report(from)
		return nil
	}
	l.files = append(l.files, path)
	n, p := parse(path, data)
	if p != nil {
		l.report(*p)
		return nil
	}
	return n
}

type includedFile struct {
	path string
	at   Problem // place of the include that named it
}

// included lists the files that the include patterns name, relative to the
// directory of the main file, sorted by path, each once. A pattern may match
// nothing; a plain name must exist.
func (l *loader) included(root *node, dir string) []includedFile {
	inc := root.kids["include"]
	if inc == nil || inc.kind != arrayNode {
		return nil // the decoder reports a wrong type
	}
	var out []includedFile
	for i, it := range inc.items {
		pattern, ok := it.val.(string)
		if !ok || pattern == "" || hasControl(pattern) {
			continue // the decoder reports it
		}
		at := Problem{File: it.file, Line: it.line, Key: fmt.Sprintf("include[%d]", i)}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		if !strings.ContainsAny(pattern, `*?[\`) {
			out = append(out, includedFile{pattern, at})
			continue
		}
		matches, err := l.glob(pattern)
		if err != nil {
			at.Text, at.Cure = quote(pattern)+" is no file pattern", `write it as "conf.d/*.toml"`
			l.report(at)
		}
		for _, m := range matches {
			out = append(out, includedFile{m, at})
		}
	}
	slices.SortStableFunc(out, func(a, b includedFile) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(out, func(a, b includedFile) bool { return a.path == b.path })
}

// order sorts every array of tables by name, so that the order of files and
// blocks means nothing anywhere behind this line.
func (l *loader) order() {
	d := &l.doc
	slices.SortStableFunc(d.Site, func(a, b *siteDoc) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.Rule, func(a, b *ruleDoc) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.Connect, func(a, b *connectDoc) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.Neighbor, func(a, b *neighborDoc) int { return cmp.Compare(a.Name, b.Name) })
}

// devices lists the WireGuard interfaces by name.
func (d *document) devices() []*wireguardDoc {
	out := make([]*wireguardDoc, 0, len(d.WireGuard))
	for _, w := range d.WireGuard {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *wireguardDoc) int { return cmp.Compare(a.name, b.name) })
	return out
}
