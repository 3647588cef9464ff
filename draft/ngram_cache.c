/* SPDX-License-Identifier: MIT */
/*
 * ngram-cache: drafts by n-gram counts, n = 4 down to 1, after the family of the
 * same name in llama.cpp (PR 5479).
 *
 *     asked in this order, n = 4, 3, 2, 1 in each:
 *       context   the request's own text           total >= {2,2,1,1}, share >= {66,50,50,50}%
 *       recent    the tenant's earlier responses   total >= {4,3,2,2}, share >= {75,66,66,66}%
 *       older     the same, before recent began    likewise              (for n = 1,2,3,4)
 *
 * The first n-gram that passes gives the token: its most frequent successor. The
 * draft is a chain; each token drafted extends the n-grams that ask for the next.
 * Left out is llama.cpp's third, static cache, which is made offline from a
 * corpus and would also weigh the scores (count times 100 times the static
 * count); without one the score is the count.
 *
 * A response is taught to its tenant when its request ends: what a request has
 * said itself is in its context cache already. It is taught in slices, so that
 * no draft waits for more than SLICE tokens. Where memory is refused the rest of
 * the response is not learnt.
 *
 * Shared memory is bounded by two generations: when `recent` would outgrow half
 * the limit, `older` is forgotten, `recent` becomes `older`, and a new one
 * begins. That is never longer than a free, while ageing counts in place would
 * stop every request for the whole table.
 *
 * Probability: a node has its parent's times its token's share of the counts.
 */
#include "draft_internal.h"
#include "ngram_counts.h"
#include "shared.h"
#include "text.h"

#define SLICE 64

typedef struct cache_options {
    int64_t len, size_mb, tenants;
    bool shared, cross_tenant;
} cache_options;

typedef struct ngram_cache {
    specp_shell shell;
    cache_options options;
    specp_tenants tenants;
    _Atomic uint64_t shared_tokens, shared_grams; /* held now */
} ngram_cache;

/* One generation of shared counts. */
typedef struct generation {
    specp_ngram_counts counts;
    uint64_t tokens;
} generation;

/* What a tenant's requests share. */
typedef struct knowledge {
    pthread_rwlock_t lock;
    generation recent, older;
} knowledge;

typedef struct cache_request {
    specp_ngram_counts context;
    specp_text text;   /* the response, after the last tokens of the prompt */
    size_t response;   /* where it begins */
    knowledge *shared; /* or NULL */
} cache_request;

/* ---- drafting ------------------------------------------------------------- */

typedef struct thresholds {
    uint32_t total[SPECP_NGRAM_MAX], percent[SPECP_NGRAM_MAX]; /* by n - 1 */
} thresholds;

static const thresholds lax = {{2, 2, 1, 1}, {66, 50, 50, 50}};
static const thresholds strict = {{4, 3, 2, 2}, {75, 66, 66, 66}};

/* The longest n-gram at the end of tail[0..n_tail) that passes, or NULL. */
static const specp_gram *ask(const specp_ngram_counts *c, const spec_token *tail, size_t n_tail,
                             const thresholds *t) {
    for (size_t n = n_tail; n > 0; n--) {
        const specp_gram *g = specp_ngram_find(c, tail + n_tail - n, n);
        if (g && g->total >= t->total[n - 1] &&
            (uint64_t)g->best_count * 100 >= (uint64_t)g->total * t->percent[n - 1])
            return g;
    }
    return NULL;
}

static const specp_gram *ask_all(const cache_request *r, const spec_token *tail, size_t n_tail) {
    const specp_gram *g = ask(&r->context, tail, n_tail, &lax);
    if (!g && r->shared) g = ask(&r->shared->recent.counts, tail, n_tail, &strict);
    if (!g && r->shared) g = ask(&r->shared->older.counts, tail, n_tail, &strict);
    return g;
}

static size_t gram_length(const specp_gram *g) {
    size_t n = SPECP_NGRAM_MAX;
    while (g->key[n - 1] < 0) n--;
    return n;
}

static void draft(const cache_request *r, uint32_t limit, spec_tree *out) {
    spec_token tail[SPECP_NGRAM_MAX];
    float prob = 1.0f;
    while (out->n < limit) {
        size_t end = r->text.n + out->n, n = end < SPECP_NGRAM_MAX ? end : SPECP_NGRAM_MAX;
        for (size_t i = 0; i < n; i++) tail[i] = specp_text_at(&r->text, out, end - n + i);
        const specp_gram *g = ask_all(r, tail, n);
        if (!g) return;
        if (!out->n) out->match_len = (uint32_t)gram_length(g);
        prob *= (float)((double)g->best_count / g->total);
        specp_chain_add(out, g->best, prob, SPEC_SOURCE_NGRAM);
    }
}

static int cache_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    ngram_cache *d = self;
    const cache_request *r = state;
    uint32_t limit = specp_chain_limit(a->budget, a->max_depth, d->options.len);
    if (r->shared) specp_read_lock(&r->shared->lock, &d->shell.wait);
    draft(r, limit, out);
    if (r->shared) pthread_rwlock_unlock(&r->shared->lock);
    return SPEC_OK;
}

/* ---- learning -------------------------------------------------------------- */

/* Learns tok[from..n), given all that stands before. Room must have been reserved. */
static void learn(specp_ngram_counts *c, const spec_token *tok, size_t from, size_t n) {
    for (size_t i = from; i < n; i++) {
        size_t n_tail = i < SPECP_NGRAM_MAX ? i : SPECP_NGRAM_MAX;
        specp_ngram_learn(c, tok + i - n_tail, n_tail, tok[i]);
    }
}

static void count(_Atomic uint64_t *total, uint64_t by) {
    atomic_fetch_add_explicit(total, by, memory_order_relaxed);
}

static void forget(ngram_cache *d, generation *g) {
    count(&d->shared_tokens, -g->tokens);
    count(&d->shared_grams, -(uint64_t)g->counts.n_grams);
    specp_ngram_release(&g->counts, &d->shell.alloc);
    g->tokens = 0;
}

/* Makes room for n tokens, beginning a new generation where the limit asks for it. */
static int make_room(ngram_cache *d, knowledge *k, size_t n) {
    size_t limit = ((size_t)d->options.size_mb << 20) / 2;
    if (specp_ngram_bytes_with(&k->recent.counts, n) > limit) {
        forget(d, &k->older);
        k->older = k->recent;
        memset(&k->recent, 0, sizeof k->recent);
    }
    return specp_ngram_reserve(&k->recent.counts, n, &d->shell.alloc);
}

/* Teaches tokens [from, from + n) of a response. */
static int teach_slice(ngram_cache *d, knowledge *k, const spec_token *response, size_t from, size_t n) {
    specp_write_lock(&k->lock, &d->shell.wait);
    int err = make_room(d, k, n);
    if (!err) {
        size_t grams = k->recent.counts.n_grams;
        learn(&k->recent.counts, response, from, from + n);
        k->recent.tokens += n;
        count(&d->shared_tokens, n);
        count(&d->shared_grams, k->recent.counts.n_grams - grams);
    }
    pthread_rwlock_unlock(&k->lock);
    return err;
}

static void teach(ngram_cache *d, knowledge *k, const spec_token *response, size_t n) {
    int err = SPEC_OK;
    for (size_t from = 0; from < n && !err; from += SLICE)
        err = teach_slice(d, k, response, from, n - from < SLICE ? n - from : SLICE);
}

static int cache_observe(void *self, void *state, const spec_outcome *o) {
    ngram_cache *d = self;
    cache_request *r = state;
    int err = specp_text_reserve(&r->text, o->n_committed, &d->shell.alloc);
    if (!err) err = specp_ngram_reserve(&r->context, o->n_committed, &d->shell.alloc);
    if (err) return err;
    size_t from = r->text.n;
    specp_text_add(&r->text, o->committed, o->n_committed);
    learn(&r->context, r->text.tok, from, r->text.n);
    return SPEC_OK;
}

/* ---- requests -------------------------------------------------------------- */

/* Learns the prompt slice by slice (a reserve for all of it would be for the
 * worst case) and keeps its last tokens. */
static int take_prompt(ngram_cache *d, cache_request *r, const spec_token *prompt, size_t n) {
    for (size_t from = 0; from < n; from += SLICE) {
        size_t to = n - from < SLICE ? n : from + SLICE;
        int err = specp_ngram_reserve(&r->context, to - from, &d->shell.alloc);
        if (err) return err;
        learn(&r->context, prompt, from, to);
    }
    size_t kept = n < SPECP_NGRAM_MAX ? n : SPECP_NGRAM_MAX;
    int err = specp_text_reserve(&r->text, kept, &d->shell.alloc);
    if (err) return err;
    if (kept) specp_text_add(&r->text, prompt + n - kept, kept);
    r->response = kept;
    return SPEC_OK;
}

static void free_request(ngram_cache *d, cache_request *r) {
    if (r->shared) specp_tenants_release(&d->tenants, r->shared);
    specp_ngram_release(&r->context, &d->shell.alloc);
    specp_text_release(&r->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

static void cache_end(void *self, void *state) {
    cache_request *r = state;
    size_t n = r->text.n - r->response;
    if (r->shared && n) teach(self, r->shared, r->text.tok + r->response, n);
    free_request(self, r);
}

static int cache_begin(void *self, const spec_request_info *info, void **state) {
    ngram_cache *d = self;
    cache_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    void *shared = NULL;
    int err = take_prompt(d, r, info->prompt, info->n_prompt);
    if (!err && d->options.shared) err = specp_tenants_acquire(&d->tenants, info->tenant, &shared);
    r->shared = shared;
    if (err)
        free_request(d, r);
    else
        *state = r;
    return err;
}

/* ---- the drafter ------------------------------------------------------------ */

static int make_knowledge(void *user, void **out) {
    ngram_cache *d = user;
    knowledge *k = specp_calloc(&d->shell.alloc, 1, sizeof *k);
    if (!k) return SPEC_ERR_NOMEM;
    int err = specp_rwlock_init(&k->lock);
    if (err) specp_release(&d->shell.alloc, k, 1, sizeof *k);
    if (!err) *out = k;
    return err;
}

static void drop_knowledge(void *user, void *dropped) {
    ngram_cache *d = user;
    knowledge *k = dropped;
    forget(d, &k->recent);
    forget(d, &k->older);
    pthread_rwlock_destroy(&k->lock);
    specp_release(&d->shell.alloc, k, 1, sizeof *k);
}

static void cache_stats(void *self, spec_drafter_stats *out) {
    ngram_cache *d = self;
    out->index_tokens = atomic_load_explicit(&d->shared_tokens, memory_order_relaxed);
    out->index_states = atomic_load_explicit(&d->shared_grams, memory_order_relaxed);
    specp_shell_stats(d, out);
}

static void cache_free(void *self) {
    ngram_cache *d = self;
    specp_tenants_destroy(&d->tenants);
    specp_shell_free(d);
}

const char specp_ngram_cache_help[] =
    "ngram-cache: the most frequent token after the last 4, 3, 2 or 1 tokens, by\n"
    "  counts of the request's own text, then of the tenant's earlier responses;\n"
    "  thresholds as in llama.cpp (there is no static cache).\n"
    "  len=N           longest draft, 1..4096 (default 16)\n"
    "  shared=0|1      learn from responses of ended requests (default 1)\n"
    "  cross_tenant=0|1  let all tenants share what is learnt (default 0)\n"
    "  size_mb=N       memory for a tenant's shared counts, 1..65536 (default 64)\n"
    "  tenants=N       tenants remembered, 1..4096 (default 64); beyond them the one\n"
    "                  that has been idle longest is forgotten\n";

static const specp_option option_table[] = {
    SPECP_OPTION_INT(cache_options, len, 1, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_BOOL(cache_options, shared),
    SPECP_OPTION_BOOL(cache_options, cross_tenant),
    SPECP_OPTION_INT(cache_options, size_mb, 1, 65536),
    SPECP_OPTION_INT(cache_options, tenants, 1, 4096),
};

static const spec_drafter_ops cache_ops = {.version = SPEC_DRAFTER_OPS_V1,
                                           .name = "ngram-cache",
                                           .begin = cache_begin,
                                           .propose = cache_propose,
                                           .observe = cache_observe,
                                           .end = cache_end,
                                           .stats = cache_stats,
                                           .free = cache_free};

/* Makes the drafter's self, or NULL. */
static ngram_cache *make_self(const cache_options *o, const spec_allocator *alloc) {
    ngram_cache *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return NULL;
    d->options = *o;
    d->tenants = (specp_tenants){&d->shell, make_knowledge, drop_knowledge, o->cross_tenant,
                                 .max = (size_t)o->tenants};
    if (!specp_tenants_init(&d->tenants)) return d;
    specp_shell_free(d);
    return NULL;
}

int specp_ngram_cache_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                           spec_message *why) {
    cache_options o = {.len = 16, .size_mb = 64, .tenants = 64, .shared = true};
    int err = specp_options_parse("ngram-cache", options, option_table,
                                  sizeof option_table / sizeof *option_table, &o, why);
    if (err) return err;
    return specp_drafter_of(out, &cache_ops, make_self(&o, alloc), alloc, why);
}
