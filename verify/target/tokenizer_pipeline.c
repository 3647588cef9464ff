/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_pipeline.c - what a tokenizer.json does to a text before merging, and adds
 * after it:
 *
 *   normalizer      " " -> U+2581, one before the text               (SentencePiece's vocabularies)
 *   pre_tokenizer   Split by patterns, ByteLevel                     (GPT-2's and later ones)
 *   post_processor  <s> before, </s> after
 *
 * A part whose effect is not reproduced exactly is refused by name, but for NFC (spec_tokenizer.h).
 */
#include <string.h>

#include "tokenizer_json.h"

typedef struct reader {
    specp_pipeline *p;
    spec_tokenizer *t;
    spec_message *why;
    unsigned depth;
} reader;

#define MAX_DEPTH 8

static int unsupported(const reader *r, const char *part, const char *what) {
    char shown[120];
    return specp_fail(r->why, SPEC_ERR_UNSUPPORTED, "%s: %s is not supported", part,
                      what ? specp_tokenizer_show(what, strlen(what), shown, sizeof shown)
                           : "a part without a type");
}

typedef int part_fn(reader *r, const json_t *part, const char *type);

/* Calls fn for a part, or for those of a sequence. */
static int each_part(reader *r, const json_t *part, const char *name, const char *list, part_fn *fn) {
    if (!part || json_is_null(part)) return SPEC_OK;
    const char *type = specp_json_text(part, "type");
    if (!type || r->depth == MAX_DEPTH) return unsupported(r, name, type);
    if (strcmp(type, "Sequence") != 0) return fn(r, part, type);
    int err = SPEC_OK;
    size_t i;
    json_t *inner;
    r->depth++;
    json_array_foreach(json_object_get(part, list), i, inner) {
        if (!err) err = each_part(r, inner, name, list, fn);
    }
    r->depth--;
    return err;
}

/* ---- normalizer ----------------------------------------------------------------- */

static bool is_text(const char *s, const char *what) { return s && strcmp(s, what) == 0; }

static int read_normalizer(reader *r, const json_t *part, const char *type) {
    if (is_text(type, "NFC")) return SPEC_OK;
    if (is_text(type, "Prepend") && is_text(specp_json_text(part, "prepend"), SPECP_BLANK)) {
        r->p->prefix = SPECP_PREFIX_EACH;
        return SPEC_OK;
    }
    const char *from = specp_json_text(json_object_get(part, "pattern"), "String");
    if (is_text(type, "Replace") && is_text(from, " ") &&
        is_text(specp_json_text(part, "content"), SPECP_BLANK)) {
        r->p->blanks = true;
        return SPEC_OK;
    }
    return unsupported(r, "normalizer", type);
}

/* ---- pre_tokenizer ---------------------------------------------------------------- */

static int add_pattern(reader *r, const char *pattern, bool foreign) {
    return specp_pattern_add(r->t, pattern, strlen(pattern), foreign, r->why);
}

/* A text as a pattern: every sign escaped. */
static int add_text(reader *r, const char *text) {
    char pattern[256];
    size_t n = 0;
    for (; *text && n + 2 < sizeof pattern; text++) {
        bool sign = (uint8_t)*text < 128 && !strchr("0123456789", *text) &&
                    !((*text | 32) >= 'a' && (*text | 32) <= 'z');
        if (sign) pattern[n++] = '\\';
        pattern[n++] = *text;
    }
    pattern[n] = 0;
    return *text ? unsupported(r, "pre_tokenizer", "Split at a text of that length")
                 : add_pattern(r, pattern, true);
}

/* Matches and what lies between them are words: Isolated; or, where the pattern says what words
 * are, Removed and inverted. */
static int read_split(reader *r, const json_t *part) {
    const json_t *pattern = json_object_get(part, "pattern");
    const char *text = specp_json_text(pattern, "String"), *regex = specp_json_text(pattern, "Regex");
    const char *behavior = specp_json_text(part, "behavior");
    if (text && r->p->blanks && strchr(text, ' ')) return SPEC_OK; /* there are none left */
    bool isolated = is_text(behavior, "Isolated");
    bool words = is_text(behavior, "Removed") && specp_json_flag(part, "invert", false);
    if (!isolated && !words)
        return unsupported(r, "pre_tokenizer: Split: behavior", behavior ? behavior : "none");
    if (regex) return add_pattern(r, regex, true);
    return text && *text ? add_text(r, text) : unsupported(r, "pre_tokenizer", "Split without a pattern");
}

static int read_byte_level(reader *r, const json_t *part) {
    r->p->bytewise = true;
    if (specp_json_flag(part, "add_prefix_space", false)) {
        r->p->prefix = SPECP_PREFIX_EACH;
        r->p->prefix_once = true;
    }
    if (!specp_json_flag(part, "use_regex", true)) return SPEC_OK;
    return specp_pre_apply(r->t, "gpt-2", 5, r->why);
}

static int read_metaspace(reader *r, const json_t *part) {
    const char *scheme = specp_json_text(part, "prepend_scheme");
    if (!is_text(specp_json_text(part, "replacement"), SPECP_BLANK))
        return unsupported(r, "pre_tokenizer", "Metaspace with another replacement");
    r->p->blanks = true;
    if (!scheme) scheme = specp_json_flag(part, "add_prefix_space", true) ? "always" : "never";
    if (is_text(scheme, "always")) {
        r->p->prefix = SPECP_PREFIX_EACH;
    } else if (is_text(scheme, "first")) {
        r->p->prefix = SPECP_PREFIX_FIRST;
    } else if (!is_text(scheme, "never")) {
        return unsupported(r, "pre_tokenizer: Metaspace: prepend_scheme", scheme);
    }
    r->p->prefix_once = true;
    return specp_json_flag(part, "split", true) ? add_pattern(r, "\\x{2581}[^\\x{2581}]*+", false) : SPEC_OK;
}

static int read_pre_tokenizer(reader *r, const json_t *part, const char *type) {
    if (r->p->bytewise)
        return unsupported(r, "pre_tokenizer", "a part after ByteLevel"); /* it would see letters */
    if (is_text(type, "ByteLevel")) return read_byte_level(r, part);
    if (is_text(type, "Split")) return read_split(r, part);
    if (is_text(type, "Metaspace")) return read_metaspace(r, part);
    if (is_text(type, "Digits"))
        return add_pattern(r, specp_json_flag(part, "individual_digits", false) ? "\\p{N}" : "\\p{N}+",
                           false);
    const char *behavior = specp_json_text(part, "behavior");
    if (is_text(type, "Punctuation") && is_text(behavior, "Contiguous"))
        return add_pattern(r, "[!-/:-@\\[-`{-~\\p{P}]+", false);
    if (is_text(type, "Punctuation") && (!behavior || is_text(behavior, "Isolated")))
        return add_pattern(r, "[!-/:-@\\[-`{-~\\p{P}]", false);
    return unsupported(r, "pre_tokenizer", type);
}

/* ---- post_processor -------------------------------------------------------------------- */

/* {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": ...}, ...]} */
static int read_template(reader *r, const json_t *part) {
    size_t i;
    json_t *item;
    bool text = false;
    json_array_foreach(json_object_get(part, "single"), i, item) {
        const char *name = specp_json_text(json_object_get(item, "SpecialToken"), "id");
        const char **place = text ? &r->p->eos : &r->p->bos;
        if (!name) {
            text = true;
        } else if (*place) {
            return unsupported(r, "post_processor", "more than one token on one side of the text");
        } else {
            *place = name;
        }
    }
    return SPEC_OK;
}

static int read_post_processor(reader *r, const json_t *part, const char *type) {
    if (is_text(type, "ByteLevel")) return SPEC_OK;
    if (is_text(type, "TemplateProcessing")) return read_template(r, part);
    return unsupported(r, "post_processor", type);
}

int specp_pipeline_read(specp_pipeline *p, spec_tokenizer *t, const json_t *root, spec_message *why) {
    reader r = {p, t, why, 0};
    *p = (specp_pipeline){.prefix = SPECP_PREFIX_NONE};
    int err =
        each_part(&r, json_object_get(root, "normalizer"), "normalizer", "normalizers", read_normalizer);
    if (!err)
        err = each_part(&r, json_object_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers",
                        read_pre_tokenizer);
    if (!err)
        err = each_part(&r, json_object_get(root, "post_processor"), "post_processor", "processors",
                        read_post_processor);
    if (err) return err;
    if (p->blanks == p->bytewise)
        return specp_fail(
            why, SPEC_ERR_UNSUPPORTED,
            "neither ByteLevel nor blanks written as U+2581, or both: such a tokenizer is not supported");
    return SPEC_OK;
}
