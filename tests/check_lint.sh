#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/check_lint.sh SOURCE...: what the linters that are installed have to say:
# clang-format (as a check), clang-tidy, cppcheck, shellcheck. One that is not
# installed is named and left out.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

include=(-I. -Isuffix_tree -Idraft -Iverify -Ibench -Itests)

installed() {
    command -v "$1" >/dev/null && return
    echo "# $1 is not installed: left out"
    return 1
}

lint() {
    local name=$1
    shift
    "$@" >"$work/faults" 2>&1 && : >"$work/faults"
    verdict "$name" "$work/faults"
}

# One file a run: in one run for many, clang-tidy 14 forgets what va_start does.
# Not the tests: the analyzer does not know that a failed assertion leaves.
tidy() {
    printf '%s\0' "${c_files[@]}" | xargs -0 -I{} -P "$(nproc)" clang-tidy --quiet --warnings-as-errors='*' {} -- \
        -std=c11 -D_POSIX_C_SOURCE=200809L "${include[@]}"
}

printf '%s\n' "$@" | grep '\.c$' | grep -v '^tests/' >"$work/c"
mapfile -t c_files <"$work/c"
if installed clang-format; then lint clang-format clang-format --dry-run -Werror "$@"; fi
if installed clang-tidy; then
    lint clang-tidy tidy
fi
if installed cppcheck; then
    lint cppcheck cppcheck --quiet --std=c11 --language=c --error-exitcode=1 --inline-suppr \
        --enable=warning,portability --suppress=missingIncludeSystem --suppress=invalidPointerCast -D_POSIX_C_SOURCE=200809L \
        "${include[@]}" "${c_files[@]}"
fi
if installed shellcheck; then
    lint shellcheck shellcheck -x -e SC2016 tests/*.sh .ci/run
fi
finish
