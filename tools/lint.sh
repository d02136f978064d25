#!/usr/bin/env bash
# lint.sh run MODULE... reports what golangci-lint finds with .golangci.yml: go vet, its other linters, gofumpt's formatting.
# lint.sh fmt MODULE... formats.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

verb=$1
shift
failed=0
for module in "$@"; do
	echo "golangci-lint $verb in $module"
	(cd "$module" && go tool -modfile="$root/tools/lint/go.mod" golangci-lint "$verb" --config "$root/.golangci.yml" ./...) || failed=1
done
exit $failed
