package api_test

import (
	"fmt"
	"testing"

	"github.com/wgbgp/wgbgp/internal/api"
)

// drain lists what waits in a subscription as "seq kind".
func drain(s *api.Subscription) []string {
	var out []string
	for {
		select {
		case e, ok := <-s.C:
			if !ok {
				return append(out, "closed")
			}
			out = append(out, fmt.Sprintf("%d %s%s", e.Seq, e.Kind, e.Reason))
		default:
			return out
		}
	}
}

func TestSubscriptionGoesOnWhereTheReaderStopped(t *testing.T) {
	l := api.NewEventLog(3)
	var boot string
	for range 5 {
		boot = l.Publish(api.Event{Kind: api.EventUp}).Boot
	}
	for _, tt := range []struct {
		name  string
		boot  string
		since uint64
		want  string
	}{
		{"new ones only", "", 0, "[]"},
		{"nothing missed", boot, 5, "[]"},
		{"all still there", boot, 2, "[3 up 4 up 5 up]"},
		{"some gone", boot, 1, "[2 lostoverflow 3 up 4 up 5 up]"},
		{"from the beginning", boot, 0, "[2 lostoverflow 3 up 4 up 5 up]"},
		{"another life", "0123", 4, "[2 lostrestart 3 up 4 up 5 up]"},
		{"by number only", "", 4, "[5 up]"},
		{"from the future", boot, 9, "[]"},
	} {
		s := l.Subscribe(tt.boot, tt.since)
		if got := fmt.Sprint(drain(s)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		s.Close()
		s.Close() // twice does no harm
	}
}

func TestReaderBehindIsClosedAndOthersGoOn(t *testing.T) {
	l := api.NewEventLog(4)
	slow, fast := l.Subscribe("", 0), l.Subscribe("", 0)
	n := 0
	for range 3000 {
		l.Publish(api.Event{Kind: api.EventUp})
		<-fast.C
		n++
	}
	if !slow.Lagged() || fast.Lagged() || n != 3000 {
		t.Errorf("got slow lagged %v, fast lagged %v, %d events; want true, false, 3000", slow.Lagged(), fast.Lagged(), n)
	}
}
