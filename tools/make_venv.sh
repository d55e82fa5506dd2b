#!/usr/bin/env bash
# Makes or refreshes the virtual environment from a lock file with hashes. Usage: make_venv.sh FOLDER LOCK
set -euo pipefail
venv=$1 lock=$2
python=${PYTHON:-python3}
"$python" - <<'PY' || { echo "Python 3.11 ou plus récent est nécessaire (python3 --version)." >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY
if [ ! -x "$venv/bin/pip" ] && ! "$python" -m venv "$venv" >/dev/null 2>&1; then
  rm -rf "$venv"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installation de python3-venv…"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    "$python" -m venv "$venv"
  else
    echo "Tapez : sudo apt-get install -y python3-venv" >&2
    exit 1
  fi
fi
echo "Environnement $venv : paquets de $lock…"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$lock"
PYTHONWARNINGS=ignore "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>&1 | { grep -i error || true; }
