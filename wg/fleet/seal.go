package fleet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"

	"github.com/wgbgp/wgbgp/wg"
)

// magic begins every packet; its digit is the version.
const magic = "wgF1"

const idLen = 8

// id tells which key a packet is sealed with, without saying anything about it.
type id [idLen]byte

// seal makes and opens packets of one private key.
type seal struct {
	id   id
	aead cipher.AEAD
}

func newSeal(k wg.PrivateKey) (*seal, error) {
	secret := k.Reveal()
	b, err := hkdf.Key(sha256.New, secret[:], nil, "wgbgp fleet 1", 32+idLen)
	clear(secret[:])
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(b[:32])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	s := &seal{id: id(b[32:]), aead: aead}
	clear(b)
	return s, nil
}

// close returns a packet that holds plain.
func (s *seal) close(plain []byte) []byte {
	head := append([]byte(magic), s.id[:]...)
	return append(head, s.aead.Seal(nil, nil, plain, head)...)
}

var errForged = errors.New("not sealed with this key")

// open returns what a packet holds.
func (s *seal) open(packet []byte) ([]byte, error) {
	of, ok := sealedFor(packet)
	if !ok || of != s.id {
		return nil, errForged
	}
	n := len(magic) + idLen
	plain, err := s.aead.Open(nil, nil, packet[n:], packet[:n])
	if err != nil {
		return nil, errForged
	}
	return plain, nil
}

// sealedFor reads whose key a packet claims.
func sealedFor(packet []byte) (id, bool) {
	if len(packet) < len(magic)+idLen || !bytes.HasPrefix(packet, []byte(magic)) {
		return id{}, false
	}
	return id(packet[len(magic):][:idLen]), true
}
