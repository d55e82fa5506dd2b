#!/usr/bin/env bash
# Writes requirements.lock and requirements-dev.lock: names, versions, hashes; no addresses. Usage: lock.sh BIN
set -euo pipefail
compile() {
  "$1/pip-compile" --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
    --no-header --no-annotate --strip-extras --allow-unsafe "${@:2}" pyproject.toml
}
compile "$1" --output-file requirements.lock
compile "$1" --extra dev --constraint requirements.lock --output-file requirements-dev.lock
! grep -nE 'https?://|file://' requirements*.lock
