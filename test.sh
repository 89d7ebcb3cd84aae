#!/usr/bin/env bash
# Set fiberloom up in .venv with its development tools, then run every check: format, lint, types, imports, tests.
# --with-torch and --with-ray, as first arguments, also install PyTorch with what builds on it, and Ray; their tests are
# skipped without them.
# Other arguments go to pytest, e.g. ./test.sh -m slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bash .ci/environment dev
while [[ "${1:-}" == --with-* ]]; do
  group="${1#--with-}" && shift
  bash .ci/environment dev "$group" || echo "what requirements-$group.lock lists could not be installed: its tests are skipped" >&2
done
bin="${VENV:-.venv}/bin"
failed=()
check() {
  echo "── $1" && shift
  "$@" || failed+=("$1 ${2:-}")
}
check "ruff format" "$bin/ruff" format --check --quiet .
check "ruff" "$bin/ruff" check --quiet .
check "mypy --strict" "$bin/mypy"
check "imports" "$bin/lint-imports" --no-logo
check "pytest" "$bin/python" -m pytest -q "$@"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all checks passed"
