package api

// Restart is what a restart of the daemon would cost now.
type Restart struct {
	Schema  string `json:"schema"`
	Program string `json:"program"` // what would be started
	// Forwards says that packets go on while no process runs, because the kernel
	// has all tunnels.
	Forwards bool         `json:"forwards"`
	Keep     List[string] `json:"keep"`    // neighbors that keep what they were told: graceful restart
	Lose     List[string] `json:"lose"`    // neighbors that drop it
	Alone    int          `json:"alone"`   // prefixes that the latter then have from nobody
	Partner  string       `json:"partner"` // host of the fleet that takes over first; empty: none
	Refused  string       `json:"refused"` // why it is not done without force; empty: it is
}
