package wg

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
)

// KeyLen is the length of every WireGuard key in bytes (Curve25519).
const KeyLen = 32

// Key is a public key. It may be printed.
type Key [KeyLen]byte

// ParseKey reads the base64 form that wg(8) prints.
func ParseKey(s string) (Key, error) {
	b, err := parse(s)
	return Key(b), err
}

func parse(s string) ([KeyLen]byte, error) {
	var k [KeyLen]byte
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != KeyLen {
		// The text is not repeated: it may be a private key in the wrong place.
		return k, fmt.Errorf("not a WireGuard key: want 44 characters of base64 for %d bytes", KeyLen)
	}
	copy(k[:], b)
	return k, nil
}

// String is the base64 form of wg(8).
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText makes keys usable as JSON values and map keys.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(b []byte) error {
	p, err := ParseKey(string(b))
	if err != nil {
		return err
	}
	*k = p
	return nil
}

// IsZero reports whether the key is unset.
func (k Key) IsZero() bool { return k == Key{} }

// Compare orders keys by their bytes.
func (k Key) Compare(o Key) int { return bytes.Compare(k[:], o[:]) }

const redacted = "[redacted]"

// secret holds key bytes that no formatter prints.
type secret struct{ b [KeyLen]byte }

func (s secret) String() string               { return redacted }
func (s secret) GoString() string             { return redacted }
func (s secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// IsZero reports whether the key is unset.
func (s secret) IsZero() bool { return s.b == [KeyLen]byte{} }

// Reveal returns the raw bytes, for the edge that hands them to WireGuard.
func (s secret) Reveal() [KeyLen]byte { return s.b }

// PrivateKey is a device's private key. Every formatter redacts it.
type PrivateKey struct{ secret }

// PresharedKey is a peer's preshared key. Every formatter redacts it.
type PresharedKey struct{ secret }

// ParsePrivateKey reads the base64 form. Errors never repeat the input.
func ParsePrivateKey(s string) (PrivateKey, error) {
	b, err := parse(s)
	return PrivateKey{secret{b}}, err
}

// ParsePresharedKey reads the base64 form. Errors never repeat the input.
func ParsePresharedKey(s string) (PresharedKey, error) {
	b, err := parse(s)
	return PresharedKey{secret{b}}, err
}

// NewPrivateKey wraps raw bytes; they are clamped as wg genkey does.
func NewPrivateKey(b [KeyLen]byte) PrivateKey {
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return PrivateKey{secret{b}}
}

// Public computes the public key.
func (k PrivateKey) Public() Key {
	p, err := ecdh.X25519().NewPrivateKey(k.b[:])
	if err != nil {
		return Key{} // only the all-zero key fails, and it has no public half
	}
	return Key(p.PublicKey().Bytes())
}

// NewPresharedKey wraps raw bytes; all zero means none.
func NewPresharedKey(b [KeyLen]byte) PresharedKey { return PresharedKey{secret{b}} }
