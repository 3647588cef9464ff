#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The shared library exports exactly tests/exports.txt, and that list is exactly
# what the public headers declare with SPEC_API. The soname, the version and the
# changelog agree with specdec.h.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

so=${1:-build/libspecdec.so}
require "$so" "exports"

sort tests/exports.txt >"$work/list"
nm -D --defined-only "$so" | awk '{ print $NF }' | sort >"$work/exported"
diff "$work/list" "$work/exported" | sed -n 's/^</in exports.txt, not exported:/p; s/^>/exported, not in exports.txt:/p' \
    >"$work/faults" || true
verdict "exports are those of tests/exports.txt" "$work/faults"

# Declarations may span lines: join each from SPEC_API to its semicolon.
public_headers | xargs cat | grep -v '^#' | tr '\n' ' ' |
    grep -o 'SPEC_API[^;]*;' | sed -n 's/^[^(]*[ *]\(spec_[a-z0-9_]*\)(.*/\1/p' |
    sort >"$work/declared"
diff "$work/list" "$work/declared" | sed -n 's/^</in exports.txt, not declared:/p; s/^>/declared, not in exports.txt:/p' \
    >"$work/faults" || true
verdict "exports are what the public headers declare" "$work/faults"

grep -v '^spec_[a-z0-9_]*$' "$work/exported" >"$work/faults" || true
verdict "every export begins with spec_" "$work/faults"

value() { sed -n "s/^#define SPEC_$1 *\"\{0,1\}\([0-9.]*\)\"\{0,1\}.*/\1/p" specdec.h; }
version=$(value VERSION_MAJOR).$(value VERSION_MINOR).$(value VERSION_PATCH)
: >"$work/faults"
[ "$version" = "$(value VERSION_STRING)" ] || echo "SPEC_VERSION_STRING is not $version" >>"$work/faults"
[[ $(grep -m 1 '^## ' CHANGELOG.md) == "## $version"* ]] ||
    echo "the first section of CHANGELOG.md is not $version" >>"$work/faults"
[ "$(objdump -p "$so" | awk '$1 == "SONAME" { print $2 }')" = "libspecdec.so.$(value ABI)" ] ||
    echo "the soname is not libspecdec.so.$(value ABI)" >>"$work/faults"
verdict "version, changelog and soname agree with specdec.h" "$work/faults"

finish
