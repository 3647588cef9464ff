/* SPDX-License-Identifier: MIT */
/*
 * Documents, in two streams, and windows cut from them. A token that is no target
 * is kept as its complement, which is negative, so a stream needs nothing beside it.
 *
 * Stream of n tokens, windows of seq: window w of an epoch has the tokens at
 * at + w seq ... on the circle of n, `at` being another place in each epoch. Each token is
 * preceded by one on the circle, so an epoch of ceil(n / seq) windows makes each a target
 * once; the rows that the last window has too many have none.
 *
 * Apart: the windows are listed once, as the beginning and the length of each.
 */
#include "train_data.h"

#include <string.h>

#include "train_ops.h"

typedef struct cut {
    size_t begin; /* of the first token in the stream */
    size_t n;     /* tokens that have a successor: 1..seq */
} cut;

typedef struct stream {
    spec_token *token;
    size_t n, cap;
    cut *cut; /* only where documents stay apart */
    size_t n_cuts, cap_cuts;
    size_t documents;
} stream;

struct train_data {
    train_data_options o;
    spec_allocator alloc;
    stream part[2];
    uint64_t hash;
};

/* ---- life ---------------------------------------------------------------- */

int train_data_new(train_data **out, const train_data_options *o, const spec_allocator *alloc,
                   spec_message *why) {
    if (o->seq < 1 || o->seq > (size_t)1 << 22) {
        return specp_fail(why, SPEC_ERR_INVALID, "windows of %zu tokens, expected 1 to %zu", o->seq,
                          (size_t)1 << 22);
    }
    train_data *d = specp_calloc(alloc, 1, sizeof *d);
    if (!d) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for documents");
    if (alloc) d->alloc = *alloc;
    d->o = *o;
    *out = d;
    return SPEC_OK;
}

void train_data_free(train_data *d) {
    if (!d) return;
    spec_allocator alloc = d->alloc;
    for (int p = 0; p < 2; p++) {
        specp_release(&alloc, d->part[p].token, d->part[p].cap, sizeof *d->part[p].token);
        specp_release(&alloc, d->part[p].cut, d->part[p].cap_cuts, sizeof *d->part[p].cut);
    }
    specp_release(&alloc, d, 1, sizeof *d);
}

/* ---- adding -------------------------------------------------------------- */

/* `more` elements beyond n will fit; NULL when memory is out, and nothing has changed. */
static void *room(const spec_allocator *a, void *p, size_t n, size_t *cap, size_t more, size_t size) {
    if (more <= *cap - n && p) return p;
    if (more > SIZE_MAX / 2 - n) return NULL;
    size_t want = n + more < 2 * *cap ? 2 * *cap : n + more;
    void *grown = specp_resize(a, p, *cap, want, size);
    if (grown) *cap = want;
    return grown;
}

static bool is_held(const train_data *d) {
    size_t index = d->part[0].documents + d->part[1].documents;
    return d->o.held_out && specp_mix64(index) % d->o.held_out == 0;
}

/* The pieces of a document at `begin` of which something is to be learnt; with s == NULL only counted. */
static size_t cut_document(const train_data *d, stream *s, size_t begin, size_t n, size_t learn_from) {
    size_t count = 0;
    for (size_t at = 0; at + 1 < n; at += d->o.seq) {
        size_t left = n - 1 - at, rows = left < d->o.seq ? left : d->o.seq;
        if (at + rows < learn_from) continue;
        if (s) s->cut[s->n_cuts++] = (cut){begin + at, rows};
        count++;
    }
    return count;
}

int train_data_add(train_data *d, const spec_token *token, size_t n, size_t learn_from) {
    bool held = is_held(d);
    stream *s = &d->part[held ? TRAIN_PART_HELD : TRAIN_PART_LEARN];
    if (n == 0) return SPEC_OK;
    size_t cuts = d->o.apart ? cut_document(d, NULL, 0, n, learn_from) : 0;
    spec_token *tokens = room(&d->alloc, s->token, s->n, &s->cap, n, sizeof *tokens);
    if (!tokens) return SPEC_ERR_NOMEM;
    s->token = tokens;
    if (cuts) {
        cut *grown = room(&d->alloc, s->cut, s->n_cuts, &s->cap_cuts, cuts, sizeof *grown);
        if (!grown) return SPEC_ERR_NOMEM;
        s->cut = grown;
        cut_document(d, s, s->n, n, learn_from);
    }
    uint64_t h = specp_mix64(d->hash ^ ((uint64_t)n << 1 | held));
    for (size_t i = 0; i < n; i++) {
        spec_token t = i < learn_from ? ~token[i] : token[i];
        s->token[s->n + i] = t;
        h = specp_mix64(h ^ (uint32_t)t);
    }
    s->n += n;
    s->documents++;
    d->hash = h;
    return SPEC_OK;
}

/* ---- numbers ------------------------------------------------------------- */

size_t train_data_documents(const train_data *d, train_part_kind part) { return d->part[part].documents; }

size_t train_data_tokens(const train_data *d, train_part_kind part) { return d->part[part].n; }

size_t train_data_windows(const train_data *d, train_part_kind part) {
    const stream *s = &d->part[part];
    if (d->o.apart) return s->n_cuts;
    return s->n < 2 ? 0 : s->n / d->o.seq + (s->n % d->o.seq != 0);
}

uint64_t train_data_hash(const train_data *d) { return d->hash; }

/* ---- windows ------------------------------------------------------------- */

/*
 * Where i of 0..n-1 goes in the permutation of that key: a Feistel network on the
 * least even number of bits that holds n, again and again until the result is below n. Each
 * round can be undone, so it is a permutation, and it is walked at most a few times:
 * the network has fewer than 4 n places.
 */
static uint64_t permuted(uint64_t i, uint64_t n, uint64_t key) {
    unsigned half = 1;
    while (half < 31 && (uint64_t)1 << 2 * half < n) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t next = left ^ (specp_mix64(key + (right << 2 | round)) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

static spec_token plain(spec_token t) { return t < 0 ? ~t : t; }

static spec_token as_target(spec_token t) { return t < 0 ? TRAIN_IGNORED : t; }

static void window_of_stream(const stream *s, size_t seq, size_t at, size_t w, spec_token *token,
                             spec_token *target) {
    size_t rows = s->n - w * seq < seq ? s->n - w * seq : seq, i = (at + w * seq) % s->n;
    for (size_t r = 0; r < seq; r++) {
        token[r] = plain(s->token[i]);
        i = i + 1 < s->n ? i + 1 : 0;
        target[r] = r < rows ? as_target(s->token[i]) : TRAIN_IGNORED;
    }
}

static void window_apart(const stream *s, size_t seq, size_t w, spec_token *token, spec_token *target) {
    const cut *c = &s->cut[w];
    const spec_token *from = s->token + c->begin;
    for (size_t r = 0; r < seq; r++) {
        token[r] = plain(from[r <= c->n ? r : c->n]);
        target[r] = r < c->n ? as_target(from[r + 1]) : TRAIN_IGNORED;
    }
}

static void empty_window(size_t seq, spec_token *token, spec_token *target) {
    for (size_t r = 0; r < seq; r++) {
        token[r] = 0;
        target[r] = TRAIN_IGNORED;
    }
}

void train_data_window(const train_data *d, train_part_kind part, uint64_t i, spec_token *token,
                       spec_token *target) {
    const stream *s = &d->part[part];
    uint64_t n = train_data_windows(d, part), at = 0;
    if (!n) {
        empty_window(d->o.seq, token, target);
        return;
    }
    bool learn = part == TRAIN_PART_LEARN;
    uint64_t key = learn ? specp_mix64(specp_mix64(d->o.seed) + i / n) : 0, w = permuted(i % n, n, key);
    if (learn) at = key % s->n;
    if (d->o.apart)
        window_apart(s, d->o.seq, (size_t)w, token, target);
    else
        window_of_stream(s, d->o.seq, (size_t)at, (size_t)w, token, target);
}
