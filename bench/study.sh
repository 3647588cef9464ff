#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The study behind docs/STUDY.md: every drafter on recorded outputs, at five sizes of
# drafts; the reference's settings tuned for each file; tokens per step over nodes per step;
# calibration; tables in Markdown and plots.
#
#     bench/study.sh OUT [TRACES ['NAME SPEC']...]
#
# TRACES is a folder of trace files (default ../shared/traces). Further drafters are named on the command
# line: 'mine suffix:doubt=1'. In a SPEC, %s stands for the trace file's name without .jsonl, so
# that each file can have an option of its own, such as priors that were learned without it:
#
#     bench/study.sh build/study ../shared/traces 'mix mix:priors=build/priors/%s.mix'
#
# A drafter that is called like one of the script's own takes its place.
#
#     OUT/runs/NAME/FILE-bN.json        the reports: a drafter on a file with drafts of N nodes
#     OUT/sweep/NAME/FILE-pP.json       drafts of 64 nodes, none less probable than P
#     OUT/tuned/FILE-bN.json            the reference at 120 settings
#     OUT/*.tsv, tables.md, *.svg       what they say
#
# A report that is there is not made again: after a change of one drafter remove its folders. The sizes are BUDGETS='4
# 8 16 32 64', the least probabilities FLOORS='0 0.01 ...'; TUNE='8 32' are the sizes at which the reference
# is tuned, and TUNE= leaves that out, which is most of the work (an hour for the project's own eleven files).
set -euo pipefail

out=${1:?"expected OUT, the folder for the reports"}
traces=${2:-../shared/traces}
specbench=${SPECBENCH:-build/specbench}
here=$(dirname "$0")
read -ra budgets <<<"${BUDGETS-4 8 16 32 64}"
# Shown, but in no mean: one holds the same runs eight times, the other is written by people.
apart='swe_agent_replay humaneval_canonical'
read -ra floors <<<"${FLOORS-0 0.01 0.02 0.05 0.1 0.15 0.2 0.3 0.5}"
read -ra tune <<<"${TUNE-8 32}"

# Token Recycling is not among them: what it needs of the target is not in a record.
drafters=('none none' 'suffix suffix' 'arctic suffix:preset=arctic,tree=1' 'pld pld' 'ngram-cache ngram-cache'
    'mix mix')
swept=('suffix suffix:min_prob=0,nodes=64' 'arctic suffix:preset=arctic,tree=1,min_prob=0,nodes=64'
    'arctic-wide suffix:preset=arctic,tree=1,min_prob=0,nodes=64,factor=64' 'mix mix')
ours=mix
for given in "${@:3}"; do
    for i in "${!drafters[@]}"; do [ "${drafters[i]%% *}" = "${given%% *}" ] && unset "drafters[i]"; done
    for i in "${!swept[@]}"; do [ "${swept[i]%% *}" = "${given%% *}" ] && unset "swept[i]"; done
    drafters+=("$given")
    swept+=("$given")
done

# ---- what there is -----------------------------------------------------------

if [ ! -d "$traces" ]; then
    echo "study.sh: there is no folder '$traces'; expected one with trace files NAME.jsonl (docs/FORMATS.md):" >&2
    echo "    bench/study.sh $out TRACES" >&2
    exit 2
fi
files=()
for file in "$traces"/*.jsonl; do
    # Files of prompts have no responses.
    if head -n 1 "$file" 2>/dev/null | grep -q '"response"'; then files+=("$file"); fi
done
if [ ${#files[@]} = 0 ]; then
    echo "study.sh: no trace file in '$traces'; expected NAME.jsonl with recorded responses (docs/FORMATS.md)" >&2
    exit 2
fi

# ---- running -----------------------------------------------------------------

# replay REPORT TRACE OPTION...: unless the report is there.
replay() {
    [ -e "$1" ] && return
    mkdir -p "$(dirname "$1")"
    "$specbench" replay "$2" --json "$1" -q "${@:3}"
}

# A drafter's SPEC for a file.
spec_for() { # 'NAME SPEC' FILE
    local spec=${1#* } workload
    workload=$(basename "$2" .jsonl)
    echo "${spec//%s/$workload}"
}

# The reference's settings: all of them in one replay, for what they share is done once.
grid() { # N
    local factor offset floor room=
    [ "$1" -gt 32 ] && room=,nodes=$1
    for factor in 1 2 4 8 16 64; do
        for offset in 0 2 4 8; do
            for floor in 0 0.01 0.03 0.05 0.1; do
                echo "-dsuffix:preset=arctic,tree=1$room,factor=$factor,offset=$offset,min_prob=$floor"
            done
        done
    done
}

for file in "${files[@]}"; do
    name=$(basename "$file" .jsonl)
    echo "$name" >&2
    for drafter in "${drafters[@]}"; do
        for n in "${budgets[@]}"; do
            replay "$out/runs/${drafter%% *}/$name-b$n.json" "$file" -d "$(spec_for "$drafter" "$file")" --budget "$n"
        done
    done
    for drafter in "${swept[@]}"; do
        for p in "${floors[@]}"; do
            replay "$out/sweep/${drafter%% *}/$name-p$p.json" "$file" -d "$(spec_for "$drafter" "$file")" \
                --budget 64 --min-prob "$p"
        done
    done
    for n in "${tune[@]}"; do
        mapfile -t settings < <(grid "$n")
        replay "$out/tuned/$name-b$n.json" "$file" --budget "$n" "${settings[@]}"
    done
done

# ---- showing -------------------------------------------------------------------

# list FILE.tsv WHAT FOLDER PATTERN: the lines of all reports below OUT/FOLDER, the name first.
list() {
    local folder first=1
    for folder in "$out/$3"/*/; do
        "$specbench" report --list "$2" "$folder"*.json |
            awk -v name="$(basename "$folder")" -v first=$first \
                'NR > 1 || first { print (NR > 1 ? name : "name") "\t" $0 }'
        first=
    done >"$out/$1"
}
list runs.tsv runs runs
list bins.tsv bins runs
list matches.tsv matches runs
list sweep.tsv runs sweep
: >"$out/tuned.tsv"
if compgen -G "$out/tuned/*.json" >/dev/null; then
    "$specbench" report --list runs "$out"/tuned/*.json >"$out/tuned.tsv"
fi
names() { printf '%s ' "${@%% *}"; }
awk -v ours=$ours -v plain=arctic -v dir="$out" -v order="$(names "${drafters[@]}")" -v apart="$apart" \
    -f "$here/study_tables.awk" "$out/runs.tsv" "$out/bins.tsv" "$out/matches.tsv" "$out/sweep.tsv" "$out/tuned.tsv" \
    >"$out/tables.md"
echo "$out/tables.md"

if command -v gnuplot >/dev/null; then
    families=$(sed -n 's|^# \(.*\)/mean$|\1|p' "$out/curve.dat" | tr '\n' ' ')
    plotted=$(sed -n "s|^# $ours/\(.*\)$|\1|p" "$out/curve.dat" | grep -vx -e mean -e budgets | tr '\n' ' ')
    plots=$(sed -n 's|^# \(.*\)/budgets$|\1|p' "$out/curve.dat" | tr '\n' ' ')
    gnuplot -e "dir='$out'; families='$families'; drafters='$plots'; files='$plotted'" "$here/study.gp"
    echo "$out"/*.svg
else
    echo "study.sh: gnuplot is not installed: no plots" >&2
fi
