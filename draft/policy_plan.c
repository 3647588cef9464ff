/* SPDX-License-Identifier: MIT */
/*
 * Before the draft: what time is worth, who is asked, for how much. After it: the accounts.
 *
 *     goodput   = tokens / time, sums that fade         the price of time, in tokens
 *     worth     = what drafts gained lately             ask where worth >= goodput * draft time
 *     loss      + time beyond a plain pass - share of a plain pass - time of plain passes saved
 *
 *        loss  limit -----------------.-------   nothing is spent beyond
 *              0     ---.---.---.--'`-------
 *              -bank ----`-'-`-'-----------     gains beyond are forgotten
 *
 * Spending ends where the loss would exceed the limit, and goes on as the share of plain passes
 * grows again. So the time lost against plain decoding is, from any moment on, at most that share
 * of the time, and limit + bank (docs/POLICY.md).
 */
#include "policy_internal.h"

#define LIMIT    16.0 /* plain passes that may be lost beyond the share */
#define BANK     32.0 /* plain passes gained that are remembered */
#define BET      0.25 /* of what may still be lost, the part that one pass may spend */
#define SPIKE    8.0  /* times the expected time of a draft: what is beyond was waiting for something else */
#define PATIENCE 8.0  /* draft times' worth of waiting for a look, at most */
#define MEMORY   2000.0 /* passes that the goodput remembers */
#define MODEST   0.25f  /* probabilities of nodes that pay may be stated so much too low */

/* ---- the plan ------------------------------------------------------------- */

static double draft_time(const spec_policy *p) { return p->draft.request + p->draft.node * p->nodes; }

/* How many nodes of a draft with q rows pay, by the record of those before; at least one: whether to draft at
 * all has been decided. */
static uint32_t drawn_budget(const spec_policy *p, const specp_plan *plan, size_t n) {
    double sum = 0, best = 0;
    uint32_t budget = 1;
    for (uint32_t b = 1; b <= p->o.max_nodes && b * plan->n_asked <= plan->most; b++) {
        sum += (double)p->right[b - 1];
        double gain = sum - plan->price * (p->curve[b * n] - p->curve[0]) / (double)n;
        if (gain <= best) continue;
        best = gain;
        budget = b;
    }
    return budget;
}

void specp_policy_drawn(spec_policy *p, const spec_policy_request *r, const uint8_t *right) {
    for (uint32_t i = 0; i < p->o.max_nodes; i++) {
        bool seen = i < r->n_drafted; /* one that was not may be as good as the one before it */
        float now = seen ? right[i] : i ? p->right[i - 1] : 1;
        p->right[i] += (now - p->right[i]) / (seen ? 32.0f : 512.0f);
    }
}

/* Whether a request's draft seems worth its own time. */
static bool pays(const spec_policy *p, const spec_policy_request *r, const specp_plan *plan) {
    return r->worth >= plan->price * draft_time(p);
}

/* Of the requests whose drafts do not pay, the one that was not looked at for longest, if a look is due. */
static size_t due_look(const spec_policy *p, spec_policy_request *const *r, size_t n,
                       const specp_plan *plan) {
    size_t due = SPECP_NO_LOOK;
    if (p->probe_credit < p->probe_patience * draft_time(p)) return due;
    for (size_t i = 0; i < n; i++)
        if (p->room.args[i].budget && !pays(p, r[i], plan) &&
            (due == SPECP_NO_LOOK || r[i]->last_look < r[due]->last_look))
            due = i;
    return due;
}

/* Asks those whose drafts pay, and the one that is due, as far as there is room. Each time another one comes
 * first. */
static void choose_asked(spec_policy *p, spec_policy_request *const *r, size_t n, specp_plan *plan) {
    const double time = draft_time(p);
    const size_t due = due_look(p, r, n, plan);
    for (size_t k = 0; k < n && time <= plan->room; k++) {
        const size_t i = (k + p->stats.passes) % n;
        if (!p->room.args[i].budget || (i != due && !pays(p, r[i], plan))) continue;
        plan->room -= time;
        p->room.asked[plan->n_asked++] = i;
    }
}

/* Nodes that there is room for. Drafts with q rows stay whole: no more of them than nodes may be kept. */
static void limit_nodes(const spec_policy *p, specp_plan *plan) {
    const double *curve = p->curve;
    const size_t most = plan->n_asked * p->o.max_nodes;
    while (plan->most < most && curve[plan->most + 1] - curve[0] <= plan->room) plan->most++;
    if (plan->n_asked > plan->most && (p->draws || !plan->most)) plan->n_asked = plan->most;
}

void specp_policy_plan(spec_policy *p, spec_policy_request *const *r, size_t n, specp_plan *plan) {
    const double *curve = p->curve;
    double plain = curve[0], least = curve[1] - curve[0];
    if (p->time == 0) {
        p->time = 8 * plain;
        p->tokens = 8 * (double)n;
    }
    *plan = (specp_plan){.price = p->tokens / p->time, .room = (LIMIT * plain - p->loss) * BET};
    plan->look = SPECP_NO_LOOK;
    p->probe_credit += p->o.max_loss / 2 * plain;
    if (!specp_policy_plain(p)) choose_asked(p, r, n, plan);
    limit_nodes(p, plan);
    for (size_t i = 0; i < plan->n_asked; i++)
        if (!pays(p, r[p->room.asked[i]], plan)) plan->look = p->room.asked[i];
    if (plan->look != SPECP_NO_LOOK) p->probe_credit = 0;
    for (size_t k = 2; k <= plan->most; k++) {
        double step = curve[k] - curve[k - 1];
        if (step < least) least = step;
    }
    plan->drawn = drawn_budget(p, plan, n);
    double floor = plan->price * (least + p->draft.node) * (double)MODEST;
    plan->min_prob = floor > 0 ? (floor < 1 ? (float)floor : 1) : 0;
}

/* ---- the accounts ---------------------------------------------------------- */

double specp_policy_draft_time(const spec_policy *p, size_t requests, size_t nodes, double measured) {
    double expected = p->draft.request * (double)requests + p->draft.node * (double)nodes;
    double plain = p->curve[0], most = p->draft.rr > 8 ? SPIKE * expected : LIMIT / 2 * plain;
    if (most < plain / 100) most = plain / 100;
    return measured < 0 ? expected : measured < most ? measured : most;
}

void specp_policy_drafted(spec_policy *p, const specp_plan *plan, size_t nodes, double time) {
    specp_draft_time *d = &p->draft;
    double r = (double)plan->n_asked, n = (double)nodes, fade = 1 - 1.0 / 64;
    p->nodes += (n / r - p->nodes) / 16;
    if (p->o.told_draft || !(specp_policy_unit(p) > 0)) return;
    d->rr = d->rr * fade + r * r;
    d->rn = d->rn * fade + r * n;
    d->nn = d->nn * fade + n * n;
    d->rt = d->rt * fade + r * time;
    d->nt = d->nt * fade + n * time;
    double det = d->rr * d->nn - d->rn * d->rn;
    d->node = det > 1e-6 * d->rr * d->nn ? (d->rr * d->nt - d->rn * d->rt) / det : 0;
    if (d->node < 0) d->node = 0;
    d->request = (d->rt - d->node * d->rn) / d->rr;
    if (d->request >= 0) return;
    d->request = 0;
    d->node = d->nt / d->nn;
}

void specp_policy_spent(spec_policy *p, size_t kept, double draft) {
    double plain = p->curve[0], time = p->curve[kept] + draft, fade = 1 - 1 / MEMORY;
    p->tokens *= fade;
    p->time = p->time * fade + time;
    p->loss += time - plain - p->o.max_loss * plain;
    specp_policy_run(p, kept);
}

void specp_policy_worth(spec_policy *p, spec_policy_request *r, bool looked, double gain) {
    r->worth += (gain - r->worth) * (looked ? 0.25 : 1.0 / 16);
    p->worth += (gain - p->worth) / 64;
    r->looked = looked;
    if (looked) r->last_look = p->stats.passes;
}

void specp_policy_saved(spec_policy *p, size_t tokens, double plain) {
    p->tokens += (double)tokens;
    p->loss -= (double)(tokens - 1) * plain;
    if (p->loss < -BANK * p->curve[0]) p->loss = -BANK * p->curve[0];
}

void specp_policy_looked(spec_policy *p, bool promising) {
    if (promising)
        p->probe_patience = 1;
    else if (p->probe_patience < PATIENCE)
        p->probe_patience *= 2;
}
