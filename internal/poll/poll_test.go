package poll

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const soon = 10 * time.Second // for what should take microseconds

func waiter(t *testing.T) *Waiter {
	t.Helper()
	w, err := NewWaiter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// pipe is a descriptor that becomes readable by a call of the function.
func pipe(t *testing.T) (fd int, write func()) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(p[0]), unix.Close(p[1]) })
	return p[0], func() {
		if _, err := unix.Write(p[1], []byte{1}); err != nil {
			t.Error(err)
		}
	}
}

// wait fails the test unless the wait ends well before its deadline, or at it.
func wait(t *testing.T, w *Waiter, deadline time.Time) []unix.EpollEvent {
	t.Helper()
	events, err := w.Wait(deadline)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestWaitReturnsWhatIsReady(t *testing.T) {
	w := waiter(t)
	fd, write := pipe(t)
	if err := w.Add(fd, unix.EPOLLIN, 42, 7); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Millisecond, write)
	events := wait(t, w, time.Now().Add(soon))
	if len(events) != 1 || events[0].Fd != 42 || events[0].Pad != 7 {
		t.Errorf("got %+v, want the one event of the pipe", events)
	}
	if again, err := w.Ready(); err != nil || len(again) != 1 {
		t.Errorf("what was not read is not ready any more: %+v, %v", again, err)
	}
}

func TestWaitEndsAtItsDeadline(t *testing.T) {
	w := waiter(t)
	for _, d := range []time.Duration{-time.Second, 0, 20 * time.Millisecond} {
		begin := time.Now()
		if events := wait(t, w, begin.Add(d)); len(events) != 0 || time.Since(begin) < d || time.Since(begin) > soon {
			t.Errorf("deadline in %s: got %+v after %s", d, events, time.Since(begin))
		}
	}
}

// A wake-up that comes first ends the next wait, and only that one.
func TestWakeEndsOneWait(t *testing.T) {
	w := waiter(t)
	for _, when := range []string{"before", "during"} {
		if when == "before" {
			w.Wake()
		} else {
			time.AfterFunc(time.Millisecond, w.Wake)
		}
		begin := time.Now()
		if events := wait(t, w, begin.Add(soon)); len(events) != 0 || time.Since(begin) >= soon {
			t.Errorf("woken %s the wait: got %+v after %s", when, events, time.Since(begin))
		}
	}
	begin := time.Now()
	if wait(t, w, begin.Add(20*time.Millisecond)); time.Since(begin) < 20*time.Millisecond {
		t.Error("one wake-up has ended two waits")
	}
}

// The descriptors that an event names are the caller's own, so none is taken for a
// wake-up.
func TestNoEventOfACallerIsTakenForAWakeUp(t *testing.T) {
	w := waiter(t)
	fd, write := pipe(t)
	if err := w.Add(fd, unix.EPOLLIN, int32(w.event), 0); err != nil {
		t.Fatal(err)
	}
	write()
	w.Wake()
	if events := wait(t, w, time.Now().Add(soon)); len(events) != 1 || events[0].Fd != int32(w.event) {
		t.Errorf("got %+v, want the event of the pipe", events)
	}
}

func TestOneShotIsArmedAnew(t *testing.T) {
	w := waiter(t)
	inner, err := NewSet()
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	fd, write := pipe(t)
	if err := errors.Join(inner.Add(fd, unix.EPOLLIN, 0, 0), w.Add(inner.FD(), unix.EPOLLIN|unix.EPOLLONESHOT, 0, 0)); err != nil {
		t.Fatal(err)
	}
	write()
	if n := len(wait(t, w, time.Now().Add(soon))); n != 1 {
		t.Fatalf("%d events, want 1", n)
	}
	if n := len(wait(t, w, time.Now().Add(10*time.Millisecond))); n != 0 {
		t.Fatalf("%d events although it is not armed", n)
	}
	if err := w.Arm(inner.FD(), unix.EPOLLIN|unix.EPOLLONESHOT, 0, 0); err != nil {
		t.Fatal(err)
	}
	if n := len(wait(t, w, time.Now().Add(soon))); n != 1 {
		t.Errorf("armed anew: %d events, want 1", n)
	}
}

func TestMailboxKeepsTheLatestSet(t *testing.T) {
	var m Mailbox[int]
	if _, ok := m.take(); ok {
		t.Error("something was taken before anything was put")
	}
	set := []int{1, 2}
	for _, step := range []struct {
		what string
		gen  uint64
		set  []int
		new  bool
	}{
		{"the first", 1, set, true},
		{"the same slice", 2, set, false},
		{"an older one", 1, []int{3}, false},
		{"an equal one", 3, slices.Clone(set), true},
		{"an empty one", 4, []int{}, true},
		{"an empty one again", 5, []int{}, false},
	} {
		m.Put(step.gen, step.set)
		got, ok := m.take()
		if ok != step.new || ok && !slices.Equal(got, step.set) {
			t.Errorf("%s: got %v, new %t, want %v, new %t", step.what, got, ok, step.set, step.new)
		}
	}
}

func TestMailboxWakesTheEngineAndEndsIt(t *testing.T) {
	var m Mailbox[int]
	w := waiter(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan int)
	var ended sync.WaitGroup
	ended.Go(func() {
		err := m.Run(ctx, w, func(set []int) { got <- len(set) }, func() error {
			_, err := w.Wait(time.Time{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	for n := 1; n < 4; n++ {
		m.Put(uint64(n), make([]int, n))
		select {
		case k := <-got:
			if k != n {
				t.Errorf("got %d things, want %d", k, n)
			}
		case <-time.After(soon):
			t.Fatalf("the engine was not woken for set %d", n)
		}
	}
	cancel()
	ended.Wait()
	m.Put(9, make([]int, 9)) // nobody is there to be woken
}

func TestMailboxEndsWithTheTurnThatFails(t *testing.T) {
	var m Mailbox[int]
	failure := errors.New("no more")
	if err := m.Run(t.Context(), waiter(t), func([]int) {}, func() error { return failure }); err != failure {
		t.Errorf("got %v, want %v", err, failure)
	}
}
