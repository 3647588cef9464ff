/* SPDX-License-Identifier: MIT */
/*
 * Medusa (Cai et al. 2024, arXiv 2401.10774): heads on the target's last hidden
 * state draft a static tree.
 *
 *     text  ... a b        h, the hidden state at a, said b; the heads say on h
 *                          what follows b: head 0 the next token, head 1 the one after
 *
 * A draft needs the hidden state of the token before the last, which each
 * verified row brings; before the first verification there is none, and no draft.
 * The heads take their tokens apart from one another, so a draft is deterministic:
 * the most probable tokens. Where the budget is smaller than the tree, the nodes
 * most probable in this draft are kept.
 *
 * The heads are one, for all requests: they run under a lock, in batches of up to
 * MAX_ROWS.
 */
#include <string.h>

#include "draft_internal.h"
#include "medusa_head.h"
#include "medusa_tree.h"
#include "shared.h"

#define MAX_ROWS  64
#define MAX_RANKS 10 /* as the published trees: a digit each */
#define NODES     64

static const int32_t final_norm = -1;

typedef struct medusa {
    specp_shell shell; /* its lock: of the heads, and the three arrays */
    specp_team *team;
    specp_medusa_heads *heads;
    specp_medusa_tree tree;
    size_t hidden, n_heads, n_ranks;
    float *rows;       /* (MAX_ROWS, hidden) */
    spec_token *token; /* (MAX_ROWS, n_heads, n_ranks) */
    float *prob;       /* likewise */
    spec_tree draft;   /* (tree.n) */
} medusa;

typedef struct medusa_request {
    bool known; /* the hidden state is the one that a draft needs */
    size_t n_prompt;
    float hidden[];
} medusa_request;

/* ---- drafting ------------------------------------------------------------ */

/* What is within the limits of the tree for row i of the heads' results. */
static void fill(medusa *m, size_t i, const spec_propose_args *a, spec_tree *out) {
    size_t at = i * m->n_heads * m->n_ranks;
    spec_tree *full = out->cap >= m->tree.n ? out : &m->draft;
    specp_medusa_tree_draft(&m->tree, m->token + at, m->prob + at, m->n_ranks, full);
    specp_tree_keep_best(full, a->budget, a->max_depth);
    if (full == out) return;
    for (uint32_t j = 0; j < full->n; j++)
        spec_tree_add(out, full->parent[j], full->token[j], full->prob[j], full->source[j]);
    out->score = full->score;
}

/* Drafts for up to MAX_ROWS requests from `first` on; returns the next to be looked at. */
static size_t draft_rows(medusa *m, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                         size_t first, size_t n) {
    size_t who[MAX_ROWS], rows = 0, next = first;
    for (; next < n && rows < MAX_ROWS; next++) {
        const medusa_request *r = state[next];
        if (!r->known) continue;
        memcpy(m->rows + rows * m->hidden, r->hidden, m->hidden * sizeof *m->rows);
        who[rows++] = next;
    }
    if (rows) specp_medusa_heads_top(m->heads, m->rows, rows, m->n_ranks, m->token, m->prob);
    for (size_t i = 0; i < rows; i++) fill(m, i, &a[who[i]], out[who[i]]);
    return next;
}

static int medusa_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                                spec_tree *const *out, size_t n) {
    medusa *m = self;
    specp_shell_lock(&m->shell);
    for (size_t at = 0; at < n;) at = draft_rows(m, state, a, out, at, n);
    specp_shell_unlock(&m->shell);
    return SPEC_OK;
}

static int medusa_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    return medusa_propose_batch(self, &state, a, &out, 1);
}

/* ---- requests ------------------------------------------------------------ */

static int medusa_begin(void *self, const spec_request_info *info, void **state) {
    medusa *m = self;
    medusa_request *r = specp_calloc(&m->shell.alloc, 1, sizeof *r + m->hidden * sizeof *r->hidden);
    if (!r) return SPEC_ERR_NOMEM;
    r->n_prompt = info->n_prompt;
    *state = r;
    return SPEC_OK;
}

static void medusa_end(void *self, void *state) {
    medusa *m = self;
    specp_release(&m->shell.alloc, state, 1, sizeof(medusa_request) + m->hidden * sizeof(float));
}

/* The row of the token before the last one of the text, once o is part of it; n_rows: not given. */
static size_t row_before_last(const medusa_request *r, const spec_outcome *o) {
    if (!o->n_committed) { /* on the prompt */
        size_t before = r->n_prompt - 2;
        return r->n_prompt >= 2 && before >= o->prompt_row ? before - o->prompt_row : o->n_rows;
    }
    size_t row = 0, n = 0;
    for (uint32_t i = 0; o->tree && i < o->tree->n && n + 1 < o->n_committed; i++)
        if (o->accepted[i] && o->tree->parent[i] == (int32_t)row - 1) row = i + 1, n++;
    return n + 1 == o->n_committed ? row : o->n_rows;
}

static int medusa_observe(void *self, void *state, const spec_outcome *o) {
    const medusa *m = self;
    medusa_request *r = state;
    size_t row = row_before_last(r, o);
    bool given = o->n_taps == 1 && o->hidden_dim == m->hidden && row < o->n_rows;
    if (given) memcpy(r->hidden, o->hidden + row * m->hidden, m->hidden * sizeof *r->hidden);
    if (given || o->n_committed) r->known = given;
    return SPEC_OK;
}

/* ---- the drafter --------------------------------------------------------- */

static void medusa_needs(void *self, spec_needs *out) {
    (void)self;
    *out = (spec_needs){.n_taps = 1, .tap_layer = &final_norm};
}

static void medusa_free(void *self) {
    medusa *m = self;
    size_t picks = m->n_heads * m->n_ranks;
    spec_tree_release(&m->draft, &m->shell.alloc);
    specp_release(&m->shell.alloc, m->prob, MAX_ROWS * picks, sizeof *m->prob);
    specp_release(&m->shell.alloc, m->token, MAX_ROWS * picks, sizeof *m->token);
    specp_release(&m->shell.alloc, m->rows, MAX_ROWS * m->hidden, sizeof *m->rows);
    specp_medusa_tree_release(&m->tree, &m->shell.alloc);
    specp_medusa_heads_free(m->heads);
    specp_team_free(m->team);
    specp_shell_free(m);
}

const char specp_medusa_help[] =
    "medusa: medusa:FILE drafts by Medusa heads on the target's last hidden state.\n"
    "  FILE has them in the published layout (safetensors, or GGUF with the same names).\n"
    "  nodes=N     of the tree, 1..4096 (default 64). Where the budget is smaller, the\n"
    "              most probable of them are kept\n"
    "  tree=LIST   of ranks instead: paths with a digit a head, / between: 0/1/00/01/000\n"
    "              (default: the file's \"medusa_choices\", or a general one of N nodes)\n";

typedef struct medusa_options {
    int64_t nodes;
    char file[4096], tree[4096];
} medusa_options;

static const specp_option options_table[] = {
    SPECP_OPTION_INT(medusa_options, nodes, 1, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_TEXT(medusa_options, tree),
};

/* The tree: as told, as the file says, or a general one. */
static int plant(medusa *m, const medusa_options *o, size_t vocab, spec_message *why) {
    const spec_meta *meta = spec_tensors_meta(specp_medusa_heads_file(m->heads), "medusa_choices");
    const char *text = o->tree, *from = "option tree";
    size_t n = strlen(text), ranks = vocab < MAX_RANKS ? vocab : MAX_RANKS;
    spec_message said = {""};
    if (!n && meta && spec_meta_string(meta, 0, &text, &n) == SPEC_OK) from = "its medusa_choices";
    int err =
        n ? specp_medusa_tree_parse(&m->tree, text, n, &m->shell.alloc, &said)
          : specp_medusa_tree_guess(&m->tree, m->n_heads, ranks, (size_t)o->nodes, &m->shell.alloc, &said);
    if (!err && (m->tree.n_heads > m->n_heads || m->tree.n_ranks > vocab))
        err = specp_fail(&said, SPEC_ERR_INVALID,
                         "a tree for %u heads and %u ranks, of %zu heads and %zu tokens", m->tree.n_heads,
                         m->tree.n_ranks, m->n_heads, vocab);
    m->n_ranks = m->tree.n_ranks;
    return err ? specp_fail(why, err, "drafter medusa: %.200s: %s: %.200s", o->file, from, said.text)
               : SPEC_OK;
}

static int reserve(medusa *m) {
    size_t picks = m->n_heads * m->n_ranks;
    m->rows = specp_alloc(&m->shell.alloc, MAX_ROWS * m->hidden, sizeof *m->rows);
    m->token = specp_alloc(&m->shell.alloc, MAX_ROWS * picks, sizeof *m->token);
    m->prob = specp_alloc(&m->shell.alloc, MAX_ROWS * picks, sizeof *m->prob);
    if (!m->rows || !m->token || !m->prob) return SPEC_ERR_NOMEM;
    return spec_tree_init(&m->draft, m->tree.n, 0, 0, &m->shell.alloc);
}

static int build(medusa *m, const medusa_options *o, const spec_drafter_env *env, spec_message *why) {
    spec_lm_info target = {.size = sizeof target};
    env->target->ops->info(env->target->self, &target);
    m->hidden = target.dim;
    int err = specp_team_new(&m->team, env->threads ? env->threads : specp_team_cores(), &m->shell.alloc);
    if (err) return specp_fail(why, err, "drafter medusa: threads: %s", spec_strerror(err));
    const specp_medusa_options heads = {.hidden = target.dim,
                                        .vocab = target.vocab,
                                        .rows = MAX_ROWS,
                                        .isa = env->isa ? env->isa : SPECP_ISA_ALL,
                                        .team = m->team};
    err = specp_medusa_heads_open(&m->heads, o->file, &heads, &m->shell.alloc, why);
    if (err) return err;
    m->n_heads = specp_medusa_heads_count(m->heads);
    err = plant(m, o, target.vocab, why);
    if (err) return err;
    err = reserve(m);
    return err ? specp_fail(why, err, "drafter medusa: out of memory") : SPEC_OK;
}

int specp_medusa_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                      const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "medusa",
                                         .begin = medusa_begin,
                                         .propose = medusa_propose,
                                         .propose_batch = medusa_propose_batch,
                                         .observe = medusa_observe,
                                         .end = medusa_end,
                                         .needs = medusa_needs,
                                         .stats = specp_shell_stats,
                                         .free = medusa_free};
    medusa_options o = {.nodes = NODES};
    const char *rest;
    int err = specp_options_file("medusa", options, o.file, sizeof o.file, &rest, why);
    if (!err) err = specp_options_parse("medusa", rest, options_table, 2, &o, why);
    if (err) return err;
    if (!env->target) return specp_no_target("medusa", why);
    medusa *m = specp_shell_new(sizeof *m, alloc);
    if (!m) return specp_drafter_of(out, &ops, NULL, alloc, why);
    err = build(m, &o, env, why);
    if (!err) return specp_drafter_of(out, &ops, m, alloc, why);
    medusa_free(m);
    return err;
}
