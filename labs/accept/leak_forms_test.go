package accept

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// planted is the name of a site, which stands in most outputs. It is searched for as
// if it were a secret: an output where it must be and is not found was not searched.
const planted = "tell-tale-5150"

// hidden are the secrets of a test, and every place that was looked for them in.
type hidden struct {
	secrets map[string]string // what it is: its text
	looked  int               // bytes
	told    map[string]bool   // the places where planted was found
}

// forms are the ways in which a secret could stand in an output: as it is, in hex,
// in base64 (of the text, at each of the three offsets in what surrounds it), and as
// Go prints arrays of bytes. Of a key that is base64 already, its bytes too.
func forms(text string) map[string]string {
	all := map[string]string{"plain": text}
	add := func(of string, b []byte) {
		all[of+" in hex"], all[of+" in HEX"] = hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))
		for shift := range 3 {
			coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), b...))
			// What the bytes before and after change is left out.
			coded = coded[(shift*8+5)/6 : len(coded)-2]
			all[fmt.Sprint(of, " in base64, offset ", shift)] = coded
			all[fmt.Sprint(of, " in base64url, offset ", shift)] = strings.NewReplacer("+", "-", "/", "_").Replace(coded)
		}
		all[of+" as decimal bytes"] = strings.Trim(fmt.Sprint(b[:8]), "[]")
		all[of+" as bytes of a traceback"] = fmt.Sprintf("0x%x, 0x%x, 0x%x, 0x%x, 0x%x", b[0], b[1], b[2], b[3], b[4])
	}
	add("text", []byte(text))
	if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == 32 {
		add("key", b)
		all["raw"] = string(b)
	}
	return all
}

// found says which secrets an output holds, and in which form.
func (h *hidden) found(output string) (leaks []string) {
	h.looked += len(output)
	for name, text := range h.secrets {
		for form, s := range forms(text) {
			if strings.Contains(output, s) {
				leaks = append(leaks, name+", "+form)
			}
		}
	}
	slices.Sort(leaks)
	return leaks
}

func (h *hidden) none(t *testing.T, where, output string) {
	t.Helper()
	leaks := h.found(output)
	if i := slices.Index(leaks, "planted, plain"); i >= 0 {
		h.told[where] = true
		leaks = slices.DeleteFunc(leaks, func(s string) bool { return strings.HasPrefix(s, "planted, ") })
	}
	if len(leaks) > 0 {
		t.Errorf("%s holds: %s", where, strings.Join(leaks, "; ")) // not the output
	}
}

// TestEachFormOfALeakIsFound: a search that finds nothing proves something only if
// it finds what is there.
func TestEachFormOfALeakIsFound(t *testing.T) {
	const password = "tower-of-babel-5"
	key, _ := newKey(t)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	h := &hidden{secrets: map[string]string{"password": password, "key": key}}
	if leaks := h.found("level=info msg=plan site=paris public-key=" + base64.StdEncoding.EncodeToString(make([]byte, 32))); len(leaks) > 0 {
		t.Errorf("found in what holds nothing: %q", leaks)
	}
	for name, output := range map[string]string{
		"log":          `level=info msg="login" password=` + password,
		"JSON":         `{"private-key":"` + key + `"}`,
		"UAPI":         "private_key=" + hex.EncodeToString(raw) + "\nlisten_port=1",
		"%X":           fmt.Sprintf("%X", raw),
		"%x of a text": fmt.Sprintf("%x", password),
		"%v of bytes":  fmt.Sprintf("%v", raw),
		"%v of a text": fmt.Sprint([]byte(password)),
		"a struct":     fmt.Sprintf("%v", struct{ b [32]byte }{[32]byte(raw)}),
		"bytes":        "\x00" + string(raw) + "\x00",
		"basic auth 0": base64.StdEncoding.EncodeToString([]byte(password + ":x")),
		"basic auth 1": base64.StdEncoding.EncodeToString([]byte("u" + password + "x")),
		"basic auth 2": base64.StdEncoding.EncodeToString([]byte("us" + password)),
		"a URL":        base64.URLEncoding.EncodeToString(append([]byte("ab"), raw...)),
		"a traceback":  fmt.Sprintf("main.f({0x%x, 0x%x, 0x%x, 0x%x, 0x%x, ...})", raw[0], raw[1], raw[2], raw[3], raw[4]),
	} {
		if len(h.found(output)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
