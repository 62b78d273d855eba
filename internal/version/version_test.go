package version

import (
	"runtime/debug"
	"testing"
)

func TestBuildInfoGivesOneLine(t *testing.T) {
	bi := &debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.modified", Value: "true"},
		{Key: "vcs.time", Value: "2026-11-22T19:00:00Z"},
	}}
	bi.Main.Version = "v1.2.3"
	for _, tt := range []struct {
		name string
		edit func(*debug.BuildInfo)
		want string
	}{
		{"release from a changed tree", func(*debug.BuildInfo) {}, "v1.2.3 (0123456789ab, modified)"},
		{"no version", func(b *debug.BuildInfo) { b.Main.Version = "(devel)" }, "devel (0123456789ab, modified)"},
		{"no revision", func(b *debug.BuildInfo) { b.Settings = nil }, "v1.2.3"},
	} {
		c := *bi
		tt.edit(&c)
		if got := from(&c).String(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRunningBinaryHasAVersion(t *testing.T) {
	if i := Get(); i.Version == "" || i.Go == "" || i.Platform == "" {
		t.Errorf("got %+v, want version, toolchain and platform", i)
	}
}
