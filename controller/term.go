package main

import (
	"context"
	"sync"
)

// term is the time in which this replica leads: from begin to end, and not before or
// after. The zero term has not begun.
type term struct {
	mu sync.Mutex
	// ctx ends when the term is about to; it is nil outside of one.
	ctx    context.Context
	joined sync.WaitGroup
}

func (t *term) begin(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx = ctx
}

// end returns when all who joined have left.
func (t *term) end() {
	t.mu.Lock()
	t.ctx = nil
	t.mu.Unlock()
	t.joined.Wait()
}

// join returns a context that ends with ctx and with the term, and what to call when done;
// or it reports that there is no term to join.
func (t *term) join(ctx context.Context) (joined context.Context, leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx == nil || t.ctx.Err() != nil {
		return nil, nil, false
	}
	t.joined.Add(1)
	joined, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(t.ctx, cancel)
	return joined, func() {
		unhook()
		cancel()
		t.joined.Done()
	}, true
}
