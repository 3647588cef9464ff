/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_encode.c - text to tokens.
 *
 *   "<s>Hi there!"       special tokens        [<s>] "Hi there!"
 *    "Hi there!"         blanks, where written as U+2581     "_Hi_there!"
 *                        patterns, where there are any       "Hi" " there" "!"
 *    every word          merged
 *
 * Nothing here is kept between calls.
 */
#include <string.h>

#include "tokenizer.h"
#include "tokenizer_text.h"

typedef struct encoding {
    const spec_tokenizer *t;
    specp_merger merger;
    char *prepared; /* a fragment with its prefix, and with blanks written out */
    size_t cap_prepared;
    const char *text;     /* the caller's */
    const char *fragment; /* what words point into */
    size_t fragment_at;   /* where in the text it begins */
    bool prefixed;
    spec_message *why;
} encoding;

/* Where in the text a byte of the fragment stands. */
static size_t place_of(const encoding *e, size_t at) {
    size_t place = e->fragment_at;
    if (e->fragment == e->text + e->fragment_at) return place + at;
    size_t i = !e->prefixed ? 0 : e->t->bytewise ? 1 : SPECP_N_BLANK;
    while (i < at) {
        bool blank = e->text[place] == ' ' && !e->t->bytewise;
        i += blank ? SPECP_N_BLANK : 1;
        place++;
    }
    return place;
}

static int encode_word(void *user, const char *word, size_t n) {
    encoding *e = user;
    size_t bad = 0;
    char shown[24];
    int err = specp_merge_word(&e->merger, word, n, &bad);
    if (err == SPEC_ERR_NOMEM) return specp_fail(e->why, err, "out of memory");
    if (err) {
        size_t len = specp_utf8_length(word + bad, n - bad);
        return specp_fail(e->why, err, "byte %zu of the text: the vocabulary has no token for \"%s\"",
                          place_of(e, (size_t)(word - e->fragment) + bad),
                          specp_tokenizer_show(word + bad, len ? len : 1, shown, sizeof shown));
    }
    return SPEC_OK;
}

/* The fragment as the vocabulary writes it: *text and *n are replaced where that differs. */
static int prepare(encoding *e, const char **text, size_t *n, bool prefix) {
    const spec_tokenizer *t = e->t;
    const char *blank = t->bytewise ? " " : SPECP_BLANK;
    size_t n_blank = strlen(blank), blanks = 0, k = 0;
    if (prefix && t->prefix_once && *n >= 1 && (*text)[0] == ' ') prefix = false;
    if (prefix && t->prefix_once && *n >= n_blank && memcmp(*text, blank, n_blank) == 0) prefix = false;
    e->prefixed = prefix;
    if (t->bytewise && !prefix) return SPEC_OK;
    for (size_t i = 0; i < *n && !t->bytewise; i++) blanks += (*text)[i] == ' ';
    size_t need = *n + n_blank + blanks * (n_blank - 1);
    if (need > e->cap_prepared) {
        char *prepared = specp_alloc(&t->alloc, need, 1);
        if (!prepared) return specp_fail(e->why, SPEC_ERR_NOMEM, "out of memory");
        specp_release(&t->alloc, e->prepared, e->cap_prepared, 1);
        e->prepared = prepared;
        e->cap_prepared = need;
    }
    if (prefix) memcpy(e->prepared, blank, n_blank), k = n_blank;
    for (size_t i = 0; i < *n; i++) {
        if ((*text)[i] == ' ' && !t->bytewise) {
            memcpy(e->prepared + k, blank, n_blank);
            k += n_blank;
        } else {
            e->prepared[k++] = (*text)[i];
        }
    }
    *text = e->prepared;
    *n = k;
    return SPEC_OK;
}

/* The text between two special tokens. */
static int encode_fragment(encoding *e, size_t from, size_t to, bool prefix) {
    const char *text = e->text + from;
    size_t n = to - from;
    int err = prepare(e, &text, &n, prefix);
    if (err) return err;
    e->fragment = text;
    e->fragment_at = from;
    return specp_pattern_cut(e->t, text, n, from, encode_word, e, e->why);
}

static int encode_fragments(encoding *e, size_t n, const specp_mark *span, size_t n_spans) {
    size_t at = 0;
    specp_prefix prefix = e->t->prefix;
    for (size_t i = 0; i <= n_spans; i++) {
        size_t to = i < n_spans ? span[i].from : n;
        bool blank = prefix == SPECP_PREFIX_EACH || (prefix == SPECP_PREFIX_FIRST && i == 0);
        int err = at < to ? encode_fragment(e, at, to, blank) : SPEC_OK;
        if (err) return err;
        if (i == n_spans) break;
        specp_sink_put(&e->merger.sink, span[i].token);
        e->merger.unknown = false;
        at = span[i].to;
    }
    return SPEC_OK;
}

static int encode(encoding *e, const char *text, size_t n, unsigned flags) {
    const spec_tokenizer *t = e->t;
    specp_mark *span;
    size_t n_spans;
    e->text = text;
    if (flags & SPEC_ENCODE_ADD_SPECIAL && t->add_bos) specp_sink_put(&e->merger.sink, t->bos);
    int err = specp_special_find(t, text, n, flags & SPEC_ENCODE_PARSE_SPECIAL, &span, &n_spans);
    if (err) return specp_fail(e->why, err, "out of memory");
    err = encode_fragments(e, n, span, n_spans);
    specp_release(&t->alloc, span, n_spans, sizeof *span);
    if (!err && flags & SPEC_ENCODE_ADD_SPECIAL && t->add_eos) specp_sink_put(&e->merger.sink, t->eos);
    return err;
}

int spec_tokenizer_encode(const spec_tokenizer *t, const char *text, size_t n, unsigned flags,
                          spec_token *out, size_t cap, size_t *n_tokens, spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!t || !n_tokens || (n && !text) || (cap && !out))
        return specp_fail(why, SPEC_ERR_INVALID, "an argument is missing");
    *n_tokens = 0;
    if (flags & ~(unsigned)(SPEC_ENCODE_ADD_SPECIAL | SPEC_ENCODE_PARSE_SPECIAL))
        return specp_fail(why, SPEC_ERR_INVALID, "flags %#x: there are no such", flags);
    if (n >= SPECP_MAX_TEXT)
        return specp_fail(why, SPEC_ERR_INVALID, "a text of %zu bytes is too long, the limit is 1 GiB", n);
    encoding e = {.t = t, .merger = {.t = t, .sink = {out, cap, 0}}, .why = why};
    int err = encode(&e, text, n, flags);
    specp_merge_release(&e.merger);
    specp_release(&t->alloc, e.prepared, e.cap_prepared, 1);
    if (err) return err;
    *n_tokens = e.merger.sink.n;
    if (e.merger.sink.n > cap)
        return specp_fail(why, SPEC_ERR_FULL, "%zu tokens, room for %zu", e.merger.sink.n, cap);
    return SPEC_OK;
}
