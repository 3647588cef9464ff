#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the library's objects take from outside and keep inside: only functions
# that tests/symbols.txt lists (so nothing that exits, aborts, prints, reads the
# environment or hides a static buffer), heap functions in the base layer alone,
# and no mutable globals. To be run on a build without sanitizers.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

lib=${1:-build/libspecdec.a}
require "$lib" "symbols"

# Names as written: without glibc's prefixes for checked and versioned variants.
plain_names() { sed -e 's/__isoc[0-9]*_//' -e 's/^\(.* \)__\([a-z]*\)_chk$/\1\2/'; }

nm -A "$lib" 2>/dev/null | sed 's/^[^:]*:\([^:]*\):/\1 /' >"$work/all"
awk '$(NF-1) ~ /^[TRDBVW]$/ { print $NF }' "$work/all" | sort -u >"$work/own"
awk '$(NF-1) == "U" { print $1, $NF }' "$work/all" | plain_names >"$work/taken"
[ -s "$work/taken" ] || echo "$lib takes nothing from the C library" >"$work/faults"

sed 's/[ \t]*#.*//; /^$/d' tests/symbols.txt | sort >"$work/allowed"
awk 'FILENAME != ARGV[3] { fine[$1] = 1; next } !($2 in fine) { print $1 " uses " $2 }' \
    "$work/own" "$work/allowed" "$work/taken" | sort -u >>"$work/faults"
verdict "the library uses only what tests/symbols.txt lists" "$work/faults"

awk '$2 ~ /^(malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf)$/ \
        && $1 != "specdec.o" { print $1 " uses " $2 }' "$work/taken" >"$work/faults"
verdict "memory comes through spec_allocator" "$work/faults"

# Tables of constant pointers lie in .data.rel.ro, which is read-only once loaded.
objdump -t "$lib" 2>/dev/null |
    awk '/file format/ { file = $1; sub(/:$/, "", file) }
         / O / { for (i = 1; i < NF; i++)
                     if ($i ~ /^(\.t?data|\.t?bss|\.ldata|\.lbss|\*COM\*)/ && $i !~ /^\.data\.rel\.ro/)
                         print file " has the mutable " $NF " in " $i }' >"$work/faults"
verdict "the library has no mutable globals" "$work/faults"

finish
