/* SPDX-License-Identifier: MIT */
/*
 * The passes of an EAGLE-3 head: stable rows, and nodes. eagle3_internal.h has the
 * picture of the layer.
 *
 * A call is checked first, room is made for all of it, then its rows are cut into
 * passes, and only when the last one is through do the requests' counts change. Until
 * then passes have written behind those counts, and of a request's last feature to
 * the place that is not in use.
 *
 * A pass is one region of the team. Its steps are products, whose items are panels
 * of their matrices, and what is done row by row.
 */
#include <math.h>
#include <string.h>

#include "eagle3_internal.h"
#include "head_file.h"
#include "rope.h"
#include "specp_math.h"

/* ---- steps ------------------------------------------------------------------------ */

typedef struct pass {
    specp_eagle3 *h;
    size_t n; /* rows */
    size_t n_tiles;
    size_t k;          /* best tokens of each node */
    spec_token *token; /* (n, k) */
    float *logprob;    /* (n, k) */
} pass;

typedef void row_fn(const pass *p, size_t i, unsigned thread);

typedef struct product {
    const specp_matrix *m;
    float *y;
    size_t ldy;
} product;

typedef struct step {
    const pass *p;
    row_fn *fn;
    const product *product; /* (n_products) */
    size_t n_products;
    const specp_acts *a;
} step;

static void do_items(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    for (size_t i = begin; i < end; i++) s->fn(s->p, i, thread);
}

static void each(const pass *p, unsigned thread, size_t n, row_fn *fn) {
    step s = {.p = p, .fn = fn};
    specp_team_each(p->h->o.team, thread, n, 0, do_items, &s);
}

static size_t panels_of(const specp_matrix *m) { return (m->n_out + SPECP_PANEL - 1) / SPECP_PANEL; }

/* Panels begin..end-1 of all products, counted through. */
static void do_panels(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    size_t first = 0;
    (void)thread;
    for (size_t i = 0; i < s->n_products && first < end; i++) {
        const product *w = &s->product[i];
        size_t n = panels_of(w->m), last = first + n;
        if (begin < last) {
            size_t from = begin > first ? begin - first : 0, to = end < last ? end - first : n;
            s->p->h->k.matmul[w->m->form](w->m, s->a, NULL, s->p->n, w->y, w->ldy, from, to);
        }
        first = last;
    }
}

static void multiply(const pass *p, unsigned thread, const product *w, size_t n, const specp_acts *a) {
    step s = {.p = p, .product = w, .n_products = n, .a = a};
    size_t panels = 0;
    for (size_t i = 0; i < n; i++) panels += panels_of(w[i].m);
    specp_team_each(p->h->o.team, thread, panels, 0, do_panels, &s);
}

/* ---- rows: what goes into the layer ------------------------------------------------ */

static void taps_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    (void)thread;
    memcpy(h->taps.x + i * h->taps.n_in, h->row[i].taps, h->taps.n_in * sizeof(float));
    if (specp_eagle3_reads_codes(&h->fc)) h->k.quantise(&h->taps, i);
}

/* From h->feature, and the embedding that is in its place. */
static void make_input(specp_eagle3 *h, size_t i) {
    size_t n = h->info.hidden, half = h->info.head_dim / 2;
    float *x = h->in.x + i * 2 * n;
    h->k.rmsnorm(x, h->input_norm, h->eps, x, n);
    h->k.rmsnorm(h->feature + i * n, h->hidden_norm, h->eps, x + n, n);
    if (specp_eagle3_reads_codes(&h->q) || specp_eagle3_reads_codes(&h->kproj) ||
        specp_eagle3_reads_codes(&h->v))
        h->k.quantise(&h->in, i);
    specp_rope_table(h->freq, half, h->row[i].position, h->cos + i * half, h->sin + i * half);
}

/* A stable row's feature, which comes from fc or is the tap itself. */
static void stable_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    const specp_eagle3_row *row = &h->row[i];
    size_t n = h->info.hidden;
    float *feature = h->feature + i * n;
    (void)thread;
    if (!h->uses_fc) memcpy(feature, row->taps, n * sizeof *feature);
    if (row->last) memcpy(row->request->feature + (1 - row->request->turn) * n, feature, n * sizeof *feature);
    make_input(h, i);
}

/* A node's feature: the root's is the last stable row's, of others it is the parent's hidden state. */
static void node_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    const specp_eagle3_request *r = h->row[i].request;
    size_t n = h->info.hidden, node = h->row[i].node;
    const float *from = node == 0 ? r->feature + r->turn * n : r->hidden + (size_t)r->parent[node] * n;
    (void)thread;
    memcpy(h->feature + i * n, from, n * sizeof *from);
    make_input(h, i);
}

/* ---- rows: keys, values, queries ---------------------------------------------------- */

static void rotate(const specp_eagle3 *h, size_t i, float *x, size_t n_heads) {
    size_t dim = h->info.head_dim, half = dim / 2;
    for (size_t head = 0; head < n_heads; head++)
        h->k.rope(x + head * dim, h->cos + i * half, h->sin + i * half, dim, true);
}

static float *keys_of(const specp_eagle3 *h, size_t i) {
    return h->qkv + i * h->ld_qkv + h->info.n_heads * h->info.head_dim;
}

static void kv_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    const specp_eagle3_row *row = &h->row[i];
    bool stable = row->taps != NULL; /* the root's are in the cache, and once more in scratch, unread */
    const specp_kv *kv = stable ? &row->request->cache : &row->request->scratch;
    size_t dim = h->info.head_dim, at = stable ? row->position : row->node;
    size_t c = at / SPECP_KV_CHUNK, in = at % SPECP_KV_CHUNK;
    float *k = keys_of(h, i), *v = k + h->info.n_kv_heads * dim;
    (void)thread;
    rotate(h, i, k, h->info.n_kv_heads);
    for (size_t head = 0; head < h->info.n_kv_heads; head++) {
        h->k.store_k(k + head * dim, specp_kv_k(kv, c, 0, head), kv->type, dim, in);
        h->k.store_v(v + head * dim, specp_kv_v(kv, c, 0, head), kv->type, dim, in);
    }
}

static void qkv_row(const pass *p, size_t i, unsigned thread) {
    rotate(p->h, i, p->h->qkv + i * p->h->ld_qkv, p->h->info.n_heads);
    kv_row(p, i, thread);
}

static void attend_item(const pass *p, size_t item, unsigned thread) {
    specp_eagle3_attend(p->h, item, thread);
}

static void heads_row(const pass *p, size_t i, unsigned thread) {
    (void)thread;
    p->h->k.quantise(&p->h->heads, i);
}

/* ---- rows: behind attention --------------------------------------------------------- */

/* What gate and up read, of x. */
static void attended_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    size_t n = h->info.hidden;
    float *x = h->x + i * n;
    (void)thread;
    memcpy(x, h->info.norm_before_residual ? h->in.x + i * 2 * n + n : h->feature + i * n, n * sizeof *x);
    h->k.add(x, h->y + i * n, n);
    h->k.rmsnorm(x, h->post_norm, h->eps, h->mid.x + i * n, n);
    if (specp_eagle3_reads_codes(&h->gate) || specp_eagle3_reads_codes(&h->up)) h->k.quantise(&h->mid, i);
}

static void inner_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    size_t n = h->info.n_ff;
    const float *gate = h->gate_up + i * 2 * n;
    (void)thread;
    h->k.silu_mul(gate, gate + n, h->inner.x + i * n, n);
    if (specp_eagle3_reads_codes(&h->down)) h->k.quantise(&h->inner, i);
}

/* The hidden state, and what lm_head reads of it. */
static void hidden_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    const specp_eagle3_row *row = &h->row[i];
    size_t n = h->info.hidden;
    float *x = h->x + i * n;
    (void)thread;
    h->k.add(x, h->y + i * n, n);
    memcpy(row->request->hidden + row->node * n, x, n * sizeof *x);
    h->k.rmsnorm(x, h->output_norm, h->eps, h->mid.x + i * n, n);
    if (specp_eagle3_reads_codes(&h->output)) h->k.quantise(&h->mid, i);
}

/* The best tokens and their log-probabilities. The sum is at least 1 unless a logit is NaN or
 * the largest infinite. */
static void pick_row(const pass *p, size_t i, unsigned thread) {
    specp_eagle3 *h = p->h;
    size_t vocab = h->info.draft_vocab;
    const float *logits = h->logits + i * vocab;
    spec_token *token = p->token + i * p->k;
    float *logprob = p->logprob + i * p->k, *exps = h->exps + thread * vocab;
    specp_head_pick(logits, vocab, p->k, token, logprob);
    memcpy(exps, logits, vocab * sizeof *exps);
    double most = (double)logprob[0], sum = (double)h->k.softmax(exps, vocab);
    double log_sum = sum >= 1.0 ? specp_log(sum) : 0.0;
    for (size_t j = 0; j < p->k; j++) {
        logprob[j] = sum >= 1.0 ? (float)((double)logprob[j] - most - log_sum) : -INFINITY;
        token[j] = specp_eagle3_target_token(h, (size_t)token[j]);
    }
}

/* ---- a pass ------------------------------------------------------------------------- */

static void run_stable(void *arg, unsigned thread) {
    const pass *p = arg;
    specp_eagle3 *h = p->h;
    product fc = {&h->fc, h->feature, h->info.hidden};
    product kv[] = {{&h->kproj, keys_of(h, 0), h->ld_qkv},
                    {&h->v, keys_of(h, 0) + h->kproj.n_out, h->ld_qkv}};
    if (h->uses_fc) {
        each(p, thread, p->n, taps_row);
        multiply(p, thread, &fc, 1, &h->taps);
    }
    each(p, thread, p->n, stable_row);
    multiply(p, thread, kv, 2, &h->in);
    each(p, thread, p->n, kv_row);
}

static void run_nodes(void *arg, unsigned thread) {
    const pass *p = arg;
    specp_eagle3 *h = p->h;
    size_t hidden = h->info.hidden, n_ff = h->info.n_ff;
    product qkv[] = {{&h->q, h->qkv, h->ld_qkv},
                     {&h->kproj, keys_of(h, 0), h->ld_qkv},
                     {&h->v, keys_of(h, 0) + h->kproj.n_out, h->ld_qkv}};
    product gate_up[] = {{&h->gate, h->gate_up, 2 * n_ff}, {&h->up, h->gate_up + n_ff, 2 * n_ff}};
    product attn_out = {&h->attn_out, h->y, hidden}, down = {&h->down, h->y, hidden};
    product output = {&h->output, h->logits, h->info.draft_vocab};
    each(p, thread, p->n, node_row);
    multiply(p, thread, qkv, 3, &h->in);
    each(p, thread, p->n, qkv_row);
    each(p, thread, p->n_tiles * h->info.n_kv_heads, attend_item);
    if (specp_eagle3_reads_codes(&h->attn_out)) each(p, thread, p->n, heads_row);
    multiply(p, thread, &attn_out, 1, &h->heads);
    each(p, thread, p->n, attended_row);
    multiply(p, thread, gate_up, 2, &h->mid);
    each(p, thread, p->n, inner_row);
    multiply(p, thread, &down, 1, &h->inner);
    each(p, thread, p->n, hidden_row);
    multiply(p, thread, &output, 1, &h->mid);
    each(p, thread, p->n, pick_row);
}

/* The embeddings of the pass's tokens, to where make_input expects them. */
static int embed(specp_eagle3 *h, size_t n, spec_message *why) {
    for (size_t i = 0; i < n; i++) {
        float *to = h->in.x + i * 2 * h->info.hidden;
        int err = SPEC_OK;
        if (h->embed.n_out > 0)
            specp_matrix_row(&h->embed, (size_t)h->row[i].token, to);
        else
            err = h->o.embedding(h->o.user, h->row[i].token, to);
        if (err != SPEC_OK)
            return specp_fail(why, err, "the target gives no embedding of token %d", (int)h->row[i].token);
    }
    return SPEC_OK;
}

static int check_token(const specp_eagle3 *h, spec_token token, spec_message *why) {
    if (token >= 0 && (size_t)token < h->o.vocab) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "token %d is not one of the target's %zu", (int)token,
                      h->o.vocab);
}

static int no_memory(spec_message *why) {
    return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for rows of an EAGLE-3 head");
}

static int request_twice(spec_message *why) {
    return specp_fail(why, SPEC_ERR_INVALID, "a request's rows are not together");
}

/* ---- stable rows -------------------------------------------------------------------- */

/* Checks a request's rows and makes room. */
static int admit_rows(const specp_eagle3 *h, const specp_eagle3_rows *rows, spec_message *why) {
    specp_eagle3_request *r = rows->request;
    if (rows->n > r->max_context - r->n)
        return specp_fail(why, SPEC_ERR_FULL, "%zu rows do not fit behind %zu: at most %zu are possible",
                          rows->n, r->n, r->max_context);
    for (size_t i = 0; i < rows->n; i++) {
        int err = check_token(h, rows->token[i], why);
        if (err != SPEC_OK) return err;
    }
    return specp_eagle3_reserve_rows(r, r->n + rows->n) == SPEC_OK ? SPEC_OK : no_memory(why);
}

static int run_pass(specp_eagle3 *h, pass *p, void (*run)(void *arg, unsigned thread), spec_message *why) {
    int err = embed(h, p->n, why);
    if (err == SPEC_OK) specp_team_run(h->o.team, run, p);
    return err;
}

static int extend(specp_eagle3 *h, const specp_eagle3_rows *rows, size_t n, spec_message *why) {
    size_t width = h->info.n_taps * h->o.hidden;
    pass p = {.h = h};
    int err = SPEC_OK;
    for (size_t i = 0; i < n && err == SPEC_OK; i++) {
        const specp_eagle3_rows *from = &rows[i];
        for (size_t j = 0; j < from->n && err == SPEC_OK; j++) {
            h->row[p.n++] = (specp_eagle3_row){.request = from->request,
                                               .taps = from->taps + (from->row ? from->row[j] : j) * width,
                                               .position = from->request->n + j,
                                               .token = from->token[j],
                                               .last = j + 1 == from->n};
            if (p.n < h->o.rows) continue;
            err = run_pass(h, &p, run_stable, why);
            p.n = 0;
        }
    }
    return err == SPEC_OK && p.n > 0 ? run_pass(h, &p, run_stable, why) : err;
}

int specp_eagle3_extend(specp_eagle3 *h, const specp_eagle3_rows *rows, size_t n, spec_message *why) {
    int err = SPEC_OK;
    size_t seen = 0;
    for (; seen < n && err == SPEC_OK && !rows[seen].request->seen; seen++) {
        rows[seen].request->seen = true;
        err = admit_rows(h, &rows[seen], why);
    }
    if (err == SPEC_OK && seen < n) err = request_twice(why);
    for (size_t i = 0; i < seen; i++) rows[i].request->seen = false;
    if (err == SPEC_OK) err = extend(h, rows, n, why);
    for (size_t i = 0; i < n && err == SPEC_OK; i++) {
        specp_eagle3_request *r = rows[i].request;
        if (rows[i].n == 0) continue;
        r->n += rows[i].n;
        r->turn = 1 - r->turn;
        r->last_token = rows[i].token[rows[i].n - 1];
        r->n_nodes = 0;
    }
    return err;
}

/* ---- nodes -------------------------------------------------------------------------- */

/* The first node after those of node i's request. */
static size_t end_of_run(const specp_eagle3_node *nodes, size_t n, size_t i) {
    size_t end = i + 1;
    while (end < n && nodes[end].request == nodes[i].request) end++;
    return end;
}

/* Checks nodes of one request, makes room for them and enters their parents. */
static int admit_nodes(const specp_eagle3 *h, const specp_eagle3_node *nodes, size_t n, spec_message *why) {
    specp_eagle3_request *r = nodes->request;
    if (r->n == 0) return specp_fail(why, SPEC_ERR_STATE, "there is no stable row to draft from");
    for (size_t i = 0; i < n; i++) {
        bool root = r->n_nodes == 0 && n == 1 && nodes[i].parent == -1;
        if (!root && (nodes[i].parent < 0 || (size_t)nodes[i].parent >= r->n_nodes))
            return specp_fail(why, SPEC_ERR_INVALID, "node %zu has parent %d, of %zu that have been run", i,
                              (int)nodes[i].parent, r->n_nodes);
        int err = root ? SPEC_OK : check_token(h, nodes[i].token, why);
        if (err != SPEC_OK) return err;
    }
    if (n > INT32_MAX - r->n_nodes || specp_eagle3_reserve_nodes(r, r->n_nodes + n) != SPEC_OK)
        return no_memory(why);
    for (size_t i = 0; i < n; i++) r->parent[r->n_nodes + i] = nodes[i].parent;
    return SPEC_OK;
}

/* Checks and makes room for all; *longest rows, *most nodes of a request. */
static int admit_all(const specp_eagle3 *h, const specp_eagle3_node *nodes, size_t n, size_t *longest,
                     size_t *most, spec_message *why) {
    int err = SPEC_OK;
    size_t seen = 0;
    while (seen < n && err == SPEC_OK && !nodes[seen].request->seen) {
        specp_eagle3_request *r = nodes[seen].request;
        size_t end = end_of_run(nodes, n, seen);
        r->seen = true;
        err = admit_nodes(h, nodes + seen, end - seen, why);
        *longest = r->n > *longest ? r->n : *longest;
        *most = r->n_nodes + (end - seen) > *most ? r->n_nodes + (end - seen) : *most;
        seen = end;
    }
    if (err == SPEC_OK && seen < n) err = request_twice(why);
    for (size_t i = 0; i < seen; i++) nodes[i].request->seen = false;
    return err;
}

static int run(specp_eagle3 *h, const specp_eagle3_node *nodes, size_t n, pass *p, spec_message *why) {
    size_t first = 0, end = 0; /* of the request's nodes */
    int err = SPEC_OK;
    for (size_t i = 0; i < n && err == SPEC_OK; i++) {
        specp_eagle3_request *r = nodes[i].request;
        if (i == end) {
            first = i;
            end = end_of_run(nodes, n, i);
        }
        size_t node = r->n_nodes + (i - first);
        h->row[p->n++] = (specp_eagle3_row){.request = r,
                                            .node = node,
                                            .position = r->n - 1 + specp_eagle3_depth(r, node),
                                            .token = node == 0 ? r->last_token : nodes[i].token};
        if (p->n < h->node_rows && i + 1 < n) continue;
        p->n_tiles = specp_eagle3_cut_tiles(h, p->n);
        err = run_pass(h, p, run_nodes, why);
        p->token += p->n * p->k;
        p->logprob += p->n * p->k;
        p->n = 0;
    }
    return err;
}

int specp_eagle3_run(specp_eagle3 *h, const specp_eagle3_node *nodes, size_t n, size_t k, spec_token *token,
                     float *logprob, spec_message *why) {
    size_t longest = 0, most = 0;
    if (k < 1 || k > h->info.draft_vocab)
        return specp_fail(why, SPEC_ERR_INVALID, "%zu best tokens of %zu", k, h->info.draft_vocab);
    int err = admit_all(h, nodes, n, &longest, &most, why);
    if (err == SPEC_OK && specp_eagle3_reserve_attention(h, longest, most) != SPEC_OK) err = no_memory(why);
    pass p = {.h = h, .k = k, .token = token, .logprob = logprob};
    if (err == SPEC_OK) err = run(h, nodes, n, &p, why);
    for (size_t i = 0; i < n && err == SPEC_OK; i++) nodes[i].request->n_nodes++;
    return err;
}

const float *specp_eagle3_logits(const specp_eagle3 *h) { return h->logits; }
