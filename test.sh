#!/usr/bin/env bash
# Set fiberloom up in .venv with its development tools, then run every check: format, lint, types, imports, tests.
# --with-torch, as first argument, also installs PyTorch and transformers, whose tests are skipped without them.
# Other arguments go to pytest, e.g. ./test.sh -m slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bash .ci/environment dev
if [ "${1:-}" = --with-torch ]; then
  shift
  bash .ci/environment dev torch || echo "PyTorch could not be installed: its tests are skipped" >&2
fi
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
