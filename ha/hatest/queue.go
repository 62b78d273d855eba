package hatest

import (
	"container/heap"
	"time"
)

// queue is what will happen, soonest first, and of what happens at one instant in
// the order in which it was put.
type queue struct {
	events []event
	seq    uint64
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

func (q *queue) put(at time.Duration, do func()) {
	q.seq++
	heap.Push(q, event{at, q.seq, do})
}

func (q *queue) next() event { return heap.Pop(q).(event) }

// Len, Less, Swap, Push and Pop are heap.Interface.
func (q *queue) Len() int { return len(q.events) }

func (q *queue) Less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }

func (q *queue) Push(x any) { q.events = append(q.events, x.(event)) }

func (q *queue) Pop() any {
	n := len(q.events) - 1
	e := q.events[n]
	q.events[n] = event{}
	q.events = q.events[:n]
	return e
}
