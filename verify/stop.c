/* SPDX-License-Identifier: MIT */
/*
 * Where a response ends. Each stop string has an automaton of its own (Knuth, Morris,
 * Pratt 1977): `matched` bytes of it are the text's last ones, and where the next byte
 * does not continue them, fall[] leads to the next shorter match.
 *
 *     text    ... a b a b         string  a b a b c      matched 4
 *     next byte a: no c           fall    0 0 1 2 0      -> 2 = fall[3]: "ab", and a follows: 3
 *
 * Invariant: matched < the string's length, until the response has ended. The longest
 * match of all is what is held back from the text that is certain.
 */
#include "spec_stop.h"

#include <string.h>

#include "sampler.h"

typedef struct pattern {
    unsigned char *byte; /* (n) */
    size_t *fall;        /* (n) fall[i]: the longest proper prefix of byte[0..i] that ends it */
    size_t n, matched;
} pattern;

struct spec_stop {
    spec_allocator alloc;
    spec_token *token; /* (n_tokens) */
    pattern *pattern;  /* (n_patterns) */
    size_t n_tokens, n_patterns;
    uint64_t n_text; /* bytes fed */
    bool ended;
};

/* ---- making --------------------------------------------------------------- */

void spec_stop_free(spec_stop *s) {
    if (!s) return;
    spec_allocator alloc = s->alloc;
    for (size_t i = 0; s->pattern && i < s->n_patterns; i++) {
        specp_release(&alloc, s->pattern[i].byte, s->pattern[i].n, 1);
        specp_release(&alloc, s->pattern[i].fall, s->pattern[i].n, sizeof(size_t));
    }
    specp_release(&alloc, s->pattern, s->n_patterns, sizeof *s->pattern);
    specp_release(&alloc, s->token, s->n_tokens, sizeof *s->token);
    specp_release(&alloc, s, 1, sizeof *s);
}

static int check_options(const spec_stop_options *o, spec_message *why) {
    if ((o->n_tokens && !o->tokens) || (o->n_strings && !o->strings))
        return specp_fail(why, SPEC_ERR_INVALID, "%zu tokens and %zu strings, but an array is NULL",
                          o->n_tokens, o->n_strings);
    for (size_t i = 0; i < o->n_tokens; i++)
        if (o->tokens[i] < 0)
            return specp_fail(why, SPEC_ERR_INVALID, "stop token %zu is %d", i, o->tokens[i]);
    for (size_t i = 0; i < o->n_strings; i++)
        if (!o->strings[i].n || !o->strings[i].data)
            return specp_fail(why, SPEC_ERR_INVALID, "stop string %zu is empty", i);
    return SPEC_OK;
}

static int make_pattern(pattern *p, const spec_bytes *string, const spec_allocator *alloc) {
    p->n = string->n;
    p->byte = specp_alloc(alloc, p->n, 1);
    p->fall = specp_alloc(alloc, p->n, sizeof *p->fall);
    if (!p->byte || !p->fall) return SPEC_ERR_NOMEM;
    memcpy(p->byte, string->data, p->n);
    size_t k = 0;
    p->fall[0] = 0;
    for (size_t i = 1; i < p->n; i++) {
        while (k && p->byte[i] != p->byte[k]) k = p->fall[k - 1];
        if (p->byte[i] == p->byte[k]) k++;
        p->fall[i] = k;
    }
    return SPEC_OK;
}

static int fill(spec_stop *s, const spec_stop_options *o) {
    if (o->n_tokens) {
        s->token = specp_alloc(&s->alloc, s->n_tokens = o->n_tokens, sizeof *s->token);
        if (!s->token) return SPEC_ERR_NOMEM;
        memcpy(s->token, o->tokens, o->n_tokens * sizeof *s->token);
    }
    if (o->n_strings) {
        s->pattern = specp_calloc(&s->alloc, s->n_patterns = o->n_strings, sizeof *s->pattern);
        if (!s->pattern) return SPEC_ERR_NOMEM;
    }
    for (size_t i = 0; i < o->n_strings; i++)
        if (make_pattern(&s->pattern[i], &o->strings[i], &s->alloc)) return SPEC_ERR_NOMEM;
    return SPEC_OK;
}

int spec_stop_new(spec_stop **out, const spec_stop_options *o, const spec_allocator *alloc,
                  spec_message *why) {
    spec_stop_options options = {0};
    if (why) why->text[0] = 0;
    if (!out) return specp_fail(why, SPEC_ERR_INVALID, "expected an out pointer");
    int err = specp_take(&options, sizeof options, o, "options", why);
    if (!err) err = check_options(&options, why);
    if (err) return err;
    spec_stop *s = specp_calloc(alloc, 1, sizeof *s);
    if (!s) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for stop strings");
    if (alloc) s->alloc = *alloc;
    if (fill(s, &options)) {
        spec_stop_free(s);
        return specp_fail(why, SPEC_ERR_NOMEM, "no memory for stop strings");
    }
    *out = s;
    return SPEC_OK;
}

void spec_stop_reset(spec_stop *s) {
    for (size_t i = 0; i < s->n_patterns; i++) s->pattern[i].matched = 0;
    s->n_text = 0;
    s->ended = false;
}

/* ---- matching --------------------------------------------------------------- */

/* Advances a pattern; whether it is complete. */
static bool advance(pattern *p, unsigned char byte) {
    while (p->matched && p->byte[p->matched] != byte) p->matched = p->fall[p->matched - 1];
    if (p->byte[p->matched] == byte) p->matched++;
    return p->matched == p->n;
}

/* Feeds a piece; the pattern that is complete first, the longest of several, or n_patterns. */
static size_t match(spec_stop *s, const spec_bytes *piece) {
    for (size_t i = 0; i < piece->n; i++) {
        size_t best = s->n_patterns;
        s->n_text++;
        for (size_t k = 0; k < s->n_patterns; k++)
            if (advance(&s->pattern[k], (unsigned char)piece->data[i]) &&
                (best == s->n_patterns || s->pattern[k].n > s->pattern[best].n))
                best = k;
        if (best < s->n_patterns) return best;
    }
    return s->n_patterns;
}

static uint64_t certain_text(const spec_stop *s) {
    size_t longest = 0;
    for (size_t i = 0; i < s->n_patterns; i++)
        if (s->pattern[i].matched > longest) longest = s->pattern[i].matched;
    return s->n_text - longest;
}

static bool in_set(const spec_stop *s, spec_token token, size_t *which) {
    for (size_t i = 0; i < s->n_tokens; i++)
        if (s->token[i] == token) {
            *which = i;
            return true;
        }
    return false;
}

static int check_fed(const spec_token *tok, const spec_bytes *pieces, size_t n) {
    if (n && !tok) return SPEC_ERR_INVALID;
    for (size_t i = 0; i < n; i++)
        if (tok[i] < 0 || (pieces && pieces[i].n && !pieces[i].data)) return SPEC_ERR_INVALID;
    return SPEC_OK;
}

int spec_stop_feed(spec_stop *s, const spec_token *tok, const spec_bytes *pieces, size_t n,
                   spec_stop_result *out) {
    if (!s || !out) return SPEC_ERR_INVALID;
    int err = check_fed(tok, pieces, n);
    if (err) return err;
    if (s->ended) return SPEC_ERR_STATE;
    spec_stop_result r = {0};
    for (size_t i = 0; i < n && !s->ended; i++) {
        r.n_tokens++;
        if ((s->ended = in_set(s, tok[i], &r.which))) {
            r.reason = SPEC_STOP_TOKEN;
            r.n_text = s->n_text; /* no string can begin in what is to come */
        } else if (pieces) {
            size_t k = match(s, &pieces[i]);
            if (!(s->ended = k < s->n_patterns)) continue;
            r.reason = SPEC_STOP_STRING;
            r.which = k;
            r.string_end = s->n_text;
            r.n_text = s->n_text - s->pattern[k].n;
        }
    }
    if (!s->ended) r.n_text = certain_text(s);
    *out = r;
    return SPEC_OK;
}
