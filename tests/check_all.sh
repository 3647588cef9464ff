#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/check_all.sh [plain|asan|tsan|scripts]...: the whole of `make check`, or
# some parts of it. Every part runs even when an earlier one failed. The last
# line is the sum; the exit status is 1 when anything failed.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C CC=${CC:-gcc} CXX=${CXX:-g++} MAKE=${MAKE:-make}
export JOBS=${JOBS:-$(nproc)}

logs=build/check
passed=0 failed=0 skipped=0
built=

add() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# Inside a `make -jN` the job server already shares the work out.
parallel=()
case " ${MAKEFLAGS:-} " in
*jobserver*) ;;
*) parallel=("-j$JOBS") ;;
esac

submake() { "$MAKE" --no-print-directory "${parallel[@]}" "CC=$CC" WERROR=1 "$@"; }

# build VARIANT TARGET...: counts as a failure when it does not. Once for each variant.
build() {
    local variant=$1
    case $built in *" $variant "*) return ;; esac
    built="$built $variant "
    shift
    if submake -k "VARIANT=$variant" "$@" >"$logs/build-$variant.log" 2>&1; then return; fi
    grep -v '^  [A-Z][A-Z] ' "$logs/build-$variant.log" | head -n 60 || true
    echo "  the $variant build failed"
    add 0 1 0
}

# programs VARIANT LIST: runs the programs of that list in the Makefile.
programs() {
    local variant=$1 list out
    list=$(submake "VARIANT=$variant" "print-$2")
    out=$(submake "VARIANT=$variant" print-OUT)
    rm -rf "${logs:?}/$variant"
    if [ -z "${list// /}" ]; then
        echo "  there are no programs in $2"
        add 0 1 0
        return
    fi
    # shellcheck disable=SC2086
    tests/check_tests.sh "$out" "$logs/$variant" $list
    local p f s
    read -r p f s < <(cat "$logs/$variant"/*.line |
        awk '$3 == "passed" { p += $2; f += $4; s += $6 } END { print p + 0, f + 0, s + 0 }')
    add "$p" "$f" "$s"
}

# script NAME ARGUMENT...: runs a check script and adds up its lines.
script() {
    local log=$logs/$1.log status=0 p f
    "tests/check_$1.sh" "${@:2}" >"$log" 2>&1 || status=$?
    grep -v '^ok ' "$log" | sed 's/^/  /' || true
    p=$(grep -c '^ok ' "$log" || true)
    f=$(grep -c '^not ok ' "$log" || true)
    if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ "$p" = 0 ]; }; then
        echo "  check_$1.sh ended with status $status"
        f=1
    fi
    printf '  %-28s %4d passed %3d failed\n' "check_$1" "$p" "$f"
    add "$p" "$f" 0
}

part_plain() {
    echo "== plain build"
    build plain all
    programs plain TESTS
}

part_asan() {
    echo "== address and undefined-behaviour sanitizers"
    build asan default tests fuzzers
    programs asan TESTS
    script fuzz replay "$(submake VARIANT=asan print-OUT)"
}

part_tsan() {
    echo "== thread sanitizer"
    build tsan thread-tests
    programs tsan THREAD_TESTS
}

part_scripts() {
    echo "== the project"
    build plain all
    script exports build/libspecdec.so
    script symbols build/libspecdec.a
    script headers
    script layers
    script install
    script style
}

rm -rf "$logs"
mkdir -p "$logs"
for part in "${@:-plain asan tsan scripts}"; do
    for name in $part; do "part_$name"; done
done
echo
grep -ah '^skipped: ' "$logs"/*/*.log 2>/dev/null | sort | uniq -c | sed 's/^ */# /' || true
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
