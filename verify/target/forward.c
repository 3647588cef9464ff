/* SPDX-License-Identifier: MIT */
/*
 * forward.c - a forward pass: its steps (forward.h has the picture), and
 * spec_target_forward. Attention is in forward_attn.c, the FFN in forward_ffn.c.
 *
 * The rows of a part are computed alike and independently of one another; which
 * thread computes what, in how large pieces, and how a pass is cut into slices
 * leaves no trace in the results.
 */
#include "forward.h"

#include <string.h>

/* Rows that one thread does by itself sooner than a step of their own would be shared out. */
#define FEW_ROWS 2

/* ---- steps ---------------------------------------------------------------- */

typedef struct step {
    const specp_run *r;
    specp_run_fn *items, *rows;
    const specp_product *product; /* (n_products) */
    size_t n_products;
    const specp_acts *a;
} step;

static void do_items(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    (void)thread;
    s->items(s->r, begin, end);
}

static void do_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    (void)thread;
    s->rows(s->r, begin, end);
}

static void do_all_rows(void *arg, unsigned thread) {
    const step *s = arg;
    (void)thread;
    s->rows(s->r, 0, s->r->part->n);
}

static void run_items_then_rows(step *s, size_t n, size_t chunk, specp_team_fn *items) {
    specp_team *team = s->r->t->team;
    unsigned thread = s->r->thread;
    if (s->rows && s->r->part->n <= FEW_ROWS) {
        specp_team_each_then(team, thread, n, chunk, items, do_all_rows, s);
        return;
    }
    if (items) specp_team_each(team, thread, n, chunk, items, s);
    if (s->rows) specp_team_each(team, thread, s->r->part->n, 0, do_rows, s);
}

void specp_run_step(const specp_run *r, size_t n, size_t chunk, specp_run_fn *items, specp_run_fn *rows) {
    step s = {.r = r, .items = items, .rows = rows};
    run_items_then_rows(&s, n, chunk, items ? do_items : NULL);
}

/* Panels begin..end-1 of all products, counted through. */
static void do_panels(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    size_t first = 0;
    (void)thread;
    for (size_t i = 0; i < s->n_products && first < end; i++) {
        const specp_product *p = &s->product[i];
        size_t n = specp_panels(p->m), last = first + n;
        if (begin < last) {
            size_t from = begin > first ? begin - first : 0, to = end < last ? end - first : n;
            s->r->k->matmul[p->m->form](p->m, s->a, NULL, s->r->part->n, p->y, p->ldy, from, to);
        }
        first = last;
    }
}

static void do_blas(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    (void)begin, (void)end, (void)thread;
    for (size_t i = 0; i < s->n_products; i++) {
        const specp_product *p = &s->product[i];
        specp_blas_matmul(p->m, s->a->x, s->a->n_in, s->r->part->n, p->y, p->ldy, s->r->f->blas);
    }
}

void specp_run_products(const specp_run *r, const specp_product *p, size_t n, const specp_acts *a,
                        specp_run_fn *rows) {
    step s = {.r = r, .rows = rows, .product = p, .n_products = n, .a = a};
    size_t panels = 0;
    for (size_t i = 0; i < n; i++) panels += specp_panels(p[i].m);
    run_items_then_rows(&s, r->blas ? 1 : panels, 0, r->blas ? do_blas : do_panels);
}

/* ---- rows ----------------------------------------------------------------- */

static float *row_x(const specp_run *r, size_t i) { return r->f->x + i * r->m->dim; }

/* Row i of f->in from x: normed (weight NULL: as it is), and codes where they are read. */
static void make_input(const specp_run *r, size_t i, const float *weight, bool codes) {
    specp_acts *in = &r->f->in;
    float *to = in->x + i * r->m->dim;
    if (weight) {
        r->k->rmsnorm(row_x(r, i), weight, r->m->eps, to, r->m->dim);
    } else {
        memcpy(to, row_x(r, i), r->m->dim * sizeof *to);
    }
    if (codes) r->k->quantise(in, i);
}

/* What q, k and v of a layer read. */
static void make_attention_input(const specp_run *r, size_t i, const specp_layer *l) {
    bool codes = specp_reads_codes(r, &l->q) || specp_reads_codes(r, &l->k) || specp_reads_codes(r, &l->v);
    make_input(r, i, l->attn_norm, codes);
}

/* Hidden state `from` of row i goes out where it is wanted. */
static void tap(const specp_run *r, size_t i, int32_t layer, const float *from) {
    uint32_t out = r->part->row[i].out;
    size_t n_taps = r->args->n_taps, dim = r->m->dim;
    if (out == SPECP_UNWANTED) return;
    for (size_t j = 0; j < n_taps; j++) {
        if (r->args->tap_layer[j] != layer) continue;
        memcpy(r->f->hidden + (out * n_taps + j) * dim, from, dim * sizeof *from);
    }
}

static void embed_rows(const specp_run *r, size_t begin, size_t end) {
    const specp_model *m = r->m;
    size_t half = m->rope_dim / 2;
    for (size_t i = begin; i < end; i++) {
        const specp_row *row = &r->part->row[i];
        specp_matrix_row(&m->embed, (size_t)row->token, row_x(r, i));
        if (m->embed_scale != 1.0f) r->k->scale(row_x(r, i), m->embed_scale, m->dim);
        tap(r, i, -2, row_x(r, i));
        for (int j = 0; j < 2 && m->rope_freq[j]; j++) {
            specp_rope_table(m->rope_freq[j], half, row->position, r->f->cos[j] + i * half,
                             r->f->sin[j] + i * half);
        }
        make_attention_input(r, i, &m->layer[0]);
    }
}

static void attention_rows(const specp_run *r, size_t begin, size_t end) {
    const specp_layer *l = r->layer;
    size_t dim = r->m->dim;
    bool codes = specp_ffn_reads_codes(r, l);
    for (size_t i = begin; i < end; i++) {
        float *y = r->f->y + i * dim;
        if (l->o_bias) r->k->add(y, l->o_bias, dim);
        if (l->post_attn_norm) r->k->rmsnorm(y, l->post_attn_norm, r->m->eps, y, dim);
        r->k->add(row_x(r, i), y, dim);
        make_input(r, i, l->ffn_norm, codes);
    }
}

static void ffn_rows(const specp_run *r, size_t begin, size_t end) {
    const specp_model *m = r->m;
    const specp_layer *l = r->layer;
    for (size_t i = begin; i < end; i++) {
        float *y = specp_run_ffn_row(r, i);
        if (l->post_ffn_norm) r->k->rmsnorm(y, l->post_ffn_norm, m->eps, y, m->dim);
        r->k->add(row_x(r, i), y, m->dim);
        tap(r, i, (int32_t)r->l, row_x(r, i));
        if (r->l + 1 < m->n_layers) {
            make_attention_input(r, i, l + 1);
        } else {
            make_input(r, i, m->output_norm, !r->args->no_logits && specp_reads_codes(r, &m->output));
            tap(r, i, -1, r->f->in.x + i * m->dim);
        }
    }
}

static bool holds_nan(const float *x, size_t n) {
    uint32_t bad[16] = {0}, any = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t l = 0; l < 16; l++) bad[l] |= x[i + l] != x[i + l];
    }
    for (; i < n; i++) any |= x[i] != x[i];
    for (size_t l = 0; l < 16; l++) any |= bad[l];
    return any != 0;
}

static void logit_rows(const specp_run *r, size_t begin, size_t end) {
    size_t vocab = r->m->vocab;
    for (size_t i = begin; i < end; i++) {
        size_t out = r->slice->out + i;
        float *logits = r->f->logits + out * vocab;
        if (r->m->final_softcap > 0.0f) r->k->softcap(logits, r->m->final_softcap, vocab);
        r->f->argmax[out] = holds_nan(logits, vocab) ? -1 : r->k->argmax(logits, vocab);
    }
}

/* ---- the pass ------------------------------------------------------------- */

/* Moves the wanted rows of x and q to the front; what is wanted lies never before its new place. */
static void keep_wanted(const specp_run *r, size_t begin, size_t end) {
    size_t dim = r->m->dim, q = r->m->n_heads * r->m->head_dim, ld = r->f->ld_qkv;
    (void)begin, (void)end;
    for (size_t i = 0; i < r->slice->wanted.n; i++) {
        size_t from = r->slice->wanted_row[i];
        memmove(row_x(r, i), row_x(r, from), dim * sizeof(float));
        memmove(r->f->qkv + i * ld, r->f->qkv + from * ld, q * sizeof(float));
    }
}

static void run_layer(specp_run *r) {
    specp_run_qkv(r);
    if (r->l + 1 == r->m->n_layers && r->slice->wanted.n < r->slice->all.n) {
        specp_run_step(r, 1, 1, keep_wanted, NULL);
        r->part = &r->slice->wanted;
        if (r->part->n == 0) return;
    }
    specp_run_attention(r);
    specp_product o = {&r->layer->o, r->f->y, r->m->dim};
    specp_run_products(r, &o, 1, &r->f->heads, attention_rows);
    specp_run_ffn(r, ffn_rows);
}

static void run_slice(specp_run *r) {
    r->part = &r->slice->all;
    specp_run_step(r, 0, 1, NULL, embed_rows);
    for (r->l = 0; r->l < r->m->n_layers; r->l++) {
        r->layer = &r->m->layer[r->l];
        run_layer(r);
    }
    if (r->part->n == 0 || r->args->no_logits) return;
    specp_product logits = {&r->m->output, r->f->logits + r->slice->out * r->m->vocab, r->m->vocab};
    specp_run_products(r, &logits, 1, &r->f->in, logit_rows);
}

static void run_thread(void *arg, unsigned thread) {
    specp_run r = *(const specp_run *)arg;
    r.thread = thread;
    for (size_t i = 0; i < r.f->batch.n_slices; i++) {
        r.slice = &r.f->batch.slice[i];
        run_slice(&r);
    }
}

static bool wants_blas(const spec_target *t, const spec_forward_item *items, size_t n_items) {
    size_t most = 0;
    for (size_t i = 0; i < n_items; i++) most = items[i].n_tokens > most ? items[i].n_tokens : most;
    return t->options.matmul == SPEC_MATMUL_BLAS || (t->options.matmul == SPEC_MATMUL_PREFILL && most >= 32);
}

static int check_args(const spec_target *t, const spec_forward_args *args, spec_message *why) {
    if (args->size != sizeof *args) {
        return specp_fail(why, SPEC_ERR_INVALID, "args.size is %zu, expected %zu", args->size, sizeof *args);
    }
    if (args->n_taps && !args->tap_layer) {
        return specp_fail(why, SPEC_ERR_INVALID, "%u taps, but tap_layer is NULL", (unsigned)args->n_taps);
    }
    for (uint32_t i = 0; i < args->n_taps; i++) {
        int32_t layer = args->tap_layer[i];
        if (layer < -2 || (layer >= 0 && (size_t)layer >= t->model.n_layers)) {
            return specp_fail(why, SPEC_ERR_INVALID,
                              "tap %u wants layer %d, the model has 0 to %zu, -1 and -2", (unsigned)i,
                              (int)layer, t->model.n_layers - 1);
        }
    }
    return 0;
}

static int check_logits(const specp_forward *f, spec_message *why) {
    for (size_t i = 0; i < f->batch.n_out; i++) {
        if (f->argmax[i] < 0) {
            return specp_fail(why, SPEC_ERR_CORRUPT,
                              "the logits of result row %zu hold NaN: the model's weights "
                              "do, or they overflow",
                              i);
        }
    }
    return 0;
}

int spec_target_forward(spec_target *t, const spec_forward_item *items, size_t n_items,
                        const spec_forward_args *args, spec_forward_out *out, spec_message *why) {
    static const spec_forward_args defaults = {.size = sizeof defaults};
    if (why) why->text[0] = '\0';
    if (!args) args = &defaults;
    int err = check_args(t, args, why);
    if (err) return err;
    if (!t->fwd && !(t->fwd = specp_calloc(&t->alloc, 1, sizeof *t->fwd))) {
        return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a forward pass");
    }
    specp_forward *f = t->fwd;
    err = specp_batch_rows(&f->batch, t, items, n_items, why);
    if (err) return err;
    if (specp_forward_reserve(f, t, args)) {
        return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a forward pass of %zu rows", f->batch.n_rows);
    }
    specp_run r = {.t = t, .f = f, .m = &t->model, .k = &t->k, .args = args};
    r.blas = wants_blas(t, items, n_items);
    specp_team_run(t->team, run_thread, &r);
    err = args->no_logits ? 0 : check_logits(f, why);
    for (size_t i = 0; i < n_items && err; i++) items[i].sequence->n_nodes = 0; /* their rows are gone */
    if (err) return err;
    for (size_t i = 0; i < n_items; i++) {
        specp_sequence_advance(items[i].sequence, items[i].tokens, items[i].n_tokens, items[i].tree);
    }
    *out = (spec_forward_out){.n_rows = f->batch.n_out, .row = f->batch.out_begin};
    out->logits = args->no_logits ? NULL : f->logits;
    out->argmax = args->no_logits ? NULL : f->argmax;
    out->hidden = args->n_taps ? f->hidden : NULL;
    return 0;
}
