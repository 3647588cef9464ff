/* SPDX-License-Identifier: MIT */
/*
 * forward_ffn.c - the feed-forward part of a layer: one for all rows, or experts
 * that a router picks for each row.
 *
 * With experts, a row at one of its experts is a slot, and slots are sorted by
 * expert, so that each expert's weights are read once:
 *
 *     rows 0..2, two experts each    0: {1, 4}   1: {0, 4}   2: {1, 4}
 *     slots     expert 0: row 1 | expert 1: rows 0, 2 | expert 4: rows 0, 1, 2
 *
 * A row's result is the sum over its experts, in their order.
 */
#include "forward.h"

#include <string.h>

static float *slot_y(const specp_run *r, size_t slot) { return r->f->y + slot * r->m->dim; }

static bool any_reads_codes(const specp_run *r, const specp_matrix *expert) {
    bool codes = false;
    for (size_t e = 0; e < r->m->n_experts; e++) codes |= specp_reads_codes(r, &expert[e]);
    return codes;
}

bool specp_ffn_reads_codes(const specp_run *r, const specp_layer *l) {
    if (!r->m->n_experts) return specp_reads_codes(r, &l->gate) || specp_reads_codes(r, &l->up);
    return specp_reads_codes(r, &l->router) || any_reads_codes(r, l->expert_gate) ||
           any_reads_codes(r, l->expert_up);
}

/* ---- act(gate) * up ------------------------------------------------------- */

static void activate(const specp_run *r, size_t i, bool codes) {
    size_t n = r->m->n_ff;
    specp_acts *ffn = &r->f->ffn;
    const float *gate = r->f->gate + i * n, *up = r->f->up + i * n;
    if (r->m->arch->act == SPECP_ACT_GELU) {
        r->k->gelu_mul(gate, up, ffn->x + i * n, n);
    } else {
        r->k->silu_mul(gate, up, ffn->x + i * n, n);
    }
    if (codes) r->k->quantise(ffn, i);
}

static void activate_rows(const specp_run *r, size_t begin, size_t end) {
    bool codes = specp_reads_codes(r, &r->layer->down);
    for (size_t i = begin; i < end; i++) activate(r, i, codes);
}

static void run_dense(const specp_run *r, specp_run_fn *rows) {
    const specp_layer *l = r->layer;
    const specp_product in[] = {{&l->gate, r->f->gate, r->m->n_ff}, {&l->up, r->f->up, r->m->n_ff}};
    const specp_product out = {&l->down, r->f->y, r->m->dim};
    specp_run_products(r, in, 2, &r->f->in, activate_rows);
    specp_run_products(r, &out, 1, &r->f->ffn, rows);
}

/* ---- routing -------------------------------------------------------------- */

/* The row's best experts, ascending, with weights that add up to 1. Ties go to the lower expert. */
static void pick_experts(const specp_run *r, size_t row) {
    size_t n = r->m->n_experts, used = r->m->n_experts_used;
    float *p = r->f->router + row * n, sum = 0.0f;
    uint32_t *expert = r->f->routing.slot + row * used; /* slots later */
    float *weight = r->f->routing.weight + row * used;
    r->k->softmax(p, n);
    for (size_t picked = 0; picked < used; picked++) {
        size_t best = n;
        for (size_t e = 0; e < n; e++) {
            bool taken = false;
            for (size_t j = 0; j < picked; j++) taken |= expert[j] == e;
            if (!taken && (best == n || p[e] > p[best])) best = e;
        }
        expert[picked] = (uint32_t)best;
    }
    for (size_t i = 1; i < used; i++) {
        for (size_t j = i; j > 0 && expert[j - 1] > expert[j]; j--) {
            uint32_t e = expert[j];
            expert[j] = expert[j - 1];
            expert[j - 1] = e;
        }
    }
    for (size_t j = 0; j < used; j++) sum += p[expert[j]];
    for (size_t j = 0; j < used; j++) weight[j] = p[expert[j]] / sum;
}

/* Sorts all rows' picks by expert. */
static void route(const specp_run *r, size_t begin, size_t end) {
    specp_routing *g = &r->f->routing;
    size_t n = r->m->n_experts, picks = r->part->n * r->m->n_experts_used;
    (void)begin, (void)end;
    memset(g->first, 0, (n + 1) * sizeof *g->first);
    for (size_t i = 0; i < r->part->n; i++) pick_experts(r, i);
    for (size_t i = 0; i < picks; i++) g->first[g->slot[i] + 1]++;
    g->n_active = 0;
    for (size_t e = 0; e < n; e++) {
        if (g->first[e + 1]) g->active[g->n_active++] = (uint32_t)e;
        g->first[e + 1] += g->first[e];
    }
    /* first[e] moves on to the end of e's slots, which is where the next expert's begin */
    for (size_t i = 0; i < picks; i++) {
        uint32_t slot = g->first[g->slot[i]]++;
        g->row[slot] = (uint32_t)(i / r->m->n_experts_used);
        g->slot[i] = slot;
    }
    memmove(g->first + 1, g->first, n * sizeof *g->first);
    g->first[0] = 0;
}

/* ---- experts -------------------------------------------------------------- */

/* Items of these steps are the active experts' panels. How many are active is known in the middle of
 * the pass, so there are items for as many as there may be; those past the last have nothing to do. */
static size_t most_active(const specp_run *r) {
    size_t slots = r->part->n * r->m->n_experts_used;
    return slots < r->m->n_experts ? slots : r->m->n_experts;
}

static size_t slots_of(const specp_run *r, size_t expert) {
    return r->f->routing.first[expert + 1] - r->f->routing.first[expert];
}

/* All panels of gate and up, one expert after the other. */
static void expert_in(const specp_run *r, size_t begin, size_t end) {
    const specp_routing *g = &r->f->routing;
    const specp_layer *l = r->layer;
    size_t panels = specp_panels(&l->expert_gate[0]);
    while (begin < end && begin / (2 * panels) < g->n_active) {
        size_t e = g->active[begin / (2 * panels)], first = g->first[e], from = begin % panels;
        size_t to = end - begin < panels - from ? from + (end - begin) : panels;
        bool up = begin / panels % 2;
        const specp_matrix *m = up ? &l->expert_up[e] : &l->expert_gate[e];
        r->k->matmul[m->form](m, &r->f->in, g->row + first, slots_of(r, e),
                              (up ? r->f->up : r->f->gate) + first * m->n_out, m->n_out, from, to);
        begin += to - from;
    }
}

static void expert_out(const specp_run *r, size_t begin, size_t end) {
    const specp_routing *g = &r->f->routing;
    size_t panels = specp_panels(&r->layer->expert_down[0]);
    while (begin < end && begin / panels < g->n_active) {
        size_t e = g->active[begin / panels], first = g->first[e], from = begin % panels;
        size_t to = end - begin < panels - from ? from + (end - begin) : panels;
        const specp_matrix *m = &r->layer->expert_down[e];
        specp_acts a = r->f->ffn;
        a.x += first * a.n_in;
        a.q += first * a.ldq;
        r->k->matmul[m->form](m, &a, NULL, slots_of(r, e), slot_y(r, first), m->n_out, from, to);
        begin += to - from;
    }
}

/* The same by OpenBLAS, in one item; the slots' inputs are gathered where their results will be. */
static void expert_in_blas(const specp_run *r, size_t begin, size_t end) {
    const specp_routing *g = &r->f->routing;
    const specp_layer *l = r->layer;
    size_t dim = r->m->dim, n_ff = r->m->n_ff;
    (void)begin, (void)end;
    for (size_t i = 0; i < g->first[r->m->n_experts]; i++) {
        memcpy(slot_y(r, i), r->f->in.x + g->row[i] * dim, dim * sizeof(float));
    }
    for (size_t i = 0; i < g->n_active; i++) {
        size_t e = g->active[i], first = g->first[e], n = slots_of(r, e);
        specp_blas_matmul(&l->expert_gate[e], slot_y(r, first), dim, n, r->f->gate + first * n_ff, n_ff,
                          r->f->blas);
        specp_blas_matmul(&l->expert_up[e], slot_y(r, first), dim, n, r->f->up + first * n_ff, n_ff,
                          r->f->blas);
    }
}

static void expert_out_blas(const specp_run *r, size_t begin, size_t end) {
    const specp_routing *g = &r->f->routing;
    size_t n_ff = r->m->n_ff;
    (void)begin, (void)end;
    for (size_t i = 0; i < g->n_active; i++) {
        size_t e = g->active[i], first = g->first[e];
        specp_blas_matmul(&r->layer->expert_down[e], r->f->ffn.x + first * n_ff, n_ff, slots_of(r, e),
                          slot_y(r, first), r->m->dim, r->f->blas);
    }
}

static void activate_slots(const specp_run *r, size_t begin, size_t end) {
    bool codes = any_reads_codes(r, r->layer->expert_down);
    for (size_t i = begin; i < end; i++) activate(r, i, codes);
}

static void run_experts(const specp_run *r, specp_run_fn *rows) {
    const specp_layer *l = r->layer;
    size_t active = most_active(r), in = 2 * active * specp_panels(&l->expert_gate[0]);
    size_t out = active * specp_panels(&l->expert_down[0]);
    const specp_product router = {&l->router, r->f->router, r->m->n_experts};
    specp_run_products(r, &router, 1, &r->f->in, NULL);
    specp_run_step(r, 1, 1, route, NULL);
    specp_run_step(r, r->blas ? 1 : in, 0, r->blas ? expert_in_blas : expert_in, NULL);
    specp_run_step(r, r->part->n * r->m->n_experts_used, 0, activate_slots, NULL);
    specp_run_step(r, r->blas ? 1 : out, 0, r->blas ? expert_out_blas : expert_out, rows);
}

/* ---- both ----------------------------------------------------------------- */

void specp_run_ffn(const specp_run *r, specp_run_fn *rows) {
    if (r->m->n_experts) {
        run_experts(r, rows);
    } else {
        run_dense(r, rows);
    }
}

float *specp_run_ffn_row(const specp_run *r, size_t i) {
    if (!r->m->n_experts) return r->f->y + i * r->m->dim;
    size_t used = r->m->n_experts_used, dim = r->m->dim;
    const uint32_t *slot = r->f->routing.slot + i * used;
    const float *weight = r->f->routing.weight + i * used;
    float *y = slot_y(r, slot[0]);
    r->k->scale(y, weight[0], dim);
    for (size_t j = 1; j < used; j++) r->k->axpy(y, weight[j], slot_y(r, slot[j]), dim);
    return y;
}
