# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced by the check scripts. A check prints one line for each thing that it
# looked at, `ok - NAME` or `not ok - NAME`, with what is wrong before it as
# `# ...` lines, as the test programs do; tests/check_all.sh adds them up.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

CC=${CC:-gcc}
CXX=${CXX:-g++}
MAKE=${MAKE:-make}
failures=0

work=$(mktemp -d "${TMPDIR:-/tmp}/specdec-check-XXXXXX")
trap 'rm -rf "$work"' EXIT

ok() { echo "ok - $1"; }

not_ok() {
    echo "not ok - $1"
    failures=$((failures + 1))
}

# verdict NAME FILE: fine when FILE, the list of faults, is empty.
verdict() {
    if [ -s "$2" ]; then
        sed 's/^/#   /' "$2"
        not_ok "$1"
    else
        ok "$1"
    fi
}

# A check that looked at nothing has not passed.
require() {
    if [ ! -e "$1" ]; then
        echo "#   $1 is not there"
        not_ok "$2"
        exit 1
    fi
}

# The library's folders that exist, and its public headers.
library_dirs() {
    local d
    for d in suffix_tree draft draft/heads verify verify/tensor verify/target; do
        if [ -d "$d" ]; then echo "$d"; fi
    done
}

# Every source of the project, by its path from the root.
project_sources() {
    local d
    find . -maxdepth 1 -name '*.[ch]' | sed 's|^\./||'
    for d in suffix_tree draft verify bench tests examples; do
        if [ -d "$d" ]; then find "$d" -name '*.[ch]'; fi
    done | sort
}

public_headers() {
    echo specdec.h
    library_dirs | while read -r d; do find "$d" -maxdepth 1 -name 'spec_*.h'; done | sort
}

finish() { [ "$failures" = 0 ]; }
