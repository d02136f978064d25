package main

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestNobodyJoinsOutsideOfATerm(t *testing.T) {
	var tm term
	if _, _, ok := tm.join(t.Context()); ok {
		t.Error("joined before it has begun")
	}
	ctx, stop := context.WithCancel(t.Context())
	tm.begin(ctx)
	_, leave, ok := tm.join(t.Context())
	if !ok {
		t.Fatal("not joined in a term")
	}
	leave()
	stop()
	if _, _, ok := tm.join(t.Context()); ok {
		t.Error("joined when it was about to end")
	}
	tm.end()
	if _, _, ok := tm.join(t.Context()); ok {
		t.Error("joined when it has ended")
	}
}

func TestATermEndsWhenAllHaveLeftWhomItsEndHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tm term
		ctx, stop := context.WithCancel(t.Context())
		tm.begin(ctx)
		joined, leave, _ := tm.join(t.Context())
		ended := false
		go func() { <-ctx.Done(); tm.end(); ended = true }()

		synctest.Wait()
		if joined.Err() != nil {
			t.Error("stopped before the end")
		}
		stop()
		synctest.Wait()
		if joined.Err() == nil {
			t.Error("not stopped at the end")
		}
		if ended {
			t.Error("ended while somebody was at work")
		}
		leave()
		synctest.Wait()
		if !ended {
			t.Error("not ended when nobody was left")
		}
	})
}
