/* SPDX-License-Identifier: MIT */
/* Language models for tests of drafters: table_lm.h. */
#include "table_lm.h"

#include <string.h>

#include "specp.h"

table_lm table_lms[3];

typedef struct table_sequence {
    spec_token *tok; /* (context) */
    size_t n, cap;
    size_t clock; /* at the last pass that it was in */
} table_sequence;

void table_lm_row(const table_lm *m, const spec_token *tok, size_t n, float *logits) {
    uint64_t h = m->seed;
    if (m->row) {
        m->row(m->user, tok, n, logits);
        return;
    }
    for (size_t i = 0; i < n; i++) h = specp_mix64(h ^ (uint64_t)tok[i]);
    for (size_t t = 0; t < m->vocab; t++)
        logits[t] = (float)((double)(specp_mix64(h + t) >> 40) * 0x1p-24 * m->spread);
}

static void info(void *self, spec_lm_info *out) {
    const table_lm *m = self;
    *out = (spec_lm_info){out->size, m->vocab, 8, 1, m->context};
}

static int embedding(void *self, spec_token token, float *out) {
    (void)self, (void)token, (void)out;
    return SPEC_ERR_INVALID;
}

static int sequence_new(void *self, size_t max_context, void **out) {
    table_lm *m = self;
    assert_true(max_context <= m->context);
    table_sequence *s = specp_calloc(&m->alloc, 1, sizeof *s);
    spec_token *tok = specp_alloc(&m->alloc, m->context, sizeof *tok);
    if (!s || !tok) {
        specp_release(&m->alloc, s, 1, sizeof *s);
        specp_release(&m->alloc, tok, m->context, sizeof *tok);
        return SPEC_ERR_NOMEM;
    }
    s->tok = tok;
    m->sequences++;
    *out = s;
    return SPEC_OK;
}

static void sequence_free(void *self, void *sequence) {
    table_lm *m = self;
    table_sequence *s = sequence;
    specp_release(&m->alloc, s->tok, m->context, sizeof *s->tok);
    specp_release(&m->alloc, s, 1, sizeof *s);
    m->sequences--;
}

/* ---- the pass -------------------------------------------------------------------- */

static size_t nodes_of(const spec_lm_item *it) { return it->tree ? it->tree->n : 0; }

static bool fits(const table_lm *m, const spec_lm_item *it) {
    const table_sequence *s = it->sequence;
    size_t prefix = s->n + it->n_tokens;
    for (size_t i = 0; i < nodes_of(it); i++)
        if (prefix + spec_tree_depth(it->tree, (int32_t)i) > m->context) return false;
    return prefix <= m->context;
}

static void check_item(const table_lm *m, const spec_lm_item *it) {
    spec_message why;
    table_sequence *s = it->sequence;
    assert_true(s->clock != m->clock); /* once in a batch */
    s->clock = m->clock;
    assert_true(it->n_tokens > 0 && !it->all_rows);
    for (size_t i = 0; i < it->n_tokens; i++)
        assert_true(it->tokens[i] >= 0 && (size_t)it->tokens[i] < m->vocab);
    for (size_t i = 0; i < nodes_of(it); i++) assert_true((size_t)it->tree->token[i] < m->vocab);
    if (it->tree && spec_tree_check(it->tree, &why)) fail_msg("%s", why.text);
}

/* Rows of one item, whose tokens enter the sequence. */
static void run_item(table_lm *m, const spec_lm_item *it, float *row) {
    table_sequence *s = it->sequence;
    spec_token text[512];
    memcpy(s->tok + s->n, it->tokens, it->n_tokens * sizeof *s->tok);
    s->n += it->n_tokens;
    table_lm_row(m, s->tok, s->n, row);
    for (size_t i = 0; i < nodes_of(it); i++) {
        size_t n = s->n + spec_tree_depth(it->tree, (int32_t)i);
        assert_true(n <= 512);
        memcpy(text, s->tok, s->n * sizeof *text);
        int32_t node = (int32_t)i;
        for (size_t k = n; k > s->n; node = it->tree->parent[node]) text[--k] = it->tree->token[node];
        table_lm_row(m, text, n, row + (i + 1) * m->vocab);
    }
    m->rows += it->n_tokens + nodes_of(it);
}

static int reserve(table_lm *m, size_t rows, size_t items) {
    if (rows * m->vocab > m->cap_logits) {
        float *more = specp_resize(&m->alloc, m->logits, m->cap_logits, rows * m->vocab, sizeof *more);
        if (!more) return SPEC_ERR_NOMEM;
        m->logits = more;
        m->cap_logits = rows * m->vocab;
    }
    if (items > m->cap_begin) {
        size_t *more = specp_resize(&m->alloc, m->begin, m->cap_begin, items, sizeof *more);
        if (!more) return SPEC_ERR_NOMEM;
        m->begin = more;
        m->cap_begin = items;
    }
    return SPEC_OK;
}

static int forward(void *self, const spec_lm_item *items, size_t n, const spec_lm_args *args,
                   spec_lm_out *out, spec_message *why) {
    table_lm *m = self;
    size_t rows = 0;
    assert_null(args);
    assert_true(n > 0);
    m->clock++;
    m->passes++;
    m->items += n;
    for (size_t i = 0; i < n; i++) {
        check_item(m, &items[i]);
        rows += 1 + nodes_of(&items[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (!fits(m, &items[i])) return specp_fail(why, SPEC_ERR_FULL, "item %zu passes its context", i);
    if (m->fail_at && m->passes == m->fail_at) return specp_fail(why, m->fails_with, "as the test says");
    int err = reserve(m, rows, n);
    if (err) return err;
    for (size_t i = 0, row = 0; i < n; row += 1 + nodes_of(&items[i++])) {
        m->begin[i] = row;
        run_item(m, &items[i], m->logits + row * m->vocab);
    }
    *out = (spec_lm_out){.n_rows = rows, .row = m->begin, .logits = m->logits};
    return SPEC_OK;
}

static int accept_path(void *self, void *sequence, const int32_t *path, size_t n) {
    (void)self, (void)sequence, (void)path;
    return n ? SPEC_ERR_STATE : SPEC_OK;
}

static int truncate_to(void *self, void *sequence, size_t n) {
    (void)self;
    table_sequence *s = sequence;
    if (n > s->n) return SPEC_ERR_INVALID;
    s->n = n;
    return SPEC_OK;
}

static void close_model(void *self) {
    table_lm *m = self;
    assert_true(m->open == 1 && m->sequences == 0);
    specp_release(&m->alloc, m->logits, m->cap_logits, sizeof *m->logits);
    specp_release(&m->alloc, m->begin, m->cap_begin, sizeof *m->begin);
    m->logits = NULL;
    m->begin = NULL;
    m->cap_logits = m->cap_begin = m->open = 0;
}

#define TABLE                                                                                                \
    .version = SPEC_LM_OPS_V1, .info = info, .embedding = embedding, .sequence_new = sequence_new,           \
    .sequence_free = sequence_free, .forward = forward, .accept = accept_path, .truncate = truncate_to

int table_lm_open(const char *path, unsigned threads, unsigned isa, const spec_allocator *alloc, spec_lm *out,
                  spec_message *why) {
    static const spec_lm_ops owned = {TABLE, .free = close_model};
    (void)threads, (void)isa;
    if (path[0] < 'a' || path[0] > 'c' || path[1]) return specp_fail(why, SPEC_ERR_NOT_FOUND, "%s: no", path);
    table_lm *m = &table_lms[path[0] - 'a'];
    assert_true(m->open == 0);
    m->open = 1;
    m->alloc = alloc ? *alloc : (spec_allocator){0};
    *out = (spec_lm){&owned, m};
    return SPEC_OK;
}

spec_lm table_lm_borrow(table_lm *m) {
    static const spec_lm_ops borrowed = {TABLE};
    return (spec_lm){&borrowed, m};
}

/* ---- drafting with it ------------------------------------------------------------- */

const spec_drafter_env table_lm_env = {.size = sizeof table_lm_env, .open_model = table_lm_open};

size_t table_lm_text(const spec_tree *t, int32_t node, spec_token *text, size_t n) {
    size_t depth = node < 0 ? 0 : spec_tree_depth(t, node);
    for (size_t k = n + depth; k > n; node = t->parent[node]) text[--k] = t->token[node];
    return n + depth;
}

spec_drafter *table_lm_drafter(const char *spec, const spec_drafter_env *e, const spec_allocator *alloc) {
    spec_drafter *d = NULL;
    spec_message why;
    if (spec_drafter_open_env(&d, spec, e, alloc, &why)) fail_msg("%s: %s", spec, why.text);
    return d;
}

table_lm *table_lm_set(size_t i, size_t vocab, size_t context, double spread) {
    table_lms[i] = (table_lm){
        .vocab = vocab, .context = context, .seed = specp_mix64(support_seed() + i), .spread = spread};
    return &table_lms[i];
}

spec_tree table_lm_tree(uint32_t cap, uint32_t q_cap, uint32_t vocab) {
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, cap, q_cap, vocab, NULL), 0);
    return t;
}

size_t table_lm_outcome(support_rng *r, const spec_tree *t, spec_token *out) {
    size_t n = 0;
    if (t->n && support_rng_chance(r, 0.8)) {
        int32_t node = (int32_t)support_rng_below(r, t->n);
        n = table_lm_text(t, node, out, 0);
        if (support_rng_chance(r, 0.3)) n = 1 + support_rng_below(r, (uint32_t)n);
    }
    if (!n || support_rng_chance(r, 0.8)) out[n++] = (spec_token)support_rng_below(r, TABLE_VOCAB);
    return n;
}

const spec_propose_args *table_lm_ask(spec_propose_args *a, uint64_t position) {
    *a = (spec_propose_args){.size = sizeof *a, .noise = {support_seed(), 3, position}};
    return a;
}
