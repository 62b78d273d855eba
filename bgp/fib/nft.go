package fib

import "log/slog"

type nft struct{}

func newNFT(*slog.Logger) (*nft, error) { return &nft{}, nil }
func (n *nft) close() error             { return nil }
func (n *nft) drain() error             { return nil }
