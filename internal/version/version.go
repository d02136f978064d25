// Package version says which Herald this is.
package version

import "fmt"

// Version and Commit are set by the linker (-X) in builds made by make.
var (
	Version = "devel"
	Commit  = "unknown"
)

// String gives the version as the log and the metrics show it: "v0.1.0 (commit 1a2b3c4)".
func String() string {
	return fmt.Sprintf("%s (commit %s)", Version, Commit)
}
