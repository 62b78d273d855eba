// Package fleet tells the other hosts of a fleet where peers were heard last, and
// hears it from them, for interfaces whose private key they share.
//
// It is UDP between the addresses of the fleet's BGP sessions, port wg.FleetPort at
// both ends. Every packet is sealed (AES-256-GCM) with a key that follows from the
// interface's private key (HKDF, RFC 5869): who can write one could as well be the
// interface itself, so that there is no secret more to keep, and a site, or whoever
// is on the way, can neither write nor read. A recorded packet is refused: it names
// the instance of the host it is for and has a number that only grows.
//
// Each host numbers its peers and tells changes in the order in which they
// happened, again until they are acknowledged, and four times a second one beat: a
// bit for every peer that was heard in its last poll, and what it has of the
// other's. Either end may restart: a new instance is told everything again. 10,000
// peers cost 5 KB/s per host, and 600 KB when one is new.
//
// What goes over the wire is in message.go and seal.go, what one host knows in
// book.go, the conversation with another in link.go: all without clock and socket.
// engine.go has both. Start reading at Engine.
package fleet
