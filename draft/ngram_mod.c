/* SPDX-License-Identifier: MIT */
/*
 * ngram-mod: one table from a hash of the last n tokens to the token that came
 * next, after the drafter of the same name in llama.cpp (PR 19164).
 *
 *     text   ... t(i-n) ... t(i-1) t(i)
 *                \___ hash ______/   |         place = hash scaled to the table
 *                       |            v
 *     table  [ -1 | -1 | t(i) | -1 | ... ]     -1: empty; the latest token wins
 *
 * The hash is a polynomial in the tokens, so the next window costs one step
 * (Karp and Rabin 1987). The table knows nothing of the n tokens themselves: an
 * n-gram that was never seen meets a foreign entry with a probability of the
 * table's occupancy. Therefore it is emptied when a quarter is in use, and also
 * after `streak` drafts in a row of which less than half was accepted; the
 * request that emptied it enters its own text again.
 *
 * A tenant's requests share one table. Its entries are relaxed atomics and there
 * is no lock: an entry is one token, and any token that was ever stored is valid
 * to draft. A bit for every line of 16 entries says where something was stored,
 * so that emptying costs as much as there is, not as much as there could be.
 *
 * With shared=0 a request has a table of its own, as small as its text is: open
 * addressing with the whole hash in each entry, so there are no foreign entries
 * to speak of and it is never emptied.
 *
 * Probability: node i of a draft gets (n / (n + 1))^i.
 */
#include "draft_internal.h"
#include "shared.h"
#include "text.h"

#define EMPTY            (-1)
#define ENTRIES_IN_MB(m) ((size_t)(m) << 18)
#define LINE             16u /* entries, 64 bytes */
#define IN_WORD          (LINE * 64)

typedef struct mod_options {
    int64_t n, len, min, streak, size_mb, tenants;
    bool shared, cross_tenant;
} mod_options;

typedef struct ngram_mod {
    specp_shell shell;
    mod_options options;
    uint64_t last_power; /* MULTIPLIER^(n - 1): what the first token of a window weighs */
    specp_tenants tenants;
    _Atomic uint64_t shared_tokens; /* entries of shared tables in use */
} ngram_mod;

/* A tenant's table. */
typedef struct mod_table {
    _Atomic spec_token *entry; /* (size) */
    _Atomic uint64_t *dirty;   /* (size / (16 * 64)) a bit for each line */
    size_t size;               /* a multiple of 16 * 64 */
    _Atomic size_t used;
    atomic_flag clearing;
} mod_table;

/* A request's own one: `used` at most half of `size`, a power of two or 0. */
typedef struct own_entry {
    uint64_t hash;
    spec_token token; /* EMPTY: free */
} own_entry;

typedef struct own_table {
    own_entry *entry; /* (size) */
    size_t size, used;
} own_table;

typedef struct mod_request {
    specp_text text;
    mod_table *table; /* the tenant's; NULL with shared=0, or when there was no place for the tenant */
    own_table own;    /* used with shared=0 */
    uint32_t poor;    /* drafts in a row of which less than half was accepted */
} mod_request;

/* ---- the rolling hash ------------------------------------------------------ */

/* A multiplier with good spectral properties for modulus 2^64 (Steele and Vigna
 * 2022, arXiv 2001.05304). */
#define MULTIPLIER 0xd1342543de82ef95u

/* Tokens count from one: a window of zeros is not the empty one. */
static uint64_t weight(spec_token token) { return (uint64_t)(uint32_t)token + 1; }

static uint64_t roll(const ngram_mod *d, uint64_t hash, spec_token leaves, spec_token enters) {
    return (hash - weight(leaves) * d->last_power) * MULTIPLIER + weight(enters);
}

static uint64_t hash_window(const ngram_mod *d, const spec_token *tok) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < d->options.n; i++) hash = hash * MULTIPLIER + weight(tok[i]);
    return hash;
}

/* ---- a tenant's table --------------------------------------------------------- */

static size_t place_of(const mod_table *t, uint64_t hash) {
    uint64_t h = specp_mix64(hash) >> 32;
    return (size_t)((h * t->size) >> 32);
}

/* Sizes are at most 2^32 entries, which the scaling above can reach. */
_Static_assert(ENTRIES_IN_MB(16384) == (size_t)1 << 32, "size_mb has this upper limit");

static void table_free(mod_table *t, const spec_allocator *alloc) {
    specp_release(alloc, t->entry, t->size, sizeof *t->entry);
    specp_release(alloc, t->dirty, t->size / IN_WORD, sizeof *t->dirty);
    specp_release(alloc, t, 1, sizeof *t);
}

static mod_table *table_new(size_t size, const spec_allocator *alloc) {
    mod_table *t = specp_calloc(alloc, 1, sizeof *t);
    if (!t) return NULL;
    t->size = size;
    t->entry = specp_alloc(alloc, size, sizeof *t->entry);
    t->dirty = specp_alloc(alloc, size / IN_WORD, sizeof *t->dirty);
    if (!t->entry || !t->dirty) {
        table_free(t, alloc);
        return NULL;
    }
    for (size_t i = 0; i < size; i++) atomic_init(&t->entry[i], EMPTY);
    for (size_t i = 0; i < size / IN_WORD; i++) atomic_init(&t->dirty[i], 0);
    atomic_init(&t->used, 0);
    atomic_flag_clear(&t->clearing);
    return t;
}

static size_t table_used(mod_table *t) { return atomic_load_explicit(&t->used, memory_order_relaxed); }

static bool crowded(mod_table *t, size_t more) { return table_used(t) + more > t->size / 4; }

static void table_put(ngram_mod *d, mod_table *t, uint64_t hash, spec_token token) {
    size_t i = place_of(t, hash);
    uint64_t bit = (uint64_t)1 << (i / LINE % 64);
    spec_token old = atomic_load_explicit(&t->entry[i], memory_order_relaxed);
    atomic_store_explicit(&t->entry[i], token, memory_order_relaxed);
    /* After the entry: a table_clear in between misses it, but the next one does not. */
    if (!(atomic_load_explicit(&t->dirty[i / IN_WORD], memory_order_relaxed) & bit))
        atomic_fetch_or_explicit(&t->dirty[i / IN_WORD], bit, memory_order_release);
    if (old != EMPTY) return;
    /* In this order table_clear never subtracts what is not yet added. */
    atomic_fetch_add_explicit(&d->shared_tokens, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->used, 1, memory_order_release);
}

static void clear_lines(mod_table *t, size_t word) {
    uint64_t bits = atomic_exchange_explicit(&t->dirty[word], 0, memory_order_acquire);
    for (size_t line = word * 64; bits; line++, bits >>= 1)
        for (size_t i = 0; i < LINE && bits & 1; i++)
            atomic_store_explicit(&t->entry[line * LINE + i], EMPTY, memory_order_relaxed);
}

/* Empties a table; other requests may read and write it meanwhile. An entry that
 * two threads filled at once was counted twice; the count begins anew here. */
static void table_clear(ngram_mod *d, mod_table *t) {
    if (atomic_flag_test_and_set(&t->clearing)) return; /* another thread is at it */
    size_t used = atomic_exchange_explicit(&t->used, 0, memory_order_acquire);
    atomic_fetch_sub_explicit(&d->shared_tokens, used, memory_order_relaxed);
    for (size_t word = 0; word < t->size / IN_WORD; word++) clear_lines(t, word);
    atomic_flag_clear(&t->clearing);
}

/* ---- a request's own table ------------------------------------------------------ */

/* The entry of a hash, or the free one where it goes. */
static own_entry *own_find(const own_table *t, uint64_t hash) {
    size_t mask = t->size - 1, i = specp_mix64(hash) & mask;
    while (t->entry[i].token != EMPTY && t->entry[i].hash != hash) i = (i + 1) & mask;
    return &t->entry[i];
}

static void own_put(own_table *t, uint64_t hash, spec_token token) {
    own_entry *e = own_find(t, hash);
    t->used += e->token == EMPTY;
    *e = (own_entry){hash, token};
}

static int own_reserve(own_table *t, size_t more, const spec_allocator *alloc) {
    own_table bigger = {.size = t->size ? t->size : 64, .used = t->used};
    if (more > SIZE_MAX / 8 - t->used) return SPEC_ERR_NOMEM;
    while (bigger.size / 2 < t->used + more) bigger.size *= 2;
    if (bigger.size == t->size) return SPEC_OK;
    bigger.entry = specp_alloc(alloc, bigger.size, sizeof *bigger.entry);
    if (!bigger.entry) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < bigger.size; i++) bigger.entry[i].token = EMPTY;
    for (size_t i = 0; i < t->size; i++)
        if (t->entry[i].token != EMPTY) *own_find(&bigger, t->entry[i].hash) = t->entry[i];
    specp_release(alloc, t->entry, t->size, sizeof *t->entry);
    *t = bigger;
    return SPEC_OK;
}

/* ---- both ------------------------------------------------------------------------- */

static spec_token look_up(const mod_request *r, uint64_t hash) {
    if (r->table)
        return atomic_load_explicit(&r->table->entry[place_of(r->table, hash)], memory_order_relaxed);
    return r->own.size ? own_find(&r->own, hash)->token : EMPTY;
}

/* Enters every window of the text whose next token is at `from` or later. */
static void enter_text(ngram_mod *d, mod_request *r, size_t from) {
    size_t n = (size_t)d->options.n;
    if (from < n) from = n;
    if (from >= r->text.n) return;
    const spec_token *tok = r->text.tok;
    uint64_t hash = hash_window(d, tok + from - n);
    for (size_t i = from; i < r->text.n; i++) {
        if (r->table)
            table_put(d, r->table, hash, tok[i]);
        else
            own_put(&r->own, hash, tok[i]);
        hash = roll(d, hash, tok[i - n], tok[i]);
    }
}

/* Empties the tenant's table and enters the request's own text again: all of it,
 * or the last part, an eighth of the table. */
static void start_again(ngram_mod *d, mod_request *r) {
    size_t keep = r->table->size / 8;
    table_clear(d, r->table);
    enter_text(d, r, r->text.n > keep ? r->text.n - keep : 0);
}

/* Appends to the text and enters it. */
static int append(ngram_mod *d, mod_request *r, const spec_token *tok, size_t n) {
    int err = specp_text_reserve(&r->text, n, &d->shell.alloc);
    if (!err && !d->options.shared) err = own_reserve(&r->own, n, &d->shell.alloc);
    if (err) return err;
    size_t from = r->text.n;
    specp_text_add(&r->text, tok, n);
    if (r->table && crowded(r->table, n))
        start_again(d, r);
    else if (r->table || !d->options.shared)
        enter_text(d, r, from);
    return SPEC_OK;
}

/* ---- drafting -------------------------------------------------------------------- */

static int mod_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    const ngram_mod *d = self;
    const mod_request *r = state;
    size_t n = (size_t)d->options.n;
    if (r->text.n < n) return SPEC_OK;
    uint32_t limit = specp_chain_limit(a->budget, a->max_depth, d->options.len);
    uint64_t hash = hash_window(d, r->text.tok + r->text.n - n);
    float step = (float)n / (float)(n + 1), prob = step;
    while (out->n < limit) {
        spec_token next = look_up(r, hash);
        if (next == EMPTY) break;
        hash = roll(d, hash, specp_text_at(&r->text, out, r->text.n + out->n - n), next);
        specp_chain_add(out, next, prob, SPEC_SOURCE_NGRAM);
        prob *= step;
    }
    if (out->n < (uint32_t)d->options.min && out->n < limit) spec_tree_clear(out);
    if (out->n) out->match_len = (uint32_t)n;
    return SPEC_OK;
}

/* Whether the draft that was judged makes `streak` poor ones in a row. */
static bool streak_complete(const ngram_mod *d, mod_request *r, const spec_outcome *o) {
    if (!o->tree || !o->tree->n) return false;
    size_t accepted = 0;
    for (uint32_t i = 0; i < o->tree->n; i++) accepted += o->accepted[i] != 0;
    r->poor = 2 * accepted < o->tree->n ? r->poor + 1 : 0;
    if (!d->options.streak || r->poor < d->options.streak) return false;
    r->poor = 0;
    return true;
}

/* ---- requests ---------------------------------------------------------------------- */

static int mod_observe(void *self, void *state, const spec_outcome *o) {
    ngram_mod *d = self;
    mod_request *r = state;
    int err = append(d, r, o->committed, o->n_committed);
    if (!err && streak_complete(d, r, o) && r->table) start_again(d, r);
    return err;
}

static void mod_end(void *self, void *state) {
    ngram_mod *d = self;
    mod_request *r = state;
    specp_tenants_release(&d->tenants, r->table);
    specp_release(&d->shell.alloc, r->own.entry, r->own.size, sizeof *r->own.entry);
    specp_text_release(&r->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

static int mod_begin(void *self, const spec_request_info *info, void **state) {
    ngram_mod *d = self;
    mod_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = SPEC_OK;
    void *shared = NULL;
    if (d->options.shared) err = specp_tenants_acquire(&d->tenants, info->tenant, &shared);
    r->table = shared;
    if (!err) err = append(d, r, info->prompt, info->n_prompt);
    if (err)
        mod_end(d, r);
    else
        *state = r;
    return err;
}

/* ---- the drafter ---------------------------------------------------------------------- */

static int make_table(void *user, void **out) {
    ngram_mod *d = user;
    mod_table *t = table_new(ENTRIES_IN_MB(d->options.size_mb), &d->shell.alloc);
    if (t) *out = t;
    return t ? SPEC_OK : SPEC_ERR_NOMEM;
}

static void drop_table(void *user, void *dropped) {
    ngram_mod *d = user;
    mod_table *t = dropped;
    atomic_fetch_sub_explicit(&d->shared_tokens, table_used(t), memory_order_relaxed);
    table_free(t, &d->shell.alloc);
}

static void mod_stats(void *self, spec_drafter_stats *out) {
    ngram_mod *d = self;
    out->index_tokens = out->index_states = atomic_load_explicit(&d->shared_tokens, memory_order_relaxed);
    specp_shell_stats(d, out);
}

static void mod_free(void *self) {
    ngram_mod *d = self;
    specp_tenants_destroy(&d->tenants);
    specp_shell_free(d);
}

const char specp_ngram_mod_help[] =
    "ngram-mod: one hash table from the last n tokens to the next one, shared by a\n"
    "  tenant's requests. Long matches, long drafts; text that repeats itself.\n"
    "  n=N             tokens matched, 1..256 (default 24)\n"
    "  len=N           longest draft, 1..4096 (default 64)\n"
    "  min=N           shorter drafts are not proposed, unless len, the budget or the\n"
    "                  request's limits made them so, 0..4096 (default 48)\n"
    "  streak=N        the table is emptied after N drafts in a row of which less\n"
    "                  than half was accepted, 0..1000, 0 = never (default 3); it is\n"
    "                  also emptied when a quarter of it is in use\n"
    "  size_mb=N       size of a table, 1..16384 (default 16)\n"
    "  shared=0|1      learn from other requests (default 1)\n"
    "  cross_tenant=0|1  let all tenants share one table (default 0)\n"
    "  tenants=N       tenants remembered, 1..4096 (default 64); beyond them the one\n"
    "                  that has been idle longest is forgotten\n";

static const specp_option option_table[] = {
    SPECP_OPTION_INT(mod_options, n, 1, 256),
    SPECP_OPTION_INT(mod_options, len, 1, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_INT(mod_options, min, 0, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_INT(mod_options, streak, 0, 1000),
    SPECP_OPTION_INT(mod_options, size_mb, 1, 16384),
    SPECP_OPTION_BOOL(mod_options, shared),
    SPECP_OPTION_BOOL(mod_options, cross_tenant),
    SPECP_OPTION_INT(mod_options, tenants, 1, 4096),
};

static const spec_drafter_ops mod_ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "ngram-mod",
                                         .begin = mod_begin,
                                         .propose = mod_propose,
                                         .observe = mod_observe,
                                         .end = mod_end,
                                         .stats = mod_stats,
                                         .free = mod_free};

/* Makes the drafter's self, or NULL. */
static ngram_mod *make_self(const mod_options *o, const spec_allocator *alloc) {
    ngram_mod *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return NULL;
    d->options = *o;
    d->last_power = 1;
    for (int64_t i = 1; i < o->n; i++) d->last_power *= MULTIPLIER;
    d->tenants =
        (specp_tenants){&d->shell, make_table, drop_table, o->cross_tenant, .max = (size_t)o->tenants};
    if (!specp_tenants_init(&d->tenants)) return d;
    specp_shell_free(d);
    return NULL;
}

int specp_ngram_mod_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                         spec_message *why) {
    mod_options o = {
        .n = 24, .len = 64, .min = 48, .streak = 3, .size_mb = 16, .tenants = 64, .shared = true};
    int err = specp_options_parse("ngram-mod", options, option_table,
                                  sizeof option_table / sizeof *option_table, &o, why);
    if (err) return err;
    return specp_drafter_of(out, &mod_ops, make_self(&o, alloc), alloc, why);
}
