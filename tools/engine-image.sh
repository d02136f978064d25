#!/usr/bin/env bash
# Builds both images from the Dockerfile with docker or podman, where one answers: a client without an engine is common.
set -euo pipefail
cd "$(dirname "$0")/.."

repository=$1 version=$2 commit=$3

for engine in docker podman; do
	if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
		for name in controller speaker; do
			"$engine" build --target "$name" --tag "$repository/$name:$version" \
				--build-arg "VERSION=$version" --build-arg "COMMIT=$commit" .
		done
		exit
	fi
done
echo "No container engine answers: the archives in build/images are the images."
