#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/check_tests.sh OUT LOG PROGRAM...: runs test programs of the build in OUT,
# JOBS at a time, each for at most TEST_TIMEOUT seconds, with the output of each
# in LOG/NAME.log, and prints a line for each. A program that ends early, or with
# fewer results than it announced, has failed even if it says nothing else.
set -euo pipefail
export LC_ALL=C

out=$1 logs=$2
shift 2
JOBS=${JOBS:-$(nproc)}
export TEST_TIMEOUT=${TEST_TIMEOUT:-300} CMOCKA_MESSAGE_OUTPUT=TAP logs
export SPECBENCH=${SPECBENCH:-$out/specbench}
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
mkdir -p "$logs"

# Adds up one log. cmocka writes a skipped test as `not ok N # SKIP name`.
count() {
    awk -v status="$2" '
        /^1\.\.[0-9]+$/ { plan += substr($0, 4) }
        /^(not )?ok [0-9]+ # SKIP/ { skipped++; next }
        /^ok [0-9]+ / { passed++; next }
        /^not ok [0-9]+ / { failed++ }
        END {
            lost = plan - passed - failed - skipped
            if (lost > 0) failed += lost
            if (!failed && (status != 0 || plan == 0 || lost < 0)) failed++
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

# What a failing program's log has to say: its failed tests and the first report
# of a sanitizer, or else its end.
excerpt() {
    local part
    part=$(
        grep -a -B 3 -A 4 '^not ok [0-9]* - ' "$1" | head -n 40
        grep -aE -m 1 -A 30 '==ERROR: |WARNING: ThreadSanitizer|runtime error: ' "$1"
    ) || true
    if [ -n "$part" ]; then echo "$part"; else tail -n 40 "$1"; fi
}

run_one() {
    local program=$1 name status=0 passed failed skipped
    name=$(basename "$program")
    timeout -k 10 "$TEST_TIMEOUT" "$program" >"$logs/$name.log" 2>&1 || status=$?
    read -r passed failed skipped < <(count "$logs/$name.log" "$status")
    printf '  %-28s %4d passed %3d failed %3d skipped\n' "$name" "$passed" "$failed" "$skipped" >"$logs/$name.line"
    if [ "$failed" != 0 ]; then
        {
            [ "$status" = 124 ] && echo "  stopped after $TEST_TIMEOUT s"
            echo "  exit status $status; from $logs/$name.log:"
            excerpt "$logs/$name.log" | sed 's/^/    | /'
        } >>"$logs/$name.line"
    fi
    cat "$logs/$name.line"
}

export -f run_one count excerpt
if [ $# = 0 ]; then exit 0; fi
printf '%s\0' "$@" | xargs -0 -n 1 -P "$JOBS" bash -c 'run_one "$1"' run_one
