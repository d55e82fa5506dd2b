#!/usr/bin/env bash
# System programs the tests start themselves: installs what is missing as root on Debian, else says the line to type.
set -euo pipefail
declare -A program=(
  [chromium]=chromium [dosfstools]=/sbin/mkfs.fat [exfatprogs]=/sbin/mkfs.exfat [mtools]=mcopy [openssl]=openssl
  [redis-server]=redis-server [fonts-dejavu-core]=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
)
missing=()
for package in "${!program[@]}"; do
  command -v "${program[$package]}" >/dev/null || [ -e "${program[$package]}" ] || [ -e "/usr${program[$package]}" ] ||
    missing+=("$package")
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installation de : ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "Tapez : sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
