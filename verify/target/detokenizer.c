/* SPDX-License-Identifier: MIT */
/*
 * detokenizer.c - tokens to text, a stream or all at once.
 *
 * Bytes come in as tokens have them, characters go out. `held` is the beginning of a character:
 * bytes that some valid character begins with, and not a whole one.
 *
 *   in    68  e4 b8 | ad  e4 | 41 ...
 *   out   h           U+4E2D   U+FFFD A
 */
#include <string.h>

#include "tokenizer.h"

typedef struct stream {
    const spec_tokenizer *t;
    unsigned flags;
    bool begun; /* something has gone out, or need not be looked at */
    uint8_t held[4];
    uint8_t n_held, want; /* bytes of the character, seen and in all */
    uint8_t low, high;    /* what the next byte may be */
    char *out;            /* (cap) */
    size_t cap, n;
} stream;

static void put(stream *s, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++, s->n++)
        if (s->n < s->cap) s->out[s->n] = bytes[i];
}

static void replace(stream *s) {
    put(s, "\xef\xbf\xbd", 3);
    s->n_held = 0;
}

/* The first byte of a character. */
static void put_first(stream *s, uint8_t b) {
    s->low = 0x80;
    s->high = 0xbf;
    s->held[0] = b;
    s->n_held = 1;
    s->want = b < 0x80 ? 1 : b < 0xc2 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf5 ? 4 : 0;
    if (b == 0xe0) s->low = 0xa0;  /* shorter forms exist below */
    if (b == 0xed) s->high = 0x9f; /* surrogates above */
    if (b == 0xf0) s->low = 0x90;
    if (b == 0xf4) s->high = 0x8f; /* past U+10FFFF above */
    if (s->want == 0) replace(s);
}

static void put_byte(stream *s, uint8_t b) {
    if (s->n_held && (b < s->low || b > s->high)) replace(s);
    if (s->n_held == 0) {
        put_first(s, b);
    } else {
        s->held[s->n_held++] = b;
        s->low = 0x80;
        s->high = 0xbf;
    }
    if (s->n_held && s->n_held == s->want) {
        put(s, (const char *)s->held, s->n_held);
        s->n_held = 0;
    }
}

static void begin(stream *s) {
    s->n_held = 0;
    s->begun = s->t->prefix == SPECP_PREFIX_NONE || s->flags & SPEC_DETOKENIZE_CONTINUE;
}

static bool is_skipped(const stream *s, const specp_token *k) {
    return s->flags & SPEC_DETOKENIZE_SKIP_SPECIAL &&
           (k->kind == SPEC_TOKEN_CONTROL || k->kind == SPEC_TOKEN_UNKNOWN);
}

static int put_token(stream *s, spec_token token) {
    if (token < 0 || (size_t)token >= s->t->n_tokens) return SPEC_ERR_INVALID;
    const specp_token *k = &s->t->token[token];
    if (is_skipped(s, k) || k->n_piece == 0) return SPEC_OK;
    const char *piece = s->t->pool + k->piece;
    uint32_t i = !s->begun && piece[0] == ' ';
    s->begun = true;
    for (; i < k->n_piece; i++) put_byte(s, (uint8_t)piece[i]);
    return SPEC_OK;
}

static void end(stream *s) {
    if (s->n_held) replace(s);
    begin(s);
}

/* ---- streams --------------------------------------------------------------------- */

struct spec_detokenizer {
    stream s; /* out: what one token can give at most: 3 bytes for each of its own, and for what was held */
};

static bool known_flags(unsigned flags) {
    return !(flags & ~(unsigned)(SPEC_DETOKENIZE_SKIP_SPECIAL | SPEC_DETOKENIZE_CONTINUE));
}

int spec_detokenizer_new(spec_detokenizer **out, const spec_tokenizer *t, unsigned flags) {
    if (!out || !t || !known_flags(flags)) return SPEC_ERR_INVALID;
    spec_detokenizer *d = specp_calloc(&t->alloc, 1, sizeof *d);
    if (!d) return SPEC_ERR_NOMEM;
    d->s = (stream){.t = t, .flags = flags, .cap = 3 * (t->max_piece + 1)};
    d->s.out = specp_alloc(&t->alloc, d->s.cap, 1);
    if (!d->s.out) {
        specp_release(&t->alloc, d, 1, sizeof *d);
        return SPEC_ERR_NOMEM;
    }
    begin(&d->s);
    *out = d;
    return SPEC_OK;
}

void spec_detokenizer_free(spec_detokenizer *d) {
    if (!d) return;
    const spec_allocator *alloc = &d->s.t->alloc;
    specp_release(alloc, d->s.out, d->s.cap, 1);
    specp_release(alloc, d, 1, sizeof *d);
}

int spec_detokenizer_push(spec_detokenizer *d, spec_token token, const char **text, size_t *n) {
    if (!d || !text || !n) return SPEC_ERR_INVALID;
    d->s.n = 0;
    int err = put_token(&d->s, token);
    if (err) return err;
    *text = d->s.out;
    *n = d->s.n;
    return SPEC_OK;
}

void spec_detokenizer_finish(spec_detokenizer *d, const char **text, size_t *n) {
    d->s.n = 0;
    end(&d->s);
    *text = d->s.out;
    *n = d->s.n;
}

/* ---- all at once -------------------------------------------------------------------- */

int spec_tokenizer_decode(const spec_tokenizer *t, const spec_token *tokens, size_t n, unsigned flags,
                          char *out, size_t cap, size_t *n_bytes) {
    if (!t || !n_bytes || (n && !tokens) || (cap && !out)) return SPEC_ERR_INVALID;
    *n_bytes = 0;
    if (!known_flags(flags)) return SPEC_ERR_INVALID;
    stream s = {.t = t, .flags = flags, .out = out, .cap = cap};
    begin(&s);
    for (size_t i = 0; i < n; i++) {
        int err = put_token(&s, tokens[i]);
        if (err) return err;
    }
    end(&s);
    *n_bytes = s.n;
    return s.n > cap ? SPEC_ERR_FULL : SPEC_OK;
}
