#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Each public header compiles alone, and twice in a row, as C11 and as C++11,
# from a folder that holds nothing but the public headers, as they are installed.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

mkdir "$work/include"
public_headers | xargs -I{} cp {} "$work/include"

compile() {
    local language=$1 standard=$2 compiler=$3 header=$4
    printf '#include "%s"\n#include "%s"\nextern int unused;\n' "$header" "$header" |
        "$compiler" -x "$language" "-std=$standard" -Wall -Wextra -Wpedantic -Wshadow -Werror \
            -fsyntax-only -I "$work/include" - 2>&1 | head -n 20 || true
}

for path in $(public_headers); do
    header=$(basename "$path")
    compile c c11 "$CC" "$header" >"$work/faults"
    verdict "$path alone in C11" "$work/faults"
    compile c++ c++11 "$CXX" "$header" >"$work/faults"
    verdict "$path alone in C++" "$work/faults"
done

finish
