#!/usr/bin/env bash
# Set fiberloom up in .venv, then compare published sparse designs on a ResNet-50 layer and a transformer GEMM.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bash .ci/environment
exec "${VENV:-.venv}/bin/fiberloom" demo "$@"
