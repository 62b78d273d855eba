package hostile

import (
	"bytes"
	"testing"
)

// What a file expects and what the judge makes of it are two opinions of two
// hands; where they differ, one is wrong.
func TestJudgeAgreesWithTheCorpus(t *testing.T) {
	corpus, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range corpus {
		j := Judge(c.Message)
		switch {
		case c.Name == "as-path-first-as" || c.Name == "next-hop-own-address": // import policy's affair, not RFC 7606's
			if j.Expect != Accept {
				t.Errorf("%s: judged %q (%s), want %q", c.Name, j.Expect, j.Why, Accept)
			}
		case j.Expect == c.Expect, c.Expect == Any:
		default:
			t.Errorf("%s: judged %q (%s), the file expects %q", c.Name, j.Expect, j.Why, c.Expect)
		}
	}
}

func TestSameSeedSameMessages(t *testing.T) {
	corpus, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	a, b, other := NewMutator(1, corpus), NewMutator(1, corpus), NewMutator(2, corpus)
	differ := 0
	for range 200 {
		m := a.Next()
		if n := b.Next(); !bytes.Equal(m, n) {
			t.Fatalf("same seed: got %x and %x", m, n)
		}
		if !bytes.Equal(m, other.Next()) {
			differ++
		}
	}
	if differ < 150 {
		t.Errorf("another seed: %d of 200 messages differ, want most", differ)
	}
}
