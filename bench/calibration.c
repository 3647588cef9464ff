/* SPDX-License-Identifier: MIT */
/*
 * The accounts of calibration.
 *
 *     response   ... 7 | 3 9 4 4 2 .          a step begins at |, five tokens are left
 *     draft            3 9 4 8 2 6 1          accepted: 3 9 4; wrong: 8 2
 *                                ^ ^          past the end: the record cannot say
 *
 * A node deeper than the tokens that are left of the response is neither right nor wrong.
 * It is left out by its place alone, also where a node above it was refused: leaving out only
 * those that might have been right would make the rest look worse than they were.
 * How long a response gets is not known while it is decoded, so nodes wait:
 *
 *     step --> pending --(the response has reached the node's place)--> bin
 *                 \-----(the response is complete)--------------------> beyond
 *
 * Invariant: nodes of all steps = skipped + beyond + nodes of all bins + pending ones.
 */
#include "calibration.h"

#include <math.h>
#include <stdlib.h>

#include "util.h"

void calibration_release(calibration *c) {
    free(c->pending);
    free(c->depth);
    *c = (calibration){0};
}

/* ---- judging ------------------------------------------------------------- */

static void judge(calibration *c, const calibration_node *n) {
    float p = n->prob > 0 ? n->prob : 0; /* NaN: 0 */
    if (p > 1) p = 1;
    size_t b = (size_t)(p * CALIBRATION_BINS); /* in floats, which take 0.9 to bin 18 */
    calibration_bin *bin = &c->bin[b < CALIBRATION_BINS ? b : CALIBRATION_BINS - 1];
    bin->nodes++;
    bin->accepted += n->accepted;
    bin->prob_sum += (double)p;
}

/* Judges the request's nodes up to the place that its response has reached. */
static void settle(calibration *c, uint64_t request, uint64_t reached) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n_pending; i++) {
        const calibration_node n = c->pending[i];
        if (n.request == request && n.place <= reached)
            judge(c, &n);
        else
            c->pending[kept++] = n;
    }
    c->n_pending = kept;
}

int calibration_step(calibration *c, const calibration_step_facts *f) {
    const spec_tree *t = f->tree;
    if (f->run_before < c->skip) {
        c->skipped += t->n;
        return SPEC_OK;
    }
    uint32_t *depth = bench_grow(c->depth, &c->cap_depth, (size_t)t->n + 1, sizeof *depth);
    if (!depth) return SPEC_ERR_NOMEM;
    c->depth = depth;
    calibration_node *list = bench_grow(c->pending, &c->cap_pending, c->n_pending + t->n + 1, sizeof *list);
    if (!list) return SPEC_ERR_NOMEM;
    c->pending = list;
    calibration_node *fresh = list + c->n_pending;
    for (uint32_t i = 0; i < t->n; i++) {
        depth[i] = t->parent[i] < 0 ? 1 : depth[t->parent[i]] + 1;
        fresh[i] = (calibration_node){t->prob[i], 0, f->request, f->before + depth[i]};
    }
    for (size_t i = 0; i < f->n_path; i++) fresh[f->path[i]].accepted = 1;
    c->n_pending += t->n;
    c->steps++;
    settle(c, f->request, f->before + f->committed);
    return SPEC_OK;
}

void calibration_end(calibration *c, uint64_t request) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n_pending; i++)
        if (c->pending[i].request != request) c->pending[kept++] = c->pending[i];
    c->beyond += c->n_pending - kept;
    c->n_pending = kept;
}

/* ---- derived ------------------------------------------------------------- */

calibration_bin calibration_sum(const calibration *c) {
    calibration_bin sum = {0};
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        sum.nodes += c->bin[b].nodes;
        sum.accepted += c->bin[b].accepted;
        sum.prob_sum += c->bin[b].prob_sum;
    }
    return sum;
}

double calibration_said(const calibration_bin *b) { return b->nodes ? b->prob_sum / (double)b->nodes : NAN; }

double calibration_was(const calibration_bin *b) {
    return b->nodes ? (double)b->accepted / (double)b->nodes : NAN;
}

double calibration_ece(const calibration *c) {
    calibration_bin all = calibration_sum(c);
    double sum = 0;
    for (size_t b = 0; b < CALIBRATION_BINS; b++)
        sum += fabs(c->bin[b].prob_sum - (double)c->bin[b].accepted);
    return all.nodes ? sum / (double)all.nodes : NAN;
}

double calibration_bias(const calibration *c) {
    calibration_bin all = calibration_sum(c);
    return calibration_said(&all) - calibration_was(&all);
}
