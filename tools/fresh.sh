#!/usr/bin/env bash
# Checks that what is generated fits its sources: generates all of it again in a copy of the tree, and compares. What git
# thinks of the files does not matter.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -R Makefile go.mod go.sum api config tools "$copy"
# Generated files are made from nothing, so that one whose source is gone is noticed.
find "$copy/api" -name 'zz_generated.*' -delete
rm -rf "$copy"/config/crd/bases/*.yaml "$copy"/config/manifests "$copy"/config/charts/herald/files "$copy"/config/charts/herald/charts/crds/templates
make -C "$copy" generate manifests chart >"$copy/log" 2>&1 || { cat "$copy/log" >&2; exit 1; }

stale=0
for folder in api config; do
	diff -rq "$folder" "$copy/$folder" | sed "s#$copy/#freshly generated #" || stale=1
done
if [ $stale = 1 ]; then
	echo "Generated files are stale: run make generate manifests chart." >&2
	exit 1
fi
echo "Generated files are fresh."
