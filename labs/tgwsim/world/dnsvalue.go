package world

import (
	"net/netip"
	"regexp"
)

// characterStrings is the value of a TXT record: strings in quotation marks, of
// 255 characters each at most [R53-TYPES].
var characterStrings = regexp.MustCompile(`^"(?:[^"\\]|\\.){0,255}"(?:\s+"(?:[^"\\]|\\.){0,255}")*$`)

// mostValue is the longest value of a record [API, ResourceRecord].
const mostValue = 4000

// value says what is wrong with the values of a record of a type that is checked:
// A, AAAA and TXT. The sentences are Route 53's as reports show them, those of
// AAAA and of length assumed.
func value(r Record) string {
	bad := func(problem, v string) string {
		return "Invalid Resource Record: 'FATAL problem: " + problem + " encountered with '" + v + "''"
	}
	for _, v := range r.Values {
		a, err := netip.ParseAddr(v)
		switch {
		case len(v) > mostValue:
			return bad("ValueTooLong (Value is too long)", v[:20])
		case r.Type == "A" && (err != nil || !a.Is4()):
			return bad("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)", v)
		case r.Type == "AAAA" && (err != nil || !a.Is6()):
			return bad("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)", v)
		case r.Type == "TXT" && !characterStrings.MatchString(v):
			return bad("InvalidCharacterString (Value should be enclosed in quotation marks)", v)
		}
	}
	return ""
}
