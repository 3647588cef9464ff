/* SPDX-License-Identifier: MIT */
/*
 * recycle: Token Recycling (Luo et al. 2024, arXiv 2408.08696). What the target
 * said after a token the last time it was computed, accepted or not, is drafted
 * when the token comes again.
 *
 *     matrix  token   the target's 8 most probable successors, best first
 *               17    [  4 | 90 | 17 |  3 | ... ]
 *               90    [  2 |  4 | -1 | -1 | ... ]      -1: not known
 *
 *     draft   last committed token 17 --> 4, 90, 17, ...  from row 17
 *                                             90 --> 2    from row 90
 *
 * Template: nodes are tried in one fixed order and those whose row or rank is not
 * known are left out, with all below them. The order is made once, best first by the
 * product of `assumed`, the probabilities that the target's next token is at a
 * rank of the row; so its first n nodes are the best tree of n nodes under that
 * assumption. With these eight figures the default, 80 nodes at most 6 deep,
 * expects 1.72 accepted tokens, as was published for Token Recycling.
 *
 * Probability of a node: its parent's times the share of its rank. The share is
 * counted: at each token of the text whose row was known, which rank had the
 * token that really came next? The counts begin with `assumed` as if counted
 * CREDIT times, and are halved now and then, so that they follow the text.
 *
 * Memory: a directory of pages of 256 rows, made as tokens are seen. Tokens too
 * large for the directory are drafted but their rows are not kept.
 *
 *     page  [ * | NULL | * | ... ]      row of token t: page[t / 256] + t % 256
 *
 * A tenant's requests share a matrix and its counts, under a lock that is held for
 * the rows of one verification at most. A request for whose tenant there is no
 * place, and with shared=0 every one, has a matrix of its own.
 */
#include "draft_internal.h"
#include "shared.h"
#include "text.h"

#define K           8   /* successors kept */
#define PAGE_ROWS   256 /* 8 KiB */
#define MAX_NODES   1024
#define CREDIT      16
#define HALVE_AT    4096
#define PAGES_IN_MB 128

static const double assumed[K] = {0.40, 0.14, 0.08, 0.05, 0.035, 0.03, 0.02, 0.015};

typedef struct recycle_options {
    int64_t nodes, depth, size_mb, tenants;
    bool shared, cross_tenant;
} recycle_options;

typedef struct template_node {
    int16_t parent; /* -1: the root */
    uint8_t rank, depth;
} template_node;

typedef struct recycle {
    specp_shell shell;
    recycle_options options;
    template_node node[MAX_NODES];
    uint32_t n_nodes;
    specp_tenants tenants;
    _Atomic uint64_t shared_rows; /* known now */
} recycle;

typedef struct row {
    spec_token next[K]; /* distinct; -1 behind the last */
} row;

typedef struct matrix {
    pthread_rwlock_t lock;
    row **page; /* (size_mb * PAGES_IN_MB) */
    uint64_t n_rows;
    uint32_t tries, hits[K]; /* rows whose next token came, and at which rank it was */
} matrix;

typedef struct recycle_request {
    specp_text text;
    matrix *known; /* the tenant's or its own */
    bool own;
} recycle_request;

/* ---- the template ----------------------------------------------------------- */

/* What may come next: the ranks of a node, or the root's, from `rank` on. */
typedef struct branch {
    int16_t parent;
    uint8_t rank, depth;
    double reach, prob; /* of the parent; of the node at `rank` */
} branch;

/* Takes the best branch's node (of equals the oldest branch's), and opens a
 * branch below it. There is a branch for every node and one for the root. */
static void make_template(recycle *d) {
    branch list[MAX_NODES + 1] = {{-1, 0, 1, 1.0, assumed[0]}};
    for (d->n_nodes = 0; d->n_nodes < d->options.nodes; d->n_nodes++) {
        branch *best = &list[0];
        for (uint32_t i = 1; i <= d->n_nodes; i++)
            if (list[i].prob > best->prob) best = &list[i];
        if (best->prob <= 0) return; /* all paths are in */
        d->node[d->n_nodes] = (template_node){best->parent, best->rank, best->depth};
        bool deeper = best->depth < d->options.depth;
        list[d->n_nodes + 1] = (branch){(int16_t)d->n_nodes, 0, (uint8_t)(best->depth + 1), best->prob,
                                        deeper ? best->prob * assumed[0] : 0};
        best->rank++;
        best->prob = best->rank < K ? best->reach * assumed[best->rank] : 0;
    }
}

/* ---- the matrix --------------------------------------------------------------- */

static size_t n_pages(const recycle *d) { return (size_t)d->options.size_mb * PAGES_IN_MB; }

/* Whether there is a place for a token's row. */
static bool fits(const recycle *d, spec_token token) {
    return token >= 0 && (size_t)token / PAGE_ROWS < n_pages(d);
}

/* The row of a token, or NULL when it is not known. */
static row *find_row(const recycle *d, const matrix *m, spec_token token) {
    row *page = fits(d, token) ? m->page[token / PAGE_ROWS] : NULL;
    row *found = page ? &page[token % PAGE_ROWS] : NULL;
    return found && found->next[0] >= 0 ? found : NULL;
}

static int reserve_row(const recycle *d, matrix *m, spec_token token) {
    if (!fits(d, token) || m->page[token / PAGE_ROWS]) return SPEC_OK;
    row *page = specp_alloc(&d->shell.alloc, PAGE_ROWS, sizeof *page);
    if (!page) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < PAGE_ROWS; i++)
        for (size_t k = 0; k < K; k++) page[i].next[k] = -1;
    m->page[token / PAGE_ROWS] = page;
    return SPEC_OK;
}

static void free_matrix(const recycle *d, matrix *m) {
    for (size_t i = 0; i < n_pages(d); i++)
        specp_release(&d->shell.alloc, m->page[i], PAGE_ROWS, sizeof *m->page[i]);
    specp_release(&d->shell.alloc, m->page, n_pages(d), sizeof *m->page);
    pthread_rwlock_destroy(&m->lock);
    specp_release(&d->shell.alloc, m, 1, sizeof *m);
}

static int make_matrix(void *user, void **out) {
    recycle *d = user;
    matrix *m = specp_calloc(&d->shell.alloc, 1, sizeof *m);
    row **page = specp_calloc(&d->shell.alloc, n_pages(d), sizeof *page);
    int err = m && page ? specp_rwlock_init(&m->lock) : SPEC_ERR_NOMEM;
    if (err) {
        specp_release(&d->shell.alloc, page, n_pages(d), sizeof *page);
        specp_release(&d->shell.alloc, m, 1, sizeof *m);
        return err;
    }
    m->page = page;
    *out = m;
    return SPEC_OK;
}

static void drop_matrix(void *user, void *dropped) {
    recycle *d = user;
    matrix *m = dropped;
    atomic_fetch_sub_explicit(&d->shared_rows, m->n_rows, memory_order_relaxed);
    free_matrix(d, m);
}

/* ---- drafting ------------------------------------------------------------------ */

static void shares(const matrix *m, float share[K]) {
    for (size_t k = 0; k < K; k++)
        share[k] = (float)((m->hits[k] + CREDIT * assumed[k]) / ((double)m->tries + CREDIT));
}

static void draft(const recycle *d, const matrix *m, spec_token last, const spec_propose_args *a,
                  spec_tree *out) {
    int32_t place[MAX_NODES]; /* of a template's node in the tree; -1: left out */
    float share[K];
    shares(m, share);
    for (uint32_t i = 0; i < d->n_nodes && out->n < a->budget; i++) {
        const template_node *t = &d->node[i];
        place[i] = -1;
        if (t->depth > a->max_depth || (t->parent >= 0 && place[t->parent] < 0)) continue;
        int32_t parent = t->parent < 0 ? -1 : place[t->parent];
        const row *from = find_row(d, m, parent < 0 ? last : out->token[parent]);
        if (!from || from->next[t->rank] < 0) continue;
        float prob = (parent < 0 ? 1.0f : out->prob[parent]) * share[t->rank];
        place[i] = spec_tree_add(out, parent, from->next[t->rank], prob, SPEC_SOURCE_RECYCLE);
        out->score += prob;
    }
    out->match_len = out->n > 0;
}

static int recycle_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    recycle *d = self;
    const recycle_request *r = state;
    if (!r->text.n) return SPEC_OK;
    specp_read_lock(&r->known->lock, &d->shell.wait);
    draft(d, r->known, r->text.tok[r->text.n - 1], a, out);
    pthread_rwlock_unlock(&r->known->lock);
    return SPEC_OK;
}

/* ---- learning ------------------------------------------------------------------- */

/* The token whose successors row i of an outcome holds; -1: before the text's begin. */
static spec_token token_of(const recycle_request *r, const spec_outcome *o, size_t i) {
    if (o->tree && i) return o->tree->token[i - 1];
    size_t back = o->tree ? 1 : o->n_rows - i;
    return back <= r->text.n ? r->text.tok[r->text.n - back] : -1;
}

/* Overwrites the row of a token by n candidates, of which an engine's fault may
 * make some negative or equal: those are passed over. Returns whether the row is new. */
static bool write_row(row *to, const spec_token *candidate, size_t n) {
    row made;
    size_t used = 0;
    for (size_t i = 0; i < n && used < K; i++) {
        bool use = candidate[i] >= 0;
        for (size_t k = 0; k < used && use; k++) use = made.next[k] != candidate[i];
        if (use) made.next[used++] = candidate[i];
    }
    if (!used) return false;
    while (used < K) made.next[used++] = -1;
    bool is_new = to->next[0] < 0;
    *to = made;
    return is_new;
}

/* Takes over the rows of nodes that were accepted, or those of the others. */
static void learn(recycle *d, recycle_request *r, const spec_outcome *o, bool accepted) {
    matrix *m = r->known;
    uint64_t before = m->n_rows;
    for (size_t i = 0; i < o->n_rows; i++) {
        bool of_text = !o->tree || !i || o->accepted[i - 1];
        spec_token token = token_of(r, o, i);
        if (of_text != accepted || !fits(d, token)) continue;
        row *to = &m->page[token / PAGE_ROWS][token % PAGE_ROWS];
        m->n_rows += write_row(to, o->topk_token + i * o->top_k, o->top_k);
    }
    if (!r->own) atomic_fetch_add_explicit(&d->shared_rows, m->n_rows - before, memory_order_relaxed);
}

static void halve(matrix *m) {
    m->tries /= 2;
    for (size_t k = 0; k < K; k++) m->hits[k] /= 2;
}

/* Counts where the tokens that came stood in the rows of those before them. */
static void judge(const recycle *d, recycle_request *r, const spec_outcome *o) {
    matrix *m = r->known;
    spec_token last = r->text.n ? r->text.tok[r->text.n - 1] : -1;
    for (size_t i = 0; i < o->n_committed; last = o->committed[i++]) {
        const row *from = find_row(d, m, last);
        if (!from) continue;
        if (m->tries == HALVE_AT) halve(m);
        m->tries++;
        for (size_t k = 0; k < K; k++) m->hits[k] += from->next[k] == o->committed[i];
    }
}

/* All rows of the outcome get a place, or an error comes. */
static int reserve_rows(const recycle *d, const recycle_request *r, const spec_outcome *o) {
    int err = SPEC_OK;
    for (size_t i = 0; i < o->n_rows && !err; i++) err = reserve_row(d, r->known, token_of(r, o, i));
    return err;
}

/* Where a token has several rows, those of the text win over those of rejected
 * nodes, and later ones over earlier ones. */
static int recycle_observe(void *self, void *state, const spec_outcome *o) {
    recycle *d = self;
    recycle_request *r = state;
    bool rows = o->n_rows && o->top_k;
    int err = specp_text_reserve(&r->text, o->n_committed, &d->shell.alloc);
    if (err) return err;
    specp_write_lock(&r->known->lock, &d->shell.wait);
    if (rows) err = reserve_rows(d, r, o);
    if (!err) judge(d, r, o);
    if (!err && rows) {
        learn(d, r, o, false);
        learn(d, r, o, true);
    }
    pthread_rwlock_unlock(&r->known->lock);
    if (!err) specp_text_add(&r->text, o->committed, o->n_committed);
    return err;
}

/* ---- requests --------------------------------------------------------------------- */

static void recycle_end(void *self, void *state) {
    recycle *d = self;
    recycle_request *r = state;
    if (r->own)
        free_matrix(d, r->known);
    else
        specp_tenants_release(&d->tenants, r->known);
    specp_text_release(&r->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

/* The tenant's matrix, or one for the request alone. */
static int take_matrix(recycle *d, recycle_request *r, uint64_t tenant) {
    void *known = NULL;
    int err = d->options.shared ? specp_tenants_acquire(&d->tenants, tenant, &known) : SPEC_OK;
    if (err) return err;
    bool own = !known;
    if (own) err = make_matrix(d, &known);
    r->known = known;
    r->own = own && !err;
    return err;
}

static int recycle_begin(void *self, const spec_request_info *info, void **state) {
    recycle *d = self;
    recycle_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = specp_text_reserve(&r->text, info->n_prompt, &d->shell.alloc);
    if (!err) err = take_matrix(d, r, info->tenant);
    if (err) {
        recycle_end(d, r);
        return err;
    }
    specp_text_add(&r->text, info->prompt, info->n_prompt);
    *state = r;
    return SPEC_OK;
}

/* ---- the drafter -------------------------------------------------------------------- */

static void recycle_needs(void *self, spec_needs *out) {
    (void)self;
    out->top_k = K;
}

static void recycle_stats(void *self, spec_drafter_stats *out) {
    recycle *d = self;
    out->index_tokens = out->index_states = atomic_load_explicit(&d->shared_rows, memory_order_relaxed);
    specp_shell_stats(d, out);
}

static void recycle_free(void *self) {
    recycle *d = self;
    specp_tenants_destroy(&d->tenants);
    specp_shell_free(d);
}

const char specp_recycle_help[] =
    "recycle: Token Recycling. A tree of what the target said after each token the\n"
    "  last time it computed one, in accepted and in rejected drafts. Needs the 8 most\n"
    "  probable tokens of every row, as live decoding has them; a replay of recorded\n"
    "  text has none, and there it proposes nothing.\n"
    "  nodes=N         size of the tree, 1..1024 (default 80)\n"
    "  depth=N         its depth, 1..64 (default 6)\n"
    "  shared=0|1      learn from other requests (default 1)\n"
    "  cross_tenant=0|1  let all tenants share what is learnt (default 0)\n"
    "  size_mb=N       memory for a tenant's rows, 1..65536 (default 16); each MB has\n"
    "                  room for 32768 token ids, larger ids are not learnt\n"
    "  tenants=N       tenants remembered, 1..4096 (default 64); beyond them the one\n"
    "                  that has been idle longest is forgotten\n";

static const specp_option option_table[] = {
    SPECP_OPTION_INT(recycle_options, nodes, 1, MAX_NODES),
    SPECP_OPTION_INT(recycle_options, depth, 1, 64),
    SPECP_OPTION_BOOL(recycle_options, shared),
    SPECP_OPTION_BOOL(recycle_options, cross_tenant),
    SPECP_OPTION_INT(recycle_options, size_mb, 1, 65536),
    SPECP_OPTION_INT(recycle_options, tenants, 1, 4096),
};

static const spec_drafter_ops recycle_ops = {.version = SPEC_DRAFTER_OPS_V1,
                                             .name = "recycle",
                                             .begin = recycle_begin,
                                             .propose = recycle_propose,
                                             .observe = recycle_observe,
                                             .end = recycle_end,
                                             .needs = recycle_needs,
                                             .stats = recycle_stats,
                                             .free = recycle_free};

/* Makes the drafter's self, or NULL. */
static recycle *make_self(const recycle_options *o, const spec_allocator *alloc) {
    recycle *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return NULL;
    d->options = *o;
    make_template(d);
    d->tenants =
        (specp_tenants){&d->shell, make_matrix, drop_matrix, o->cross_tenant, .max = (size_t)o->tenants};
    if (!specp_tenants_init(&d->tenants)) return d;
    specp_shell_free(d);
    return NULL;
}

int specp_recycle_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                       spec_message *why) {
    recycle_options o = {.nodes = 80, .depth = 6, .size_mb = 16, .tenants = 64, .shared = true};
    int err = specp_options_parse("recycle", options, option_table,
                                  sizeof option_table / sizeof *option_table, &o, why);
    if (err) return err;
    return specp_drafter_of(out, &recycle_ops, make_self(&o, alloc), alloc, why);
}
