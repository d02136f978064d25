package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// sends counts what gets past a fence.
type sends int

func (n *sends) RoundTrip(*http.Request) (*http.Response, error) {
	*n++
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestWritesPassWhileTheLeaseIsHeld(t *testing.T) {
	until := func(d time.Duration) func(*fence) {
		return func(f *fence) { f.openUntil(time.Now().Add(d)) }
	}
	for name, tc := range map[string]struct {
		method string
		set    func(*fence)
		later  time.Duration
		passes bool
	}{
		"before any lease nothing is written":      {http.MethodPatch, func(*fence) {}, 0, false},
		"but read":                                 {http.MethodGet, func(*fence) {}, 0, true},
		"while it is held":                         {http.MethodPatch, until(renewDeadline), renewDeadline - 1, true},
		"not a moment after, as who was frozen":    {http.MethodPatch, until(renewDeadline), renewDeadline, false},
		"not an update either":                     {http.MethodPut, until(renewDeadline), time.Hour, false},
		"nor a creation":                           {http.MethodPost, until(renewDeadline), time.Hour, false},
		"nor a deletion":                           {http.MethodDelete, until(renewDeadline), time.Hour, false},
		"reading goes on":                          {http.MethodGet, until(renewDeadline), time.Hour, true},
		"without a lease to hold, always":          {http.MethodPatch, (*fence).open, time.Hour, true},
		"until there is one":                       {http.MethodPatch, func(f *fence) { f.open(); f.openUntil(time.Time{}) }, 0, false},
		"a renewal counts from when it was sent":   {http.MethodPatch, until(-renewDeadline), 0, false},
		"who lets go of the lease writes no more":  {http.MethodPatch, func(f *fence) { until(time.Hour)(f); f.openUntil(time.Time{}) }, 0, false},
		"a lease that is taken anew opens it anew": {http.MethodPatch, func(f *fence) { f.openUntil(time.Time{}); until(1)(f) }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f fence
				var sent sends
				tc.set(&f)
				time.Sleep(tc.later)
				response, err := fenced{&f, &sent}.RoundTrip(httptest.NewRequestWithContext(t.Context(), tc.method, "http://api.invalid/", nil))
				if err == nil {
					response.Body.Close()
				}
				if passed := sent == 1; passed != tc.passes || errors.Is(err, errFenced) == tc.passes {
					t.Errorf("passed: %t with error %v, want %t", passed, err, tc.passes)
				}
			})
		})
	}
}
