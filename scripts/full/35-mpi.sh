#!/usr/bin/env bash
# The collectives' tests over real MPI on 1 to 8 ranks, with both ways of progress, and messages that do not match; RANKS="1 2 3" takes fewer.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${LOCKSTEP:?the program to test}"
command -v mpirun >/dev/null || {
  echo "no mpirun: install openmpi-bin to test the collectives over MPI" >&2
  exit 69
}
read -ra ranks <<<"${RANKS:-1 2 3 4 5 6 7 8}"
cluster/check-mpi --bundle "$(dirname "$LOCKSTEP")/lockstepPackageTests.xctest" "${ranks[@]}"
