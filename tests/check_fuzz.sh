#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/check_fuzz.sh replay OUT: every fuzz target of the build in OUT runs on
#     each file of tests/corpus/NAME, which must not be empty.
# tests/check_fuzz.sh search OUT SECONDS: libFuzzer looks for new inputs, from
#     that corpus on. They are kept in OUT/corpus/NAME, findings in OUT/findings.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

mode=$1 out=$2 seconds=${3:-60}
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

replay() {
    local name=$1 corpus=tests/corpus/$1
    local status=0
    : >"$work/faults"
    timeout 300 "$out/tests/fuzz_$name" "$corpus" >"$work/log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        ok "fuzz_$name replays $(tail -n 1 "$work/log")"
    else
        { echo "exit status $status"; tail -n 40 "$work/log"; } >"$work/faults"
        verdict "fuzz_$name replays $corpus" "$work/faults"
    fi
}

search() {
    local name=$1
    local kept=$out/corpus/$1 findings=$out/findings seeds=()
    mkdir -p "$kept" "$findings" "tests/corpus/$name"
    seeds=("$kept" "tests/corpus/$name")
    if "$out/tests/fuzz_$name" "-max_total_time=$seconds" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        "-artifact_prefix=$findings/$name-" "${seeds[@]}" >"$work/log" 2>&1; then
        grep -E 'number_of_executed_units|new_units_added' "$work/log" | sed 's/^/# /'
        ok "fuzz_$name, $seconds s"
    else
        grep -aE -A 24 'ERROR: |runtime error: ' "$work/log" | head -n 40 | sed 's/^/#   /' || tail -n 20 "$work/log"
        not_ok "fuzz_$name: see $findings"
    fi
}

n=0
for source in tests/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    if [ "$name" = main ] || [ ! -e "$source" ]; then continue; fi
    n=$((n + 1))
    "$mode" "$name"
done
if [ "$n" = 0 ]; then not_ok "there are fuzz targets"; fi
finish
