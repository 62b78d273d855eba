// Package hostile holds BGP messages that no polite router sends: a corpus of
// malformed ones, one small file each with where it comes from, mutations of
// them from a seeded generator, and a judge that says what RFC 7606 wants done
// about a message. Its test lets a neighbor send them all to a real wgbgpd.
//
// Start reading at corpus.go (what a file says), then judge.go, mutate.go and
// hostile_test.go.
package hostile

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/labs/rawbgp"
)

//go:embed corpus/*.txt
var files embed.FS

// Expect is what a message may cost. In every case the daemon lives, and so do
// all other sessions.
type Expect string

// Expectations. Prefix in the comments is corpus prefix 10.66.1.0/24, which the
// neighbor announced properly before.
const (
	Accept   Expect = "accept"   // the session stays, the prefix too
	Withdraw Expect = "withdraw" // treat-as-withdraw: the session stays, the prefix goes
	Stay     Expect = "stay"     // the session stays, no route is concerned
	Reset    Expect = "reset"    // the session may end; if it stays, the message taught nothing
	Lost     Expect = "lost"     // the daemon waits for the rest of a message
	Any      Expect = "any"      // the session may end or stay, RFCs differ or leave it open
)

// Case is one message of the corpus.
type Case struct {
	Name    string // of its file
	Title   string
	Source  string
	Expect  Expect // by the RFCs
	Quirk   Expect // what happens instead, for the reason in quirks.go; empty: what should
	Message []byte
}

// Corpus returns every message, sorted by name.
func Corpus() ([]Case, error) {
	entries, err := files.ReadDir("corpus")
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, e := range entries {
		b, err := files.ReadFile(path.Join("corpus", e.Name()))
		if err != nil {
			return nil, err
		}
		c, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("corpus/%s: %w", e.Name(), err)
		}
		c.Name = strings.TrimSuffix(e.Name(), ".txt")
		out = append(out, c)
	}
	return out, nil
}

// parse reads a file of the corpus: a title, "source:" and "expect:", then the
// message in hexadecimal, comments behind "#". "quirk:" is what GoBGP does instead
// of what is expected. "message:" is all its octets;
// "body:" is what follows a correct header of the given "type:"; "withdrawn:",
// "attributes:" and "nlri:" are the parts of an UPDATE, whose lengths are filled
// in.
func parse(b []byte) (c Case, err error) {
	parts := map[string][]byte{}
	section, typ := "", rawbgp.Update
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line, comment, _ := strings.Cut(lines.Text(), "#")
		key, value, isKey := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case n == 1:
			c.Title = strings.TrimSpace(comment)
		case isKey && key == "source":
			c.Source = strings.TrimSpace(lines.Text()[len("source:"):]) // "#" belongs to it
		case isKey && key == "expect":
			c.Expect = Expect(value)
		case isKey && key == "quirk":
			c.Quirk = Expect(value)
		case isKey && key == "type":
			if typ, err = strconv.Atoi(value); err != nil {
				return c, fmt.Errorf("line %d: %w", n, err)
			}
		case isKey:
			section = key
			parts[section] = []byte{}
		default:
			octets, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
			if err != nil {
				return c, fmt.Errorf("line %d: %w", n, err)
			}
			parts[section] = append(parts[section], octets...)
		}
	}
	switch {
	case c.Title == "" || c.Source == "" || !slices.Contains([]Expect{Accept, Withdraw, Stay, Reset, Lost, Any}, c.Expect):
		return c, fmt.Errorf("title, source or a known expect is missing: %+v", c)
	case parts["message"] != nil:
		c.Message = parts["message"]
	case parts["body"] != nil:
		c.Message = rawbgp.Message(byte(typ), parts["body"]...)
	case parts["attributes"] != nil:
		c.Message = rawbgp.UpdateMessage(parts["withdrawn"], parts["attributes"], parts["nlri"])
	default:
		return c, fmt.Errorf("no message")
	}
	return c, nil
}
