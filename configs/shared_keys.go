package configs

// SharedKeys says of every WireGuard interface whether other hosts have its private
// key too (shared-key).
func (c *Config) SharedKeys() map[string]bool {
	out := map[string]bool{}
	if c.doc == nil {
		return out
	}
	for name, w := range c.doc.WireGuard {
		out[name] = w.SharedKey
	}
	return out
}
