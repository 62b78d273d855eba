package accept

import (
	"fmt"
	"slices"
	"strings"
)

// confFile is a configuration file as blocks of one-line keys.
type confFile struct{ blocks []*confBlock }

type confBlock struct {
	header string // such as "[[site]]", empty: before the first table
	object string // name of the [[block]] that it is, or stands in
	lines  []string
}

func parseConf(text string) *confFile {
	now := &confBlock{}
	f := &confFile{blocks: []*confBlock{now}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			object := ""
			if strings.HasPrefix(line, "[site.") || strings.HasPrefix(line, "[[site.") {
				object = now.object
			}
			now = &confBlock{header: line, object: object}
			f.blocks = append(f.blocks, now)
		case line != "":
			if name, ok := strings.CutPrefix(line, "name = "); ok && now.object == "" {
				now.object = strings.Trim(name, `"`)
			}
			now.lines = append(now.lines, line)
		}
	}
	return f
}

func (f *confFile) String() string {
	var b strings.Builder
	for _, blk := range f.blocks {
		fmt.Fprintf(&b, "%s\n%s\n\n", blk.header, strings.Join(blk.lines, "\n"))
	}
	return b.String()
}

// block finds the one of a table and an object; a [table] without object is made
// if the file has none.
func (f *confFile) block(table, object string) *confBlock {
	headers := []string{"[" + table + "]", "[[" + table + "]]"}
	for _, blk := range f.blocks {
		if table == "" && blk.header == "" || slices.Contains(headers, blk.header) && (object == "" || blk.object == object) {
			return blk
		}
	}
	if object != "" {
		return nil
	}
	blk := &confBlock{header: headers[0]}
	f.blocks = append(f.blocks, blk)
	return blk
}

// set gives a key a value and returns the old one; empty: not in the file.
func (b *confBlock) set(key, value string) (old string) {
	line := key + " = " + value
	for i, l := range b.lines {
		if was, ok := strings.CutPrefix(l, key+" = "); ok {
			if value == "" {
				b.lines = slices.Delete(b.lines, i, i+1)
			} else {
				b.lines[i] = line
			}
			return was
		}
	}
	if value != "" {
		b.lines = append(b.lines, line)
	}
	return ""
}
