// Package version says which build is running, from what the Go toolchain
// writes into every binary.
package version

import (
	"runtime"
	"runtime/debug"
)

// Info is one build.
type Info struct {
	Version  string // module version, or "devel"
	Revision string // VCS commit, empty when unknown
	Modified bool   // built from a changed tree
	Time     string // of the commit, RFC 3339
	Go       string // toolchain
	Platform string // "linux/amd64"
}

// Get reads the running binary.
func Get() Info {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		bi = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return from(bi)
}

func from(bi *debug.BuildInfo) Info {
	i := Info{Version: bi.Main.Version, Go: bi.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if i.Version == "" || i.Version == "(devel)" {
		i.Version = "devel"
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Revision = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		case "vcs.time":
			i.Time = s.Value
		}
	}
	return i
}

// String is the version for one line of text: "v1.2.3 (0123456789ab)".
func (i Info) String() string {
	s := i.Version
	if len(i.Revision) >= 12 {
		s += " (" + i.Revision[:12]
		if i.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s
}
