package ha

import (
	"testing"
	"time"
)

func TestReloadWithoutChangeIsNoNews(t *testing.T) {
	w := newWorld(t, config(site("paris", 1, "10.1.0.0/16"), site("berlin", 2, "10.2.0.0/16")))
	w.session("paris", true)
	w.session("berlin", false)
	w.now = w.now.Add(time.Minute)
	w.c.Plan(w.now)
	w.c.Transitions()
	w.c.Reconfigure(w.now, config(site("paris", 1, "10.1.0.0/16"), site("berlin", 2, "10.2.0.0/16")))
	w.c.Plan(w.now)
	if got := w.c.Transitions(); len(got) > 0 {
		t.Errorf("transitions after a reload without change: got %+v, want none", got)
	}
}
