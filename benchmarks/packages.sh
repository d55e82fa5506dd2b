#!/bin/sh
# Installs the peers that the benchmarks compare with (Debian, as root). Says so in one line when it cannot.
set -eu
wanted=""
for pair in restic:restic borg:borgbackup dc3dd:dc3dd nginx:nginx-light openssl:openssl; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || wanted="$wanted ${pair##*:}"
done
[ -n "$wanted" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "absent peers, install them as root:$wanted" >&2
    exit 0
fi
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted >/dev/null 2>&1 ||
    echo "absent peers, apt-get could not install:$wanted" >&2
