#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Trains what bench/models/ holds: vocabulary, target, draft model, Medusa and EAGLE-3
# heads, each on what the one before made:
#
#     corpus + generated text --spm_train--> vocabulary
#     corpus + generated text --------------> target.gguf, draft.gguf
#     prompts --target--> its own outputs --> medusa.gguf, eagle3.gguf
#
#     bench/train_models.sh OUT [CORPUS]
#
# A step whose result is there is not done again, and training goes on from its last
# checkpoint: the script may be stopped at any moment and called again. It needs spm_train
# (Debian: sentencepiece), 5 GB for hidden states, and about three hours on two cores with AVX-512.
set -euo pipefail

out=${1:?"expected OUT, the folder to work in"}
corpus=${2:-../shared/corpus}
specbench=${SPECBENCH:-build/specbench}
steps=${STEPS:-4000}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

for need in "$specbench" "$corpus"; do
    [ -e "$need" ] || { say "$need: not there"; exit 2; }
done
command -v spm_train >/dev/null || { say "spm_train: not there; apt-get install sentencepiece"; exit 2; }
mkdir -p "$out/text" "$out/prompts" "$out/traces"
shopt -s nullglob
documents=("$corpus"/*.txt)
[ ${#documents[@]} -gt 0 ] || { say "$corpus: no *.txt"; exit 2; }

# ---- text --------------------------------------------------------------------

# Requests of other seeds than any measurement's (those are below 100).
declare -A requests=([tools]=1800 [sql]=1800 [edits]=600 [quotes]=900 [summaries]=900 [chat]=900)
kinds=(tools sql edits quotes summaries chat)
for kind in "${kinds[@]}"; do
    file=$out/text/$kind.txt
    [ -e "$file" ] || "$specbench" workload --as text --kind "$kind" --seed 100 -n "${requests[$kind]}" -q -o "$file"
done
text=("${documents[@]}")
for kind in "${kinds[@]}"; do text+=("$out/text/$kind.txt"); done

# Prompts: of generated requests, and the first part of the corpus's documents, cut behind a question or
# at a blank.
for kind in "${kinds[@]}"; do
    file=$out/prompts/$kind.jsonl
    [ -e "$file" ] ||
        "$specbench" workload --as prompts --kind "$kind" --seed 101 -n 500 --max-chars 2400 -q -o "$file"
done
first_parts() {
    awk -v most=400 -v name="$2" '
        BEGIN { RS = "<\\|doc\\|>\n" }
        function quoted(s) {
            gsub(/[\\"]/, "\\\\&", s); gsub(/\n/, "\\n", s); gsub(/\t/, "\\t", s)
            gsub(/[\001-\037]/, "", s)
            return "\"" s "\""
        }
        length($0) > 120 && n < most && NR % 7 == 3 {
            at = index($0, "\nAnswer:")
            if (at) cut = substr($0, 1, at + 7)
            else {
                cut = substr($0, 1, length($0) * 0.4 < 1500 ? length($0) * 0.4 : 1500)
                sub(/[^ \n]*$/, "", cut)
            }
            if (length(cut) < 20) next
            printf "{\"id\":\"%s-%d\",\"group\":\"%s\",\"prompt\":%s}\n", name, ++n, name, quoted(cut)
        }' "$1"
}
for file in "${documents[@]}"; do
    name=$(basename "$file" .txt)
    [ -e "$out/prompts/$name.jsonl" ] || first_parts "$file" "$name" >"$out/prompts/$name.jsonl"
done

# ---- vocabulary ----------------------------------------------------------------

if [ ! -e "$out/vocabulary.vocab" ]; then
    say "vocabulary"
    grep -hvxF '<|doc|>' "${text[@]}" >"$out/text/all"
    spm_train --input="$out/text/all" --model_prefix="$out/vocabulary" --model_type=bpe --vocab_size=2048 \
        --byte_fallback=true --character_coverage=0.9995 --normalization_rule_name=identity \
        --remove_extra_whitespaces=false --add_dummy_prefix=false --split_digits=true \
        --allow_whitespace_only_pieces=true --split_by_unicode_script=false --max_sentence_length=65536 \
        --user_defined_symbols='<|system|>,<|user|>,<|assistant|>,<|tool|>' --num_threads=1 \
        >"$out/vocabulary.log" 2>&1
fi

# ---- models --------------------------------------------------------------------

# NAME SHAPE STEPS: a model on all the text.
model() {
    [ ! -e "$out/$1.done" ] || return 0
    say "$1"
    "$specbench" train target --text "${text[@]}" --vocab "$out/vocabulary.vocab" --no-dummy-prefix \
        --shape "$2" --type Q8_0 --seq 1024 --batch 4 --steps "$3" --validate-every 250 --resume \
        --name "specdec $1" --license MIT --log "$out/$1.log" -o "$out/$1.gguf"
    touch "$out/$1.done"
}
model target dim=256,layers=8,heads=8,kv=4,hidden=512,tied=1 "$steps"
model draft dim=128,layers=2,heads=4,kv=2,hidden=256,tied=1 "$((steps / 2))"

# What the target itself says, greedy and sampled.
record() {
    [ ! -e "$out/traces/$1-$2.jsonl" ] || return 0
    say "outputs of the target: $1, temperature $2"
    "$specbench" run -m "$out/target.gguf" -p "$out/prompts/$1.jsonl" -d suffix --batch 8 --budget 8 \
        --repeat 1 --max-tokens 256 --stop '<|' --temp "$2" -q --record "$out/traces/$1-$2.jsonl"
}
for file in "$out"/prompts/*.jsonl; do
    name=$(basename "$file" .jsonl)
    record "$name" 0
    record "$name" 1
done

heads() {
    [ ! -e "$out/$1.done" ] || return 0
    say "$1"
    "$specbench" train "$1" -m "$out/target.gguf" "$out"/traces/*.jsonl --type Q8_0 \
        --resume --log "$out/$1.log" --dump "$out/$1.dump" --dump-limit 5000 -o "$out/$1.gguf" "${@:2}"
    touch "$out/$1.done"
    rm -f "$out/$1.dump"
}
heads medusa --epochs 3 --heads 3
heads eagle3 --epochs 2 --draft-vocab 1280 --prompt 128
say "done: target.gguf draft.gguf medusa.gguf eagle3.gguf in $out"
