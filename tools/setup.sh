#!/usr/bin/env bash
# Installs the Debian packages whose commands the end-to-end tests use, where they are missing. The lab installs what the
# cluster itself needs.
set -euo pipefail

missing=()
while read -r command package; do
	command -v "$command" >/dev/null || missing+=("$package")
done <<-'END'
	cc gcc
	ip iproute2
	arping iputils-arping
	ndisc6 ndisc6
	tcpdump tcpdump
	vtysh frr
	bird bird2
	promtool prometheus
END
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "Missing programs; install the packages that Debian calls: ${missing[*]}" >&2
	exit 1
fi
echo "Installing Debian packages: ${missing[*]}"
# Routers that come with a service are not to start on this machine (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get -q update && apt-get -qy install --no-install-recommends "${missing[@]}"; } >/dev/null || {
	echo "apt-get could not install ${missing[*]}: see its words above." >&2
	exit 1
}
