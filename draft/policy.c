/* SPDX-License-Identifier: MIT */
/*
 * The goodput policy: requests, and the order of a proposal.
 *
 *     requests --> plan: who is asked? --> drafter --> values: calibrated
 *                    ^                                    |
 *                    |                                 choose: all trees at one price
 *                 accounts <------------------------------+--> trees, pruned
 *                    ^
 *     outcome -------+--> calibration: every node as drafted, kept or not, against the text
 *
 * On error the accounts are as before, and all trees are empty.
 */
#include <string.h>
#include <time.h>

#include "policy_internal.h"

/* ---- the policy ------------------------------------------------------------- */

static uint64_t system_clock(void *user) {
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int take_options(spec_policy_options *o, const spec_policy_options *given, spec_message *why) {
    int err = given ? specp_take_struct(o, sizeof *o, sizeof *o, given) : SPEC_ERR_INVALID;
    if (err) return specp_fail(why, err, "policy: expected options with their size, and what passes cost");
    o->size = sizeof *o;
    if (!o->max_nodes) o->max_nodes = 64;
    if (o->max_loss == 0) o->max_loss = 0.01;
    if (!o->clock) o->clock = system_clock;
    if (o->max_nodes > SPEC_TREE_MAX_NODES)
        return specp_fail(why, SPEC_ERR_INVALID, "policy: %u nodes; expected at most %d", o->max_nodes,
                          SPEC_TREE_MAX_NODES);
    if (!(o->max_loss > 0 && o->max_loss < 1 && o->unit_ns >= 0 && o->draft_time >= 0 && o->node_time >= 0))
        return specp_fail(why, SPEC_ERR_INVALID, "policy: expected times from 0 and a loss above 0, below 1");
    return SPEC_OK;
}

int spec_policy_new(spec_policy **out, spec_drafter *d, const spec_policy_options *given,
                    const spec_allocator *alloc, spec_message *why) {
    spec_policy_options o = {0};
    if (!out || !d) return specp_fail(why, SPEC_ERR_INVALID, "policy: expected a drafter");
    int err = take_options(&o, given, why);
    if (err) return err;
    spec_policy *p = specp_calloc(alloc, 1, sizeof *p);
    if (!p) return specp_fail(why, SPEC_ERR_NOMEM, "policy: %s", spec_strerror(SPEC_ERR_NOMEM));
    if (alloc) p->alloc = *alloc;
    err = specp_cost_init(&p->cost, &o, alloc, why);
    if (!err && !(p->right = specp_alloc(alloc, o.max_nodes, sizeof *p->right))) {
        err = specp_fail(why, SPEC_ERR_NOMEM, "policy: %s", spec_strerror(SPEC_ERR_NOMEM));
        specp_cost_release(&p->cost, alloc);
    }
    if (err) {
        specp_release(alloc, p, 1, sizeof *p);
        return err;
    }
    spec_needs needs;
    spec_drafter_needs(d, &needs);
    p->draws = needs.q_rows > 0;
    for (uint32_t i = 0; i < o.max_nodes; i++) p->right[i] = i ? p->right[i - 1] * 0.8f : 0.8f;
    p->drafter = d;
    p->o = o;
    p->o.cost = NULL;
    p->draft.request = o.draft_time;
    p->draft.node = o.node_time;
    p->worth = 1; /* until it is known */
    p->probe_patience = 1;
    *out = p;
    return SPEC_OK;
}

static void release_room(const spec_policy *p, specp_room *m) {
    const spec_allocator *a = &p->alloc;
    size_t nodes = m->cap * p->o.max_nodes;
    specp_release(a, m->inner, m->cap, sizeof *m->inner);
    specp_release(a, m->args, m->cap, sizeof *m->args);
    specp_release(a, m->given, m->cap, sizeof *m->given);
    specp_release(a, m->tree, m->cap, sizeof *m->tree);
    specp_release(a, m->asked, m->cap, sizeof *m->asked);
    specp_release(a, m->gain, m->cap, sizeof *m->gain);
    specp_release(a, m->node, nodes, sizeof *m->node);
    specp_release(a, m->sorting, nodes, sizeof *m->sorting);
    specp_release(a, m->keep, nodes, sizeof *m->keep);
}

void spec_policy_free(spec_policy *p) {
    if (!p) return;
    spec_allocator alloc = p->alloc;
    spec_drafter_free(p->drafter);
    specp_cost_release(&p->cost, &alloc);
    specp_release(&alloc, p->right, p->o.max_nodes, sizeof *p->right);
    specp_policy_release_curve(p);
    release_room(p, &p->room);
    specp_release(&alloc, p, 1, sizeof *p);
}

spec_drafter *spec_policy_drafter(spec_policy *p) { return p->drafter; }

void spec_policy_get_stats(const spec_policy *p, spec_policy_stats *out) {
    *out = p->stats;
    out->goodput = p->time > 0 ? p->tokens / p->time : 0;
    out->draft_time = p->draft.request;
    out->node_time = p->draft.node;
    out->unit_ns = specp_policy_unit(p);
    out->loss = p->loss;
}

/* ---- requests ------------------------------------------------------------------ */

int spec_policy_begin(spec_policy *p, const spec_request_info *info, spec_policy_request **out) {
    if (!p || !out) return SPEC_ERR_INVALID;
    spec_policy_request *r = specp_calloc(&p->alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    r->drafted = specp_alloc(&p->alloc, p->o.max_nodes, sizeof *r->drafted);
    int err = r->drafted ? spec_request_begin(p->drafter, info, &r->inner) : SPEC_ERR_NOMEM;
    if (err) {
        specp_release(&p->alloc, r->drafted, p->o.max_nodes, sizeof *r->drafted);
        specp_release(&p->alloc, r, 1, sizeof *r);
        return err;
    }
    r->policy = p;
    r->n_text = info ? info->n_prompt : 0;
    r->worth = p->worth;
    *out = r;
    return SPEC_OK;
}

void spec_policy_end(spec_policy *p, spec_policy_request *r) {
    if (!p || !r) return;
    spec_request_end(r->inner);
    specp_release(&p->alloc, r->drafted, p->o.max_nodes, sizeof *r->drafted);
    specp_release(&p->alloc, r, 1, sizeof *r);
}

/* The text says which of the nodes drafted were right: of those whose parents were. */
static void learn(spec_policy *p, spec_policy_request *r, const spec_token *tok, size_t n) {
    int32_t at = -1;
    uint8_t on_path[SPEC_TREE_MAX_NODES];
    if (r->sampled) memset(on_path, 0, r->n_drafted);
    for (size_t d = 0; d < n; d++) {
        int32_t next = -1;
        for (uint32_t i = (uint32_t)(at + 1); i < r->n_drafted; i++) {
            const specp_drafted *v = &r->drafted[i];
            if (v->parent != at) continue;
            bool right = v->token == tok[d];
            if (!r->sampled) specp_calibrate_learn(&p->calibration, &v->mark, right);
            if (right) next = (int32_t)i;
        }
        if (next < 0) break;
        at = next;
        if (r->sampled) on_path[at] = 1;
    }
    if (r->sampled) specp_policy_drawn(p, r, on_path);
    if (r->looked) specp_policy_looked(p, at >= 0);
    r->sampled = r->looked = false;
    r->n_drafted = 0;
}

int spec_policy_observe(spec_policy *p, spec_policy_request *r, const spec_outcome *outcome) {
    if (!p || !r || r->policy != p) return SPEC_ERR_INVALID;
    int err = spec_request_observe(r->inner, outcome);
    if (err || !outcome->n_committed) return err;
    learn(p, r, outcome->committed, outcome->n_committed);
    r->n_text += outcome->n_committed;
    if (r->plain > 0) {
        specp_policy_saved(p, outcome->n_committed, r->plain);
        r->plain = 0;
    }
    return SPEC_OK;
}

/* ---- a proposal -------------------------------------------------------------------- */

static int reserve(spec_policy *p, size_t n) {
    if (n <= p->room.cap) return SPEC_OK;
    specp_room m = {.cap = n};
    const spec_allocator *a = &p->alloc;
    size_t nodes = n <= SIZE_MAX / p->o.max_nodes ? n * p->o.max_nodes : SIZE_MAX;
    m.inner = specp_alloc(a, n, sizeof *m.inner);
    m.args = specp_alloc(a, n, sizeof *m.args);
    m.given = specp_alloc(a, n, sizeof *m.given);
    m.tree = specp_alloc(a, n, sizeof *m.tree);
    m.asked = specp_alloc(a, n, sizeof *m.asked);
    m.gain = specp_alloc(a, n, sizeof *m.gain);
    m.node = specp_alloc(a, nodes, sizeof *m.node);
    m.sorting = specp_alloc(a, nodes, sizeof *m.sorting);
    m.keep = specp_alloc(a, nodes, sizeof *m.keep);
    bool all = m.inner && m.args && m.given && m.tree && m.asked && m.gain && m.node && m.sorting && m.keep;
    release_room(p, all ? &p->room : &m);
    if (all) p->room = m;
    return all ? SPEC_OK : SPEC_ERR_NOMEM;
}

/* Copies the drafted tree into the request's record, and its nodes to the candidates. */
static size_t candidates_of(spec_policy *p, spec_policy_request *r, const spec_tree *t, size_t asked,
                            specp_candidate_node *out) {
    r->n_drafted = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        int32_t parent = t->parent[i];
        if (parent >= (int32_t)i) return 0; /* not a tree: left to the verifier's complaint */
        float above = parent < 0 ? 1 : t->prob[parent], reach = parent < 0 ? 1 : out[parent].value;
        uint32_t depth = parent < 0 ? 1 : r->drafted[parent].depth + 1;
        specp_mark m =
            specp_calibrate_mark(t->source[i], depth, t->match_len, above > 0 ? t->prob[i] / above : 0);
        float share = specp_calibrate_read(&p->calibration, &m);
        r->drafted[i] = (specp_drafted){t->token[i], parent, depth, m};
        out[i] = (specp_candidate_node){share < 1 ? reach * share : reach, (uint32_t)asked, i};
    }
    r->n_drafted = t->n;
    return t->n;
}

/* Asks the drafter for those of the plan; *time is how long that took, in units. */
static int ask(spec_policy *p, spec_policy_request *const *r, spec_tree *const *trees, const specp_plan *plan,
               double *time) {
    double unit = p->o.told_draft ? 0 : specp_policy_unit(p);
    bool clock = unit > 0;
    for (size_t i = 0; i < plan->n_asked; i++) {
        size_t at = p->room.asked[i];
        spec_propose_args *a = &p->room.given[i];
        *a = p->room.args[at];
        if (a->budget > plan->most) a->budget = (uint32_t)plan->most;
        if (a->min_prob < plan->min_prob) a->min_prob = plan->min_prob;
        p->room.inner[i] = r[at]->inner;
        p->room.tree[i] = trees[at];
        if (p->draws && trees[at]->q_cap && a->budget > plan->drawn) a->budget = plan->drawn;
    }
    *time = 0;
    if (!plan->n_asked) return SPEC_OK;
    uint64_t t0 = clock ? p->o.clock(p->o.user) : 0;
    int err = plan->n_asked == 1
                  ? spec_request_propose(p->room.inner[0], &p->room.given[0], p->room.tree[0])
                  : spec_request_propose_batch((spec_request *const *)p->room.inner, p->room.given,
                                               (spec_tree *const *)p->room.tree, plan->n_asked);
    double measured = clock ? (double)(p->o.clock(p->o.user) - t0) / unit : -1;
    size_t nodes = 0;
    for (size_t i = 0; i < plan->n_asked; i++) nodes += p->room.tree[i]->n;
    *time = specp_policy_draft_time(p, plan->n_asked, nodes, measured);
    return err;
}

/* A draft with q rows, which is kept as it is. Returns what it is worth by the record. */
static double take_drawn(spec_policy *p, spec_policy_request *r, const spec_tree *t) {
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        r->drafted[i] = (specp_drafted){.token = t->token[i], .parent = t->parent[i]};
        sum += (double)p->right[i];
    }
    r->n_drafted = t->n;
    r->sampled = true;
    return sum;
}

/* Keeps of the trees what pays. Returns how many nodes. */
static size_t judge(spec_policy *p, spec_policy_request *const *r, const specp_plan *plan, double time) {
    size_t n = 0, drawn = 0, kept;
    double gain;
    memset(p->room.keep, 0, plan->n_asked * p->o.max_nodes);
    for (size_t i = 0; i < plan->n_asked; i++) {
        const spec_tree *t = p->room.tree[i];
        p->room.gain[i] = t->n_q ? take_drawn(p, r[p->room.asked[i]], t) : 0;
        if (t->n_q) memset(p->room.keep + i * p->o.max_nodes, 1, t->n);
        if (t->n_q)
            drawn += t->n;
        else
            n += candidates_of(p, r[p->room.asked[i]], t, i, p->room.node + n);
    }
    size_t room = plan->most > drawn ? plan->most - drawn : 0;
    specp_policy_sort(p->room.node, p->room.sorting, n);
    kept = specp_policy_choose(p->room.node, n < room ? n : room, p->curve + drawn, plan->price, &gain);
    size_t all = kept + drawn;
    double share = all ? plan->price * (p->curve[all] - p->curve[0]) / (double)all : 0;
    for (size_t k = 0; k < kept; k++) {
        const specp_candidate_node *c = &p->room.node[k];
        p->room.keep[c->request * p->o.max_nodes + c->node] = 1;
        p->room.gain[c->request] += (double)c->value - share;
    }
    for (size_t i = 0; i < plan->n_asked; i++) {
        if (p->room.tree[i]->n_q) p->room.gain[i] -= share * p->room.tree[i]->n;
        specp_tree_keep(p->room.tree[i], p->room.keep + i * p->o.max_nodes);
        specp_policy_worth(p, r[p->room.asked[i]], p->room.asked[i] == plan->look, p->room.gain[i]);
    }
    p->stats.offered += n + drawn;
    p->stats.kept += all;
    if (plan->n_asked) specp_policy_drafted(p, plan, n + drawn, time);
    return all;
}

/* All that can be wrong before anything has changed. */
static int check(const spec_policy *p, spec_policy_request *const *r, const spec_propose_args *args,
                 spec_tree *const *trees, size_t n) {
    if (!p || !r || !trees) return SPEC_ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        spec_propose_args full = {0};
        if (!r[i] || r[i]->policy != p || !trees[i]) return SPEC_ERR_INVALID;
        int err = args ? specp_take_args(&full, &args[i]) : SPEC_OK;
        if (err) return err;
    }
    return SPEC_OK;
}

static uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Room, times, and complete arguments: a budget of 0 is one of no nodes here. */
static int prepare(spec_policy *p, spec_policy_request *const *r, const spec_propose_args *args,
                   spec_tree *const *trees, size_t n) {
    double context = 0;
    for (size_t i = 0; i < n; i++) context += (double)r[i]->n_text / (double)n;
    int err = reserve(p, n);
    if (!err) err = specp_policy_curve(p, n, context);
    for (size_t i = 0; i < n && !err; i++) {
        p->room.args[i] = (spec_propose_args){.size = sizeof *p->room.args};
        if (args) err = specp_take_args(&p->room.args[i], &args[i]);
        uint32_t budget = p->room.args[i].budget ? p->room.args[i].budget : p->o.max_nodes;
        p->room.args[i].budget = lesser(lesser(budget, p->o.max_nodes), trees[i]->cap);
    }
    return err;
}

int spec_policy_propose(spec_policy *p, spec_policy_request *const *r, const spec_propose_args *args,
                        spec_tree *const *trees, size_t n) {
    specp_plan plan;
    double time;
    if (!n) return SPEC_OK;
    int err = check(p, r, args, trees, n);
    if (err) return err;
    for (size_t i = 0; i < n; i++) spec_tree_clear(trees[i]);
    err = prepare(p, r, args, trees, n);
    if (err) return err;
    double credit = p->probe_credit;
    specp_policy_plan(p, r, n, &plan);
    err = ask(p, r, trees, &plan, &time);
    if (err) p->probe_credit = credit;
    if (err) return err;
    for (size_t i = 0; i < n; i++) {
        r[i]->n_drafted = 0;
        r[i]->sampled = false;
        r[i]->plain = p->curve[0] / (double)n;
    }
    p->stats.passes++;
    p->stats.asked += plan.n_asked;
    p->stats.skipped += n - plan.n_asked;
    p->stats.probes += plan.look != SPECP_NO_LOOK;
    specp_policy_spent(p, judge(p, r, &plan, time), time);
    return SPEC_OK;
}
