#!/usr/bin/env bash
# Runs every fuzz target of every module for the given time each: go test -fuzz takes one target of one package at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# targets lists the module's fuzz targets, "PACKAGE TARGET" a line. go test -list prints those of a package above a line
# "ok PACKAGE TIME".
targets() {
	go test -list '^Fuzz' ./... | awk '
		/^Fuzz/ { targets[n++] = $1 }
		/^ok/ { for (i = 0; i < n; i++) print $2, targets[i]; n = 0 }
	'
}

# fuzz runs one target. Before Go 1.27 the end of the time itself can be reported as a failure, with these words and no
# failing input: https://go.dev/issue/75804.
fuzz() {
	echo "fuzz $2 in $1 for $fuzztime"
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" </dev/null 2>&1 | tee "$log" && return
	grep -qx '    context deadline exceeded' "$log" && ! grep -qi 'failing input\|panic:' "$log"
}

for module in . e2e; do
	(
		cd "$module"
		targets | while read -r package target; do fuzz "$package" "$target"; done
	)
done
