/* SPDX-License-Identifier: MIT */
/* Exact counts of what followed each n-gram. The picture is in ngram_counts.h. */
#include "ngram_counts.h"

#include <string.h>

#define FIRST_SLOTS 64

/* ---- hashing ------------------------------------------------------------- */

typedef struct gram_key {
    spec_token token[SPECP_NGRAM_MAX];
} gram_key;

static gram_key key_of(const spec_token *tok, size_t n) {
    gram_key k;
    for (size_t i = 0; i < SPECP_NGRAM_MAX; i++) k.token[i] = i < n ? tok[i] : -1;
    return k;
}

static uint64_t two(spec_token a, spec_token b) { return (uint64_t)(uint32_t)a << 32 | (uint32_t)b; }

static uint64_t hash_gram(const spec_token *key) {
    return specp_mix64(specp_mix64(two(key[0], key[1])) ^ two(key[2], key[3]));
}

/* The slot of a key, or the free one where it goes. */
static uint32_t *find_slot(const specp_ngram_counts *c, const spec_token *key) {
    size_t mask = c->n_slots - 1;
    for (size_t i = hash_gram(key) & mask;; i = (i + 1) & mask) {
        uint32_t g = c->slot[i];
        if (!g || !memcmp(c->gram[g - 1].key, key, sizeof c->gram[0].key)) return &c->slot[i];
    }
}

static specp_gram_pair *find_pair(const specp_ngram_counts *c, uint32_t gram, spec_token token) {
    size_t mask = c->n_pair_slots - 1;
    for (size_t i = specp_mix64(two((spec_token)gram, token)) & mask;; i = (i + 1) & mask) {
        specp_gram_pair *p = &c->pair[i];
        if (!p->gram || (p->gram == gram && p->token == token)) return p;
    }
}

/* ---- growing -------------------------------------------------------------- */

/* A power of two of which `used` is at most half, not below `now`. */
static size_t slots_for(size_t now, size_t used) {
    size_t n = now ? now : FIRST_SLOTS;
    while (n / 2 < used) n *= 2;
    return n;
}

/* The sizes that are enough for `tokens` more: each brings at most one gram and
 * two pairs (its own and the one that was implied) for each n. */
static specp_ngram_counts sizes_with(const specp_ngram_counts *c, size_t tokens) {
    size_t more = tokens * SPECP_NGRAM_MAX;
    specp_ngram_counts s = *c;
    s.n_slots = slots_for(c->n_slots, c->n_grams + more);
    s.cap_grams = s.n_slots / 2;
    s.n_pair_slots = slots_for(c->n_pair_slots, c->n_pairs + 2 * more);
    return s;
}

size_t specp_ngram_bytes_with(const specp_ngram_counts *c, size_t tokens) {
    specp_ngram_counts s = sizes_with(c, tokens);
    return s.n_slots * sizeof *s.slot + s.cap_grams * sizeof *s.gram + s.n_pair_slots * sizeof *s.pair;
}

static int grow_grams(specp_ngram_counts *c, size_t n_slots, size_t cap_grams, const spec_allocator *alloc) {
    specp_gram *gram = specp_resize(alloc, c->gram, c->cap_grams, cap_grams, sizeof *gram);
    if (!gram) return SPEC_ERR_NOMEM;
    c->gram = gram;
    c->cap_grams = cap_grams;
    uint32_t *slot = specp_calloc(alloc, n_slots, sizeof *slot);
    if (!slot) return SPEC_ERR_NOMEM;
    specp_release(alloc, c->slot, c->n_slots, sizeof *c->slot);
    c->slot = slot;
    c->n_slots = n_slots;
    for (size_t i = 0; i < c->n_grams; i++) *find_slot(c, c->gram[i].key) = (uint32_t)i + 1;
    return SPEC_OK;
}

static int grow_pairs(specp_ngram_counts *c, size_t n_pair_slots, const spec_allocator *alloc) {
    specp_ngram_counts old = *c;
    specp_gram_pair *pair = specp_calloc(alloc, n_pair_slots, sizeof *pair);
    if (!pair) return SPEC_ERR_NOMEM;
    c->pair = pair;
    c->n_pair_slots = n_pair_slots;
    for (size_t i = 0; i < old.n_pair_slots; i++)
        if (old.pair[i].gram) *find_pair(c, old.pair[i].gram, old.pair[i].token) = old.pair[i];
    specp_release(alloc, old.pair, old.n_pair_slots, sizeof *old.pair);
    return SPEC_OK;
}

int specp_ngram_reserve(specp_ngram_counts *c, size_t tokens, const spec_allocator *alloc) {
    if (tokens > INT32_MAX / SPECP_NGRAM_MAX) return SPEC_ERR_FULL;
    specp_ngram_counts s = sizes_with(c, tokens);
    if (s.cap_grams > INT32_MAX) return SPEC_ERR_FULL;
    int err = SPEC_OK;
    if (s.n_slots > c->n_slots) err = grow_grams(c, s.n_slots, s.cap_grams, alloc);
    if (!err && s.n_pair_slots > c->n_pair_slots) err = grow_pairs(c, s.n_pair_slots, alloc);
    return err;
}

void specp_ngram_release(specp_ngram_counts *c, const spec_allocator *alloc) {
    specp_release(alloc, c->slot, c->n_slots, sizeof *c->slot);
    specp_release(alloc, c->gram, c->cap_grams, sizeof *c->gram);
    specp_release(alloc, c->pair, c->n_pair_slots, sizeof *c->pair);
    memset(c, 0, sizeof *c);
}

/* ---- learning and asking --------------------------------------------------- */

/* Adds `by` to a pair's count and returns it. */
static uint32_t add_pair(specp_ngram_counts *c, uint32_t gram, spec_token token, uint32_t by) {
    specp_gram_pair *p = find_pair(c, gram, token);
    c->n_pairs += !p->gram;
    *p = (specp_gram_pair){gram, token, p->count + by};
    return p->count;
}

/* Counts one more `token` after the gram at place `at`. */
static void count_next(specp_ngram_counts *c, uint32_t at, spec_token token) {
    specp_gram *g = &c->gram[at];
    if (g->total == UINT32_MAX) return;
    bool one = g->total == g->best_count; /* only `best` has followed so far */
    g->total++;
    if (one && token == g->best) {
        g->best_count++;
        return;
    }
    if (one) add_pair(c, at + 1, g->best, g->best_count);
    uint32_t count = add_pair(c, at + 1, token, 1);
    if (count > g->best_count) {
        g->best = token;
        g->best_count = count;
    }
}

void specp_ngram_learn(specp_ngram_counts *c, const spec_token *tail, size_t n_tail, spec_token token) {
    for (size_t n = 1; n <= SPECP_NGRAM_MAX && n <= n_tail; n++) {
        gram_key key = key_of(tail + n_tail - n, n);
        uint32_t *slot = find_slot(c, key.token);
        if (*slot) {
            count_next(c, *slot - 1, token);
            continue;
        }
        specp_gram g = {.total = 1, .best_count = 1, .best = token};
        memcpy(g.key, key.token, sizeof g.key);
        c->gram[c->n_grams++] = g;
        *slot = (uint32_t)c->n_grams;
    }
}

const specp_gram *specp_ngram_find(const specp_ngram_counts *c, const spec_token *tok, size_t n) {
    if (!c->n_slots) return NULL;
    gram_key key = key_of(tok, n);
    uint32_t g = *find_slot(c, key.token);
    return g ? &c->gram[g - 1] : NULL;
}
