#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The limits of CONTRIBUTING.md that a script can see: a licence line at the top
# of every source, files under 600 lines, functions of at most 80, lines of at
# most 110 columns, no tabs; shell scripts that parse.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

project_sources >"$work/sources"
find tests .ci -name '*.sh' -o -path .ci/run | sort >"$work/scripts"

while IFS= read -r file; do
    head -n 1 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file"
done <"$work/sources" >"$work/faults"
verdict "every source begins with its licence" "$work/faults"

xargs -a "$work/sources" wc -l | awk '$2 != "total" && $1 >= 600 { print $2 " has " $1 " lines" }' >"$work/faults"
verdict "files have fewer than 600 lines" "$work/faults"

# A function begins with a line in the first column that ends in `) {` and ends
# with a brace in the first column.
xargs -a "$work/sources" awk '
    FNR == 1 { start = 0 }
    /^[A-Za-z].*[^=] \{$/ && !/^(typedef|struct|union|enum|static const)/ { start = FNR; name = $0 }
    /^ +.*\) \{$/ && !start && prev ~ /^[A-Za-z].*[,(]$/ { start = FNR - 1; name = prev }
    /^}/ && start { if (FNR - start + 1 > 80) print FILENAME ": " FNR - start + 1 " lines: " name; start = 0 }
    { prev = $0 }' >"$work/faults"
verdict "functions have at most 80 lines" "$work/faults"

# Bytes that continue a UTF-8 character take no column.
xargs -a "$work/sources" awk '{ text = $0; gsub(/[\200-\277]/, "", text) }
    length(text) > 110 || /\t/ { print FILENAME ":" FNR }' >"$work/faults"
verdict "lines have at most 110 columns and no tabs" "$work/faults"

while IFS= read -r file; do bash -n "$file" 2>&1 || true; done <"$work/scripts" >"$work/faults"
[ -s "$work/scripts" ] || echo "no script was found" >"$work/faults"
verdict "shell scripts parse" "$work/faults"

finish
