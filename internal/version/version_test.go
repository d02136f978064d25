package version

import "testing"

func TestStringNamesVersionAndCommit(t *testing.T) {
	want := Version + " (commit " + Commit + ")"
	if got := String(); got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}
