/* SPDX-License-Identifier: MIT */
/*
 * EAGLE-3 (Li et al. 2025, arXiv 2503.01840): a one-layer head on the target's hidden
 * states drafts a dynamic tree (EAGLE-2, arXiv 2406.16858).
 *
 *     position      0      1     ...   n-2        n-1
 *     text          x(0)   x(1)        x(n-2)     x(n-1)
 *     stable rows   f(0)   f(1)  ...   f(n-2)                f: what the target's layers said there
 *                   x(1)   x(2)        x(n-1)     the root of the draft
 *
 * A request may draft when its stable rows reach up to the text's last token. The
 * features come with what the engine reports on the prompt and on each verification;
 * they wait in the request until the next draft, so that the requests of a batch share
 * the head's passes. Where features are missing the rows begin again behind the gap.
 *
 * Tokens are the most probable ones, not drawn: the draft is deterministic. The head is
 * one, for all requests, and runs under a lock.
 */
#include <string.h>

#include "draft_internal.h"
#include "eagle3_head.h"
#include "eagle3_tree.h"
#include "shared.h"

#define MAX_ROWS  1024 /* of a pass */
#define KEEP_ROWS 64   /* room for waiting rows that a request keeps */

typedef struct eagle3 {
    specp_shell shell; /* its lock: of the head, the trees, and every request's kv */
    spec_lm target;
    size_t max_context, row_floats; /* floats of a row's features */
    specp_team *team;
    specp_eagle3 *head;
    specp_eagle3_trees *trees;
    const specp_eagle3_info *info;
} eagle3;

typedef struct eagle3_request {
    specp_eagle3_request *kv;
    size_t kv_rows; /* in it, as this side knows */
    bool restart;   /* they are to be forgotten: kv_rows is 0 already */
    size_t base;    /* the text position of the first stable row */
    size_t n_prompt, n_text;
    spec_token *prompt; /* (n_prompt) until something is committed, then NULL */
    float *taps;        /* (cap_wait, row_floats) rows that wait to become stable */
    spec_token *token;  /* (cap_wait) the token after each; -1: not known yet, the last one only */
    size_t n_wait, cap_wait;
} eagle3_request;

/* ---- waiting rows --------------------------------------------------------- */

static void resize_wait(eagle3_request *r, float *taps, spec_token *token, size_t cap) {
    r->taps = taps;
    r->token = token;
    r->cap_wait = cap;
}

static void release_wait(const eagle3 *e, eagle3_request *r) {
    specp_release(&e->shell.alloc, r->taps, r->cap_wait, e->row_floats * sizeof *r->taps);
    specp_release(&e->shell.alloc, r->token, r->cap_wait, sizeof *r->token);
    resize_wait(r, NULL, NULL, 0);
}

/* Room for n rows more. */
static int reserve_wait(const eagle3 *e, eagle3_request *r, size_t n) {
    size_t need = r->n_wait + n, row = e->row_floats * sizeof *r->taps;
    if (need <= r->cap_wait) return SPEC_OK;
    if (need < 2 * r->cap_wait) need = 2 * r->cap_wait;
    float *taps = specp_alloc(&e->shell.alloc, need, row);
    spec_token *token = specp_alloc(&e->shell.alloc, need, sizeof *token);
    if (!taps || !token) {
        specp_release(&e->shell.alloc, taps, need, row);
        specp_release(&e->shell.alloc, token, need, sizeof *token);
        return SPEC_ERR_NOMEM;
    }
    if (r->n_wait) {
        memcpy(taps, r->taps, r->n_wait * row);
        memcpy(token, r->token, r->n_wait * sizeof *token);
    }
    release_wait(e, r);
    resize_wait(r, taps, token, need);
    return SPEC_OK;
}

/* The position whose row comes next. */
static size_t next_position(const eagle3_request *r) { return r->base + r->kv_rows + r->n_wait; }

/* The features of a position, and the token after it. One that is there already is left alone;
 * behind a gap the rows begin again. There is room. */
static void add_row(const eagle3 *e, eagle3_request *r, size_t position, const float *taps,
                    spec_token token) {
    if (position < next_position(r)) return;
    if (position > next_position(r)) {
        r->restart = true;
        r->kv_rows = r->n_wait = 0;
        r->base = position;
    }
    memcpy(r->taps + r->n_wait * e->row_floats, taps, e->row_floats * sizeof *taps);
    r->token[r->n_wait++] = token;
}

/* ---- observing ------------------------------------------------------------ */

/* Rows of prompt tokens; that of the last one waits for what is committed first. */
static void add_prompt(const eagle3 *e, eagle3_request *r, const spec_outcome *o) {
    for (size_t i = 0; i < o->n_rows && r->prompt; i++) {
        size_t at = o->prompt_row + i;
        if (at >= r->n_prompt) break;
        add_row(e, r, at, o->hidden + i * e->row_floats, at + 1 < r->n_prompt ? r->prompt[at + 1] : -1);
    }
}

/* The row of the text's last token, and of the accepted nodes that stay. */
static void add_verified(const eagle3 *e, eagle3_request *r, const spec_outcome *o) {
    size_t row = 0;
    add_row(e, r, r->n_text - 1, o->hidden, o->committed[0]);
    for (uint32_t i = 0, n = 1; o->tree && i < o->tree->n && n < o->n_committed; i++) {
        if (!o->accepted[i] || o->tree->parent[i] != (int32_t)row - 1) continue;
        row = i + 1;
        add_row(e, r, r->n_text - 1 + n, o->hidden + row * e->row_floats, o->committed[n]);
        n++;
    }
}

static int eagle3_observe(void *self, void *state, const spec_outcome *o) {
    const eagle3 *e = self;
    eagle3_request *r = state;
    size_t rows = o->n_rows && o->n_taps == e->info->n_taps && o->hidden &&
                          (size_t)o->n_taps * o->hidden_dim == e->row_floats
                      ? o->n_rows
                      : 0;
    int err = rows ? reserve_wait(e, r, rows) : SPEC_OK;
    if (err) return err;
    if (!o->n_committed) {
        if (rows) add_prompt(e, r, o);
        return SPEC_OK;
    }
    if (r->n_wait && r->token[r->n_wait - 1] < 0) r->token[r->n_wait - 1] = o->committed[0];
    if (rows && r->n_text) add_verified(e, r, o);
    r->n_text += o->n_committed;
    specp_release(&e->shell.alloc, r->prompt, r->n_prompt, sizeof *r->prompt);
    r->prompt = NULL;
    return SPEC_OK;
}

/* ---- drafting ------------------------------------------------------------- */

/* Room for a call of the head for n requests. */
typedef struct batch {
    specp_eagle3_rows *rows;
    specp_eagle3_job *job;
    eagle3_request **who; /* whose rows[i] is */
    size_t n_rows, n_jobs, cap;
} batch;

static void batch_release(batch *b, const spec_allocator *alloc) {
    specp_release(alloc, b->rows, b->cap, sizeof *b->rows);
    specp_release(alloc, b->job, b->cap, sizeof *b->job);
    specp_release(alloc, b->who, b->cap, sizeof *b->who);
}

static int batch_make(batch *b, size_t cap, const spec_allocator *alloc) {
    *b = (batch){.cap = cap};
    b->rows = specp_alloc(alloc, cap, sizeof *b->rows);
    b->job = specp_alloc(alloc, cap, sizeof *b->job);
    b->who = specp_alloc(alloc, cap, sizeof *b->who);
    if (b->rows && b->job && b->who) return SPEC_OK;
    batch_release(b, alloc);
    return SPEC_ERR_NOMEM;
}

/* A request that reaches the end of its text, and fits the head's context, drafts. */
static void enlist(const eagle3 *e, batch *b, eagle3_request *r, const spec_propose_args *a, spec_tree *out) {
    size_t rows = r->kv_rows + r->n_wait;
    if (!rows || r->base + rows + 1 != r->n_text || rows > e->max_context) return;
    if (r->restart) specp_eagle3_request_clear(r->kv);
    r->restart = false;
    if (r->n_wait) {
        b->who[b->n_rows] = r;
        b->rows[b->n_rows++] =
            (specp_eagle3_rows){.request = r->kv, .n = r->n_wait, .taps = r->taps, .token = r->token};
    }
    b->job[b->n_jobs++] = (specp_eagle3_job){r->kv, a->budget, a->max_depth, out};
}

static int extend(eagle3 *e, batch *b) {
    spec_message why;
    int err = b->n_rows ? specp_eagle3_extend(e->head, b->rows, b->n_rows, &why) : SPEC_OK;
    for (size_t i = 0; !err && i < b->n_rows; i++) {
        eagle3_request *r = b->who[i];
        r->kv_rows += r->n_wait;
        r->n_wait = 0;
        if (r->cap_wait > KEEP_ROWS) release_wait(e, r);
    }
    return err;
}

static int eagle3_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                                spec_tree *const *out, size_t n) {
    eagle3 *e = self;
    spec_message why;
    batch b;
    int err = batch_make(&b, n, &e->shell.alloc);
    if (err) return err;
    specp_shell_lock(&e->shell);
    for (size_t i = 0; i < n; i++) enlist(e, &b, state[i], &a[i], out[i]);
    err = extend(e, &b);
    if (!err && b.n_jobs) err = specp_eagle3_draft(e->trees, b.job, b.n_jobs, &why);
    specp_shell_unlock(&e->shell);
    batch_release(&b, &e->shell.alloc);
    return err;
}

static int eagle3_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    return eagle3_propose_batch(self, &state, a, &out, 1);
}

/* ---- requests ------------------------------------------------------------- */

static void eagle3_end(void *self, void *state) {
    eagle3 *e = self;
    eagle3_request *r = state;
    specp_eagle3_request_free(r->kv);
    release_wait(e, r);
    specp_release(&e->shell.alloc, r->prompt, r->n_prompt, sizeof *r->prompt);
    specp_release(&e->shell.alloc, r, 1, sizeof *r);
}

static int eagle3_begin(void *self, const spec_request_info *info, void **state) {
    eagle3 *e = self;
    eagle3_request *r = specp_calloc(&e->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    r->n_prompt = r->n_text = info->n_prompt;
    int err = specp_eagle3_request_new(&r->kv, e->head, e->max_context);
    if (!err && info->n_prompt) {
        r->prompt = specp_alloc(&e->shell.alloc, info->n_prompt, sizeof *r->prompt);
        if (r->prompt)
            memcpy(r->prompt, info->prompt, info->n_prompt * sizeof *r->prompt);
        else
            err = SPEC_ERR_NOMEM;
    }
    if (err)
        eagle3_end(e, r);
    else
        *state = r;
    return err;
}

/* ---- the drafter ---------------------------------------------------------- */

static void eagle3_needs(void *self, spec_needs *out) {
    const specp_eagle3_info *info = ((eagle3 *)self)->info;
    *out = (spec_needs){.n_taps = info->n_taps, .tap_layer = info->tap_layer, .prompt_taps = 1};
}

static void eagle3_free(void *self) {
    eagle3 *e = self;
    specp_eagle3_trees_free(e->trees);
    specp_eagle3_free(e->head);
    specp_team_free(e->team);
    specp_shell_free(e);
}

const char specp_eagle3_help[] =
    "eagle3: eagle3:FILE drafts by an EAGLE-3 head on the target's hidden states.\n"
    "  FILE has it in the published layout (safetensors with its config.json beside it,\n"
    "  or GGUF with the same names).\n"
    "  k=N         best tokens tried after each node, nodes run at each level, 1..64\n"
    "              (default 8; 1 makes a chain)\n"
    "  depth=N     longest path, 1..33 (default 6)\n"
    "  nodes=N     of the tree at most, 1..4096 (default 60); the budget may be smaller\n";

typedef struct eagle3_options {
    int64_t k, depth, nodes;
    char file[4096];
} eagle3_options;

static const specp_option options_table[] = {
    SPECP_OPTION_INT(eagle3_options, k, 1, SPECP_EAGLE3_MAX_TOP_K),
    SPECP_OPTION_INT(eagle3_options, depth, 1, SPECP_EAGLE3_MAX_DEPTH + 1),
    SPECP_OPTION_INT(eagle3_options, nodes, 1, SPEC_TREE_MAX_NODES),
};

static int build(eagle3 *e, const eagle3_options *o, const spec_drafter_env *env, spec_message *why) {
    spec_lm_info t = {.size = sizeof t};
    e->target = *env->target;
    e->target.ops->info(e->target.self, &t);
    e->max_context = t.max_context;
    int err = specp_team_new(&e->team, env->threads ? env->threads : specp_team_cores(), &e->shell.alloc);
    if (err) return specp_fail(why, err, "drafter eagle3: threads: %s", spec_strerror(err));
    const specp_eagle3_options head = {.hidden = t.dim,
                                       .vocab = t.vocab,
                                       .n_layers = t.n_layers,
                                       .rows = MAX_ROWS,
                                       .isa = env->isa ? env->isa : SPECP_ISA_ALL,
                                       .team = e->team,
                                       .embedding = e->target.ops->embedding,
                                       .user = e->target.self};
    const specp_eagle3_tree_options tree = {(uint32_t)o->k, (uint32_t)o->depth - 1, (uint32_t)o->nodes + 1};
    err = specp_eagle3_open(&e->head, o->file, &head, &e->shell.alloc, why);
    if (err) return err;
    e->info = specp_eagle3_get_info(e->head);
    e->row_floats = e->info->n_taps * t.dim;
    return specp_eagle3_trees_new(&e->trees, e->head, &tree, &e->shell.alloc, why);
}

int specp_eagle3_drafter_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                              const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "eagle3",
                                         .begin = eagle3_begin,
                                         .propose = eagle3_propose,
                                         .propose_batch = eagle3_propose_batch,
                                         .observe = eagle3_observe,
                                         .end = eagle3_end,
                                         .needs = eagle3_needs,
                                         .stats = specp_shell_stats,
                                         .free = eagle3_free};
    eagle3_options o = {.k = 8, .depth = 6, .nodes = 60};
    const char *rest;
    int err = specp_options_file("eagle3", options, o.file, sizeof o.file, &rest, why);
    if (!err) err = specp_options_parse("eagle3", rest, options_table, 3, &o, why);
    if (err) return err;
    if (!env->target) return specp_no_target("eagle3", why);
    eagle3 *e = specp_shell_new(sizeof *e, alloc);
    if (!e) return specp_drafter_of(out, &ops, NULL, alloc, why);
    err = build(e, &o, env, why);
    if (!err) return specp_drafter_of(out, &ops, e, alloc, why);
    eagle3_free(e);
    return err;
}
