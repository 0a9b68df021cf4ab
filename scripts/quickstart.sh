#!/usr/bin/env bash
# From a fresh clone to a picture that two MPI ranks have reconstructed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install-deps.sh
source ./scripts/env.sh

echo "Building (a few minutes the first time) ..."
cargo build --release
./launch/local.sh -n 2 -- demo --out out/demo

cat <<'NEXT'

The picture is out/demo/x.png, its convergence out/demo/convergence.png; all numbers are in out/demo/report.json.
Next, a real scan:
    scripts/get-data.sh
    launch/local.sh -n 2 -- run configs/tooth.toml
NEXT
