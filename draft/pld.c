/* SPDX-License-Identifier: MIT */
/*
 * Prompt lookup decoding: find the last n tokens earlier in the request's own
 * text, longest n first, and draft what followed them there. (Saxena 2023,
 * github.com/apoorvumang/prompt-lookup-decoding; Yang et al. 2023, arXiv
 * 2304.04487.)
 *
 *     text     x a b c d ... y a b c d e ... z a b c
 *                      ^                ^           ^ tail of n = 3: "a b c"
 *                first:4          recent            the tail itself is no match
 *
 * For each n there is a hash table of the n-grams that have a next token: its
 * slots hold the place of that token (plus one; 0 is a free slot), the latest
 * for match=recent, the earliest for match=first. Tokens are compared before a
 * slot is believed. Since an n-gram enters the table when its next token is
 * appended, the tail is never in it.
 *
 * match=recent copies to the end of the text and goes on into the draft itself
 * (as LZ77 does), so a text of period p is drafted at full length (wrap=0: stops
 * at the end). match=first takes the earliest place that has `len` tokens after
 * it and lies wholly before the tail, or tries a shorter n: the rule of the
 * reference and of Spec-Bench.
 *
 * Probability: node i of a draft from n matched tokens gets (n / (n + 1))^i,
 * the rule of succession for n agreements in n trials.
 *
 * Invariants: used <= cap / 2, cap a power of two (or 0); slot - 1 < text.n.
 */
#include "draft_internal.h"
#include "shared.h"
#include "text.h"

#define MAX_N 16

typedef struct pld_options {
    int64_t n_max, n_min, len;
    int match; /* an index of match_words */
    bool wrap;
} pld_options;

enum { MATCH_RECENT, MATCH_FIRST };
static const char *const match_words[] = {"recent", "first", NULL};

typedef struct pld {
    specp_shell shell;
    pld_options options;
} pld;

/* The n-grams of one n. */
typedef struct gram_table {
    uint32_t *slot; /* (cap) */
    size_t cap, used;
} gram_table;

typedef struct pld_request {
    specp_text text;
    gram_table table[MAX_N]; /* by n - 1; only n_min..n_max are used */
} pld_request;

/* ---- tables ------------------------------------------------------------- */

/* Hashes an n-gram from its last token backwards: the hash of n - 1 tokens is a
 * step of the hash of n. */
static uint64_t hash_step(uint64_t h, spec_token token) { return specp_mix64(h ^ (uint32_t)token); }

/* The hashes of the n-grams that end before `end`, n = 1..n_max, in hash[n - 1].
 * Returns how many fit into the text. */
static size_t hash_before(const spec_token *tok, size_t end, size_t n_max, uint64_t *hash) {
    size_t n = n_max < end ? n_max : end;
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) hash[i] = h = hash_step(h, tok[end - 1 - i]);
    return n;
}

/* The slot of the n-gram that ends before `end`, or the free one where it goes. */
static uint32_t *find_slot(const gram_table *t, const spec_token *tok, size_t end, size_t n, uint64_t hash) {
    size_t mask = t->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t next = t->slot[i];
        if (!next || !memcmp(tok + (next - 1 - n), tok + (end - n), n * sizeof *tok)) return &t->slot[i];
    }
}

static void rehash(gram_table *t, const gram_table *old, const spec_token *tok, size_t n) {
    uint64_t hash[MAX_N] = {0};
    for (size_t i = 0; i < old->cap; i++) {
        if (!old->slot[i]) continue;
        size_t end = old->slot[i] - 1;
        hash_before(tok, end, n, hash);
        *find_slot(t, tok, end, n, hash[n - 1]) = old->slot[i];
    }
}

/* Makes room for `more` n-grams. */
static int table_reserve(gram_table *t, size_t more, const spec_token *tok, size_t n,
                         const spec_allocator *alloc) {
    gram_table bigger = {.cap = t->cap ? t->cap : 64, .used = t->used};
    if (more > SIZE_MAX / 8 - t->used) return SPEC_ERR_NOMEM;
    while (bigger.cap / 2 < t->used + more) bigger.cap *= 2;
    if (bigger.cap == t->cap) return SPEC_OK;
    bigger.slot = specp_calloc(alloc, bigger.cap, sizeof *bigger.slot);
    if (!bigger.slot) return SPEC_ERR_NOMEM;
    rehash(&bigger, t, tok, n);
    specp_release(alloc, t->slot, t->cap, sizeof *t->slot);
    *t = bigger;
    return SPEC_OK;
}

/* ---- learning ------------------------------------------------------------ */

/* Enters the n-grams that end before the text's last token. */
static void learn_last(const pld_options *o, pld_request *r) {
    uint64_t hash[MAX_N] = {0};
    size_t end = r->text.n - 1;
    size_t n_max = hash_before(r->text.tok, end, (size_t)o->n_max, hash);
    for (size_t n = (size_t)o->n_min; n <= n_max; n++) {
        gram_table *t = &r->table[n - 1];
        uint32_t *slot = find_slot(t, r->text.tok, end, n, hash[n - 1]);
        t->used += !*slot;
        if (!*slot || o->match == MATCH_RECENT) *slot = (uint32_t)end + 1;
    }
}

static int append(pld *d, pld_request *r, const spec_token *tok, size_t n) {
    if (n >= UINT32_MAX - r->text.n) return SPEC_ERR_FULL;
    int err = specp_text_reserve(&r->text, n, &d->shell.alloc);
    for (int64_t k = d->options.n_min; !err && k <= d->options.n_max; k++)
        err = table_reserve(&r->table[k - 1], n, r->text.tok, (size_t)k, &d->shell.alloc);
    if (err) return err;
    for (size_t i = 0; i < n; i++) {
        specp_text_add(&r->text, tok + i, 1);
        learn_last(&d->options, r);
    }
    return SPEC_OK;
}

/* ---- drafting ------------------------------------------------------------ */

/* Whether the reference's rule admits a match of n tokens before `next`. */
static bool first_admits(const pld_options *o, const pld_request *r, size_t next, size_t n) {
    return next + (size_t)o->len <= r->text.n && next + n < r->text.n;
}

/* Where the continuation of the longest match begins; n receives its length, 0
 * when there is none. */
static size_t look_up(const pld_options *o, const pld_request *r, size_t *n) {
    uint64_t hash[MAX_N] = {0};
    const specp_text *t = &r->text;
    *n = hash_before(t->tok, t->n, (size_t)o->n_max, hash);
    for (; *n >= (size_t)o->n_min; --*n) {
        const gram_table *table = &r->table[*n - 1];
        uint32_t next = table->cap ? *find_slot(table, t->tok, t->n, *n, hash[*n - 1]) : 0;
        if (next && (o->match == MATCH_RECENT || first_admits(o, r, next - 1, *n))) return next - 1;
    }
    *n = 0;
    return 0;
}

static int pld_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    const pld *d = self;
    const pld_request *r = state;
    size_t n, next = look_up(&d->options, r, &n);
    if (!n) return SPEC_OK;
    uint32_t limit = specp_chain_limit(a->budget, a->max_depth, d->options.len);
    float step = (float)n / (float)(n + 1), prob = step;
    for (; out->n < limit && (d->options.wrap || next < r->text.n); next++, prob *= step)
        specp_chain_add(out, specp_text_at(&r->text, out, next), prob, SPEC_SOURCE_LOOKUP);
    out->match_len = (uint32_t)n;
    return SPEC_OK;
}

/* ---- requests ------------------------------------------------------------ */

static void pld_end(void *self, void *state) {
    pld *d = self;
    pld_request *r = state;
    for (size_t i = 0; i < MAX_N; i++)
        specp_release(&d->shell.alloc, r->table[i].slot, r->table[i].cap, sizeof *r->table[i].slot);
    specp_text_release(&r->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

static int pld_begin(void *self, const spec_request_info *info, void **state) {
    pld *d = self;
    pld_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = append(d, r, info->prompt, info->n_prompt);
    if (err) {
        pld_end(d, r);
        return err;
    }
    *state = r;
    return SPEC_OK;
}

static int pld_observe(void *self, void *state, const spec_outcome *o) {
    return append(self, state, o->committed, o->n_committed);
}

/* ---- the drafter --------------------------------------------------------- */

const char specp_pld_help[] =
    "pld: prompt lookup decoding. Finds the last n tokens earlier in the request's\n"
    "  own text, longest n first, and drafts what followed them, as a chain.\n"
    "  n_max=N     longest match tried, 1..16 (default 3)\n"
    "  n_min=N     shortest match tried, 1..16 (default 1)\n"
    "  len=N       longest draft, 1..4096 (default 10)\n"
    "  match=WORD  recent: the latest match; first: the earliest one with `len`\n"
    "              tokens after it, as Spec-Bench does (default recent)\n"
    "  wrap=0|1    with match=recent, a copy that reaches the end of the text goes\n"
    "              on into the draft itself (default 1)\n";

static const specp_option option_table[] = {
    SPECP_OPTION_INT(pld_options, n_max, 1, MAX_N),
    SPECP_OPTION_INT(pld_options, n_min, 1, MAX_N),
    SPECP_OPTION_INT(pld_options, len, 1, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_WORD(pld_options, match, match_words),
    SPECP_OPTION_BOOL(pld_options, wrap),
};

static int read_options(pld_options *o, const char *text, spec_message *why) {
    *o = (pld_options){.n_max = 3, .n_min = 1, .len = 10, .match = MATCH_RECENT, .wrap = true};
    int err =
        specp_options_parse("pld", text, option_table, sizeof option_table / sizeof *option_table, o, why);
    if (!err && o->n_min > o->n_max)
        return specp_fail(why, SPEC_ERR_INVALID, "drafter pld: n_min=%d is above n_max=%d", (int)o->n_min,
                          (int)o->n_max);
    return err;
}

int specp_pld_open(spec_drafter **out, const char *options, const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "pld",
                                         .begin = pld_begin,
                                         .propose = pld_propose,
                                         .observe = pld_observe,
                                         .end = pld_end,
                                         .stats = specp_shell_stats,
                                         .free = specp_shell_free};
    pld_options o;
    int err = read_options(&o, options, why);
    if (err) return err;
    pld *d = specp_shell_new(sizeof *d, alloc);
    if (d) d->options = o;
    return specp_drafter_of(out, &ops, d, alloc, why);
}
