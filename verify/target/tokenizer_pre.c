/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_pre.c - the pre-tokenizers that vocabularies over bytes name, as patterns.
 *
 * They are the patterns of the models' own tokenizers. None of them goes back over a text more than
 * once: what may look ahead far (white space before a line's end) is met from its first
 * character only.
 */
#include <stdio.h>
#include <string.h>

#include "tokenizer.h"

#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
/* What the newer ones share: words with one character before them, numbers of up to so
 * many digits, signs with a blank before and line ends after them, white space. */
#define MODERN(digits)                                                                                       \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" LINES
#define LINES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Words by case: capitals and then small letters. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BY_CASE(suffix)                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix

#define GPT2  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define SIGNS "[\\p{P}$+<=>^~|`]+"
#define CJK   "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"

/* DeepSeek's letters: those with case, as an old version of Unicode had them. */
#define CASED                                                                                                \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"          \
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}"   \
    "\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"          \
    "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"        \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}"        \
    "\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}"                   \
    "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}"                  \
    "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"        \
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}"          \
    "\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"                   \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"                   \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"         \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"        \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"                       \
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"                   \
    "\\x{1e900}-\\x{1e943}"

typedef struct pre {
    const char *name;
    const char *kin; /* other names of it, with a blank after each; may be NULL */
    const char *pattern[SPECP_MAX_STAGES];
    bool ignore_merges, add_bos;
} pre;

static const pre pres[] = {
    {.name = "default", .pattern = {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.name = "gpt-2",
     .kin = "phi-2 mpt olmo jais trillion exaone4 gigachat a.x-4.0 mellum granite-docling ",
     .pattern = {GPT2}},
    {.name = "llama-bpe",
     .kin = "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
     .pattern = {MODERN("\\p{N}{1,3}")},
     .ignore_merges = true,
     .add_bos = true},
    {.name = "dbrx", .kin = "smaug-bpe chatglm-bpe glm4 ", .pattern = {MODERN("\\p{N}{1,3}")}},
    {.name = "qwen2",
     .kin = "deepseek-r1-qwen stablelm2 megrez hunyuan kormo grok-2 ",
     .pattern = {MODERN("\\p{N}")}},
    {.name = "tekken",
     .pattern = {BY_CASE("") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" LINES},
     .ignore_merges = true,
     .add_bos = true},
    {.name = "gpt-4o",
     .kin = "llama4 minimax-m2 ",
     .pattern = {BY_CASE(CONTRACTIONS "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" LINES}},
    {.name = "starcoder",
     .kin = "smollm refact command-r codeshell exaone minerva-7b ",
     .pattern = {"\\p{N}", GPT2}},
    {.name = "falcon", .pattern = {SIGNS, GPT2, "[0-9][0-9][0-9]"}},
    {.name = "deepseek-llm",
     .pattern = {"[\\r\\n]", "\\s?[" CASED "]+",
                 "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
                 "(?<!\\s)\\s++\\z", CJK, "\\p{N}+"}},
    {.name = "deepseek-coder", .pattern = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}},
    {.name = "deepseek-v3",
     .kin = "hunyuan-dense ",
     .pattern = {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+",
                 "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                 "?[\\p{P}\\p{S}]+[\\r\\n]*" LINES}},
};

#define N_PRES (sizeof pres / sizeof *pres)

static bool is_named(const pre *p, const char *name, size_t n) {
    if (strlen(p->name) == n && memcmp(p->name, name, n) == 0) return true;
    for (const char *s = p->kin; s && *s;) {
        size_t len = strcspn(s, " ");
        if (len == n && memcmp(s, name, n) == 0) return true;
        s += len + 1;
    }
    return false;
}

static int unknown(const char *name, size_t n, spec_message *why) {
    char list[300] = "", shown[60];
    for (size_t i = 0, k = 0; i < N_PRES && k + strlen(pres[i].name) + 3 < sizeof list; i++)
        k += (size_t)snprintf(list + k, sizeof list - k, "%s%s", i ? ", " : "", pres[i].name);
    return specp_fail(why, SPEC_ERR_UNSUPPORTED,
                      "the pre-tokenizer \"%s\" is not known, those known are %s and their kin",
                      specp_tokenizer_show(name, n, shown, sizeof shown), list);
}

int specp_pre_apply(spec_tokenizer *t, const char *name, size_t n, spec_message *why) {
    const pre *p = pres;
    while (p < pres + N_PRES && !is_named(p, name, n)) p++;
    if (p == pres + N_PRES) return unknown(name, n, why);
    for (size_t i = 0; i < SPECP_MAX_STAGES && p->pattern[i]; i++) {
        int err = specp_pattern_add(t, p->pattern[i], strlen(p->pattern[i]), false, why);
        if (err) return err;
    }
    t->pre = p->name;
    t->ignore_merges = p->ignore_merges;
    t->add_bos = p->add_bos;
    return SPEC_OK;
}
