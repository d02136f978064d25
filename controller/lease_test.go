package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var heldByFirst = resourcelock.LeaderElectionRecord{HolderIdentity: "first"}

func TestTheFenceOpensWithEachRenewalThatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newElection(t).replica("first")
		if err := r.lease.Create(t.Context(), heldByFirst); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(renewDeadline - 1)
			if !r.fence.passable() {
				t.Fatal("closed though the lease was renewed")
			}
			if err := r.lease.Update(t.Context(), heldByFirst); err != nil {
				t.Fatal(err)
			}
		}
		r.cut.Store(true)
		time.Sleep(renewDeadline - 1)
		if err := r.lease.Update(t.Context(), heldByFirst); err == nil {
			t.Fatal("stored though the API server is away")
		}
		time.Sleep(time.Nanosecond)
		if r.fence.passable() {
			t.Error("open though the last renewal failed")
		}
	})
}

func TestOnlyTheHolderLetsGoOfALease(t *testing.T) {
	e := newElection(t)
	first, second := e.replica("first"), e.replica("second")
	if err := first.lease.Create(t.Context(), heldByFirst); err != nil {
		t.Fatal(err)
	}
	holder := func() string {
		record, _, err := second.lease.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return record.HolderIdentity
	}
	if err := second.lease.release(t.Context()); err != nil || holder() != "first" {
		t.Errorf("let go of by another: %v, held by %q", err, holder())
	}
	first.cut.Store(true)
	if err := first.lease.release(t.Context()); err == nil || errors.Is(err, errFenced) || first.fence.passable() {
		t.Errorf("cut off: error %v, may write: %t", err, first.fence.passable())
	}
	first.cut.Store(false)
	if err := first.lease.release(t.Context()); err != nil || holder() != "" {
		t.Errorf("let go of by its holder: %v, held by %q", err, holder())
	}
}
