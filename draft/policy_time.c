/* SPDX-License-Identifier: MIT */
/*
 * What the passes of a proposal cost: the model's times, bent to what was measured.
 *
 *     model   T(B + k), k = 0, 1, 2, ...                  what the engine said beforehand
 *     ratio   measured / modelled, by k: 0 | 1 | 2-3 | 4-7 | ...          lately
 *     curve   model[k] ratio(k) / ratio(0)                what choices and accounts go by
 *
 * ratio(0), of passes without drafted nodes, is how fast the machine is; the others tell where the model's
 * shape is wrong. Time is counted in the model's units on a machine of the model's speed, so that a pass
 * without draft costs what the model says, and the loss is one against plain decoding as measured.
 * For that some passes must be plain: the first few, and one now and then.
 */
#include <string.h>

#include "policy_internal.h"

#define CONTEXT_STEP 64  /* tokens that make no difference */
#define LATELY       50  /* steps of a ratio become 1 in so many */
#define PRIOR        6   /* measurements that the model's shape counts for */
#define STALE        128 /* passes until a ratio is doubted */
#define PLAIN_FIRST  4   /* passes without draft before the ratio(0) is believed */
#define PLAIN_TRIED  16  /* such passes after which it goes on without: of some engines they are not told */
#define PLAIN_EVERY  256 /* passes until it is measured again */

static size_t place_of(size_t k) {
    size_t b = 0;
    for (; k; k >>= 1) b++;
    return b < SPECP_RATIOS ? b : SPECP_RATIOS - 1;
}

static int reserve(spec_policy *p, size_t want) {
    if (want <= p->cap_curve) return SPEC_OK;
    double *model = specp_alloc(&p->alloc, want, sizeof *model);
    double *curve = specp_alloc(&p->alloc, want, sizeof *curve);
    if (!model || !curve) {
        specp_release(&p->alloc, model, want, sizeof *model);
        specp_release(&p->alloc, curve, want, sizeof *curve);
        return SPEC_ERR_NOMEM;
    }
    specp_policy_release_curve(p);
    p->model = model;
    p->curve = curve;
    p->cap_curve = want;
    return SPEC_OK;
}

void specp_policy_release_curve(spec_policy *p) {
    specp_release(&p->alloc, p->model, p->cap_curve, sizeof *p->model);
    specp_release(&p->alloc, p->curve, p->cap_curve, sizeof *p->curve);
    p->n_curve = p->cap_curve = 0;
}

/* curve[] of model[]: where nothing was measured, bent like what is next to it and smaller. */
static void bend(spec_policy *p) {
    double ratio[SPECP_RATIOS], last = 1;
    for (size_t b = 0; b < SPECP_RATIOS; b++) ratio[b] = last = p->ratio[b].n ? p->ratio[b].median : last;
    for (size_t b = 0, k = 0; k < p->n_curve; b++)
        for (size_t end = b + 1 < SPECP_RATIOS ? (size_t)1 << b : p->n_curve; k < end && k < p->n_curve; k++)
            p->curve[k] = p->model[k] * ratio[b] / ratio[0];
}

int specp_policy_curve(spec_policy *p, size_t n, double context) {
    size_t want = n * p->o.max_nodes + 1, key = (size_t)(context / CONTEXT_STEP);
    bool known = p->n_curve == want && p->key_batch == n && p->key_context == key;
    if (known && !p->timed) return SPEC_OK;
    int err = reserve(p, want);
    if (err) return err;
    for (size_t k = 0; k < want && !known; k++)
        p->model[k] = specp_cost_time(&p->cost, n + k, ((double)key + 0.5) * CONTEXT_STEP, (double)n);
    p->n_curve = want;
    p->key_batch = n;
    p->key_context = key;
    bend(p);
    return SPEC_OK;
}

double specp_policy_unit(const spec_policy *p) {
    double unit = p->o.unit_ns > 0 ? p->o.unit_ns : 1;
    return p->ratio[0].n ? unit * p->ratio[0].median : p->o.unit_ns;
}

bool specp_policy_plain(const spec_policy *p) {
    bool unknown = p->ratio[0].n < PLAIN_FIRST && p->n_plain < PLAIN_TRIED;
    return p->timed && (unknown || p->since_plain >= PLAIN_EVERY);
}

/* What was measured long ago is believed half as much: it may have been a bad moment, and would else keep
 * such passes from ever being measured again. */
static void doubt_old(spec_policy *p) {
    for (size_t b = 1; b < SPECP_RATIOS; b++) {
        specp_ratio *r = &p->ratio[b];
        if (!r->n || ++r->age < STALE) continue;
        r->median = (r->median + p->ratio[0].median) / 2;
        r->n = PRIOR;
        r->age = 0;
    }
}

void specp_policy_run(spec_policy *p, size_t kept) {
    p->under_way = true;
    p->kept = kept;
    p->modelled = p->model[kept];
    p->since_plain = kept ? p->since_plain + 1 : 0;
    p->n_plain += p->timed && !kept;
    doubt_old(p);
}

/* Ratios are medians of late: each measurement moves one by a step, the smaller the more there were, so that
 * a pass that was interrupted counts no more than any other. Those of drafts begin with the plain passes'. */
void spec_policy_timed(spec_policy *p, uint64_t ns) {
    if (!p || !p->under_way || !ns) return;
    specp_ratio *plain = &p->ratio[0], *r = &p->ratio[place_of(p->kept)];
    double x = (double)ns / (p->o.unit_ns > 0 ? p->o.unit_ns : 1) / p->modelled;
    p->timed = true;
    p->under_way = false;
    if (r != plain && plain->n < PLAIN_FIRST) return;
    if (!r->n) {
        r->median = r == plain ? x : plain->median;
        r->n = r == plain ? 0 : PRIOR;
    }
    if (r->n < LATELY) r->n++;
    double most = 1 + 1.0 / r->n, step = x / r->median;
    r->median *= step > most ? most : step < 1 / most ? 1 / most : step;
    r->age = 0;
}
