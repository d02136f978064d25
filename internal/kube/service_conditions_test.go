package kube_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

var (
	longAgo = metav1.NewTime(time.Date(2026, 7, 20, 9, 0, 0, 0, time.UTC))
	theirs  = metav1.Condition{Type: "example.com/Theirs", Status: metav1.ConditionTrue, Reason: "Theirs", LastTransitionTime: longAgo}
	dark    = metav1.Condition{Type: "metallb.io/Announced", Status: metav1.ConditionFalse, Reason: "NoEndpoints", Message: "none", LastTransitionTime: longAgo}
)

// showing is a Service with these conditions.
func showing(conditions ...metav1.Condition) *corev1.Service {
	svc := version("4711", "100")
	svc.Status.Conditions = conditions
	return svc
}

func TestConditionsOfAService(t *testing.T) {
	for name, tc := range map[string]struct {
		want    kube.Condition
		says    bool
		written string
	}{
		"one that is there already": {
			kube.Condition{Type: kube.Announced, Status: metav1.ConditionFalse, Reason: lb.NoEndpoints, Message: "none"}, true, "",
		},
		"one whose status stays was there as long as before": {
			kube.Condition{Type: kube.Announced, Status: metav1.ConditionFalse, Reason: lb.NoPool, Message: "x"},
			false,
			`{"type":"metallb.io/Announced","status":"False","lastTransitionTime":"2026-07-20T09:00:00Z","reason":"NoMatchingPool","message":"x"}`,
		},
		"one that should not be there":             {kube.Condition{Type: kube.Announced}, false, ""},
		"one that is not there, and should not be": {kube.Condition{Type: kube.AddressAssigned}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			svc := showing(theirs, dark)
			if got := kube.Says(svc, []kube.Condition{tc.want}); got != tc.says {
				t.Fatalf("it is said already: %t", got)
			}
			if tc.says {
				return
			}
			c, seen := apiServer(t, http.StatusOK)
			stored, err := kube.WriteConditions(t.Context(), c, svc, []kube.Condition{tc.want})
			if err != nil {
				t.Fatal(err)
			}
			conditions := `{"type":"example.com/Theirs","status":"True","lastTransitionTime":"2026-07-20T09:00:00Z","reason":"Theirs","message":""}`
			if tc.written != "" {
				conditions += "," + tc.written
			}
			want := []request{{
				"PATCH", "/api/v1/namespaces/default/services/web/status", "application/merge-patch+json",
				`{"metadata":{"resourceVersion":"100","uid":"4711"},"status":{"conditions":[` + conditions + `]}}`,
			}}
			if diff := cmp.Diff(want, *seen); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if !kube.Says(stored, []kube.Condition{tc.want}) {
				t.Errorf("stored are %v", stored.Status.Conditions)
			}
		})
	}
}

func TestAConditionWhoseStatusChangesBeginsAnew(t *testing.T) {
	c, _ := apiServer(t, http.StatusForbidden, http.StatusOK)
	svc := showing(theirs, dark)
	begin := time.Now().Truncate(time.Second)
	stored, err := kube.WriteConditions(t.Context(), c, svc, []kube.Condition{
		{Type: kube.Announced, Status: metav1.ConditionTrue, Reason: lb.Announced}, {Type: kube.AddressAssigned, Status: metav1.ConditionFalse, Reason: lb.NotEnoughClusterIPs},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []metav1.Condition{
		theirs, {Type: "metallb.io/Announced", Status: "True", Reason: "Announced"}, {Type: "metallb.io/AddressAssigned", Status: "False", Reason: "NotEnoughClusterips"},
	}
	got := stored.Status.Conditions
	if diff := cmp.Diff(want[1:], got[1:], cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if !got[0].LastTransitionTime.Equal(&longAgo) || got[1].LastTransitionTime.Time.Before(begin) {
		t.Errorf("they have been so since %v", got)
	}
}

func TestAnAssignmentTakesItsConditionsAlong(t *testing.T) {
	c, seen := apiServer(t, http.StatusOK)
	a := kube.Assignment{Addresses: addrs("192.0.2.7"), Pool: "blue", Conditions: []kube.Condition{{Type: kube.Announced}}}
	if _, err := a.Write(t.Context(), c, showing(theirs, dark)); err != nil {
		t.Fatal(err)
	}
	if len(*seen) != 1 || !strings.Contains((*seen)[0].Body, `"conditions":[{"type":"example.com/Theirs",`) || strings.Contains((*seen)[0].Body, "Announced") {
		t.Errorf("requests %v", *seen)
	}
}

func TestCreationIsNeverTakenForEarlierThanItWas(t *testing.T) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: longAgo}}
	for seen, want := range map[time.Duration]time.Duration{
		300 * time.Millisecond: 300 * time.Millisecond, // some time before, in the same second
		time.Minute:            time.Second,
	} {
		if got := kube.Created(svc, longAgo.Add(seen)); !got.Equal(longAgo.Add(want)) {
			t.Errorf("seen after %s, it was created at %s", seen, got)
		}
	}
}
