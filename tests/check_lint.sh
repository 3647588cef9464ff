#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/check_lint.sh SOURCE...: what the linters that are installed have to say:
# clang-format (as a check), clang-tidy, cppcheck, shellcheck. One that is not
# installed is named and left out.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

include=(-I. -Isuffix_tree -Idraft -Idraft/heads -Idraft/train -Iverify -Iverify/tensor -Iverify/target -Ibench -Itests)

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

# What the Makefile gives to files that need an instruction set.
isa_flags() {
    case $1 in
    *_avx2.c) echo -mavx2 -mfma -mf16c ;;
    *_avx512.c | *_vnni.c) echo -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni ;;
    esac
}

# One file a run: in one run for many, clang-tidy 14 forgets what va_start does.
# Not the tests: the analyzer does not know that a failed assertion leaves.
tidy() {
    local file
    for file in "${c_files[@]}"; do printf '%s %s\n' "$file" "$(isa_flags "$file")"; done |
        xargs -P "$(nproc)" -I{} sh -c 'set -- $1; file=$1; shift
            clang-tidy --quiet --warnings-as-errors="*" "$file" -- -std=c11 -D_POSIX_C_SOURCE=200809L $INCLUDE "$@"' - {}
}

printf '%s\n' "$@" | grep '\.c$' | grep -v '^tests/' >"$work/c"
mapfile -t c_files <"$work/c"
if installed clang-format; then lint clang-format clang-format --dry-run -Werror "$@"; fi
if installed clang-tidy; then
    export INCLUDE="${include[*]}"
    lint clang-tidy tidy
fi
if installed cppcheck; then
    lint cppcheck cppcheck --quiet --std=c11 --language=c --error-exitcode=1 --inline-suppr \
        --enable=warning,portability --suppress=missingIncludeSystem --suppress=invalidPointerCast -D_POSIX_C_SOURCE=200809L \
        "${include[@]}" "${c_files[@]}"
fi
if installed shellcheck; then
    lint shellcheck shellcheck -x -e SC2016 tests/*.sh bench/*.sh .ci/run
fi
finish
