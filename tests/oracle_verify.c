/* SPDX-License-Identifier: MIT */
/* Laws and acceptance from their definitions, and exact output laws: oracle_verify.h. */
#include "oracle_verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "noise.h"

/* ---- laws ----------------------------------------------------------------- */

typedef struct ranked {
    float z;
    size_t token;
    double w;
} ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->z != y->z) return x->z > y->z ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static bool occurs(const spec_sampling *s, const spec_row_place *at, size_t token) {
    size_t n = at->n_text + at->n_path, first = 0;
    if (s->penalty_window && s->penalty_window < n) first = n - s->penalty_window;
    for (size_t i = first; i < n; i++) {
        spec_token t = i < at->n_text ? at->text[i] : at->path[i - at->n_text];
        if ((size_t)t == token) return true;
    }
    return false;
}

static float edited(const spec_sampling *s, const spec_row_place *at, size_t token, float z) {
    for (size_t i = 0; i < s->n_bias; i++)
        if ((size_t)s->bias[i].token == token) z += s->bias[i].bias;
    float penalty = s->repetition_penalty;
    if (penalty != 0.0f && occurs(s, at, token)) z = z > 0.0f ? z / penalty : z * penalty;
    const uint32_t *allowed = NULL;
    if (s->mask) assert_int_equal(s->mask(s->mask_user, at, &allowed), 0);
    return allowed && !(allowed[token / 32] >> token % 32 & 1) ? -INFINITY : z;
}

void oracle_law(const spec_sampling *s, size_t vocab, const float *logits, const spec_row_place *at,
                double *p) {
    static const spec_sampling greedy;
    ranked r[ORACLE_MAX_VOCAB];
    if (!s) s = &greedy;
    assert_true(vocab <= ORACLE_MAX_VOCAB);
    for (size_t t = 0; t < vocab; t++) r[t] = (ranked){edited(s, at, t, logits[t]), t, 0.0};
    qsort(r, vocab, sizeof *r, by_rank);
    size_t n = s->temperature == 0.0f ? 1 : s->top_k && s->top_k < vocab ? s->top_k : vocab;
    double total = 0.0, mass = 0.0;
    for (size_t i = 0; i < n; i++) {
        r[i].w = n == 1 ? 1.0 : exp(((double)r[i].z - (double)r[0].z) / (double)s->temperature);
        total += r[i].w;
    }
    size_t kept = 0;
    while (kept < n && (s->top_p == 0.0f || s->top_p == 1.0f || mass < (double)s->top_p * total))
        mass += r[kept++].w;
    while (kept > 1 && r[kept - 1].w < (double)s->min_p) kept--;
    total = 0.0;
    for (size_t i = 0; i < kept; i++) total += r[i].w;
    for (size_t i = 0; i < vocab; i++) p[r[i].token] = i < kept ? r[i].w / total : 0.0;
}

/* ---- acceptance ------------------------------------------------------------- */

/* q of a child: its row without the tokens of siblings before it. */
static void effective_q(const oracle_verifier *v, const spec_tree *t, uint32_t child, double *q) {
    double total = 0.0;
    for (size_t x = 0; x < v->vocab; x++)
        q[x] = x < t->vocab ? (double)t->q[(size_t)t->q_row[child] * t->vocab + x] : 0.0;
    for (uint32_t i = 0; i < child && v->fault != ORACLE_Q_UNCHANGED; i++) {
        if (t->parent[i] != t->parent[child]) continue;
        if (v->fault == ORACLE_Q_OF_SAMPLED && t->q_row[i] < 0) continue;
        if ((size_t)t->token[i] < v->vocab) q[t->token[i]] = 0.0;
    }
    for (size_t x = 0; x < v->vocab; x++) total += q[x];
    for (size_t x = 0; x < v->vocab; x++) q[x] /= total;
}

static void reject(const oracle_verifier *v, double *p, const double *q) {
    double total = 0.0;
    if (v->fault == ORACLE_RESIDUAL_P) return;
    for (size_t x = 0; x < v->vocab; x++) {
        p[x] = v->fault == ORACLE_RESIDUAL_ABS ? fabs(p[x] - q[x]) : fmax(p[x] - q[x], 0.0);
        total += p[x];
    }
    for (size_t x = 0; x < v->vocab && v->fault != ORACLE_UNNORMALISED; x++) p[x] /= total;
}

static int32_t sampled_child(const oracle_verifier *v, const spec_tree *t, int32_t at, size_t depth,
                             double *p) {
    double q[ORACLE_MAX_VOCAB];
    uint32_t tried = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->parent[i] != at || t->q_row[i] < 0) continue;
        effective_q(v, t, i, q);
        double ratio = (size_t)t->token[i] < v->vocab ? p[t->token[i]] / q[t->token[i]] : 0.0;
        double w[2] = {ratio, 1.0 - ratio};
        if (ratio >= 1.0 || v->fault == ORACLE_BLIND) return (int32_t)i;
        if (!v->choose(v->user, depth, SPECP_NOISE_ACCEPT, tried++, w, 2)) return (int32_t)i;
        reject(v, p, q);
    }
    return -1;
}

size_t oracle_verify(const oracle_verifier *v, const spec_tree *t, int32_t *path, spec_token *next) {
    double p[ORACLE_MAX_VOCAB];
    int32_t at = -1;
    for (size_t depth = 0;; depth++) {
        v->law(v->law_user, v->fault == ORACLE_ROW_BEFORE && at >= 0 ? t->parent[at] : at, p);
        int32_t child = sampled_child(v, t, at, depth, p);
        if (child < 0) {
            *next = (spec_token)v->choose(v->user, depth, SPECP_NOISE_TOKEN, 0, p, (uint32_t)v->vocab);
            child = spec_tree_child(t, at, *next);
        }
        if (child < 0) return depth;
        path[depth] = at = child;
    }
}

/* ---- every branch in turn ----------------------------------------------------- */

void oracle_dice_begin(oracle_dice *d) { *d = (oracle_dice){.weight = 1.0}; }

static uint32_t with_weight(const double *w, uint32_t n, uint32_t i) {
    while (i < n && !(w[i] > 0.0)) i++;
    return i;
}

uint32_t oracle_dice_choose(void *dice, const double *w, uint32_t n, double total) {
    oracle_dice *d = dice;
    assert_true(d->n < ORACLE_MAX_CHOICES);
    uint32_t i = d->n < d->given ? d->taken[d->n] : with_weight(w, n, 0);
    assert_true(i < n);
    uint32_t other = with_weight(w, n, i + 1);
    d->taken[d->n] = i;
    d->other[d->n++] = other < n ? other : 0;
    d->weight *= w[i] / total;
    return i;
}

bool oracle_dice_next(oracle_dice *d) {
    while (d->n > 0 && !d->other[d->n - 1]) d->n--;
    if (!d->n) return false;
    d->taken[d->n - 1] = d->other[d->n - 1];
    d->given = d->n;
    d->n = 0;
    d->weight = 1.0;
    return true;
}

/* ---- the world ------------------------------------------------------------------ */

uint32_t oracle_prefix(const spec_token *tok, size_t n) {
    uint32_t first = 0, value = 0, count = 1;
    for (size_t i = 0; i < n; i++) {
        first += count;
        count *= ORACLE_VOCAB;
        value = value * ORACLE_VOCAB + (uint32_t)tok[i];
    }
    return first + value;
}

/* The text of an index; returns its length. */
static size_t text_of(uint32_t prefix, spec_token *tok) {
    size_t n = 0;
    uint32_t count = 1;
    for (; prefix >= count; count *= ORACLE_VOCAB, n++) prefix -= count;
    for (size_t i = n; i-- > 0; prefix /= ORACLE_VOCAB) tok[i] = (spec_token)(prefix % ORACLE_VOCAB);
    return n;
}

static void make_law(oracle_world *w, uint32_t prefix, spec_sampler *s) {
    static const spec_sampling greedy = {.temperature = 0.0f};
    spec_token path[ORACLE_DEPTH + 2];
    spec_sampling params;
    spec_row_place at = {w->text, 4, path, text_of(prefix, path), 0};
    assert_int_equal(specp_sampling_take(&params, w->sampling, ORACLE_VOCAB, NULL), 0);
    assert_int_equal(specp_sampler_row(s, &params, w->logits[prefix], &at, NULL), 0);
    double p[ORACLE_VOCAB];
    oracle_law(w->sampling ? w->sampling : &greedy, ORACLE_VOCAB, w->logits[prefix], &at, p);
    for (spec_token t = 0; t < ORACLE_VOCAB; t++) {
        w->p[prefix][t] = specp_law_of(&s->law, t);
        assert_true(fabs(w->p[prefix][t] - p[t]) < 1e-14);
    }
}

void oracle_world_make(oracle_world *w, support_rng *r, double sharpness, const spec_sampling *sampling,
                       spec_sampler *s) {
    w->sampling = sampling;
    for (size_t i = 0; i < 4; i++) w->text[i] = (spec_token)support_rng_below(r, ORACLE_VOCAB);
    for (uint32_t i = 0; i < ORACLE_PREFIXES; i++) {
        for (size_t t = 0; t < ORACLE_VOCAB; t++) {
            w->logits[i][t] = (float)((support_rng_unit(r) - 0.5) * sharpness);
            for (size_t m = 0; m < 2; m++)
                w->q[m][i][t] = support_rng_below(r, 6) ? (float)exp(support_rng_unit(r) * sharpness) : 0.0f;
        }
        for (size_t m = 0; m < 2; m++) w->q[m][i][support_rng_below(r, ORACLE_VOCAB)] = 0.7f;
        make_law(w, i, s);
    }
}

int oracle_row(void *user, size_t row, const float **logits) {
    const oracle_rows *r = user;
    spec_token path[ORACLE_DEPTH];
    int32_t node = (int32_t)row - 1;
    size_t n = node < 0 ? 0 : spec_tree_depth(r->t, node);
    for (size_t k = n; k > 0; node = r->t->parent[node]) path[--k] = r->t->token[node];
    *logits = r->w->logits[oracle_prefix(path, n)];
    return SPEC_OK;
}

/* ---- drafts ---------------------------------------------------------------------- */

typedef struct draft {
    const oracle_world *w;
    spec_tree *t;
    uint32_t (*choose)(void *user, const double *w, uint32_t n, double total);
    void *user;
    uint32_t cap;
} draft;

/* Copies the q row of a model after a prefix into the tree. */
static int32_t add_row(draft *d, size_t model, uint32_t prefix) {
    spec_tree *t = d->t;
    assert_true(t->n_q < t->q_cap);
    memcpy(t->q + (size_t)t->n_q * ORACLE_VOCAB, d->w->q[model][prefix], ORACLE_VOCAB * sizeof *t->q);
    return (int32_t)t->n_q++;
}

static void add_child(draft *d, int32_t at, spec_token token, int32_t q_row) {
    if (d->t->n == d->cap || spec_tree_child(d->t, at, token) >= 0) return;
    int32_t i = spec_tree_add(d->t, at, token, 0.0f, 0);
    d->t->q_row[i] = q_row;
}

/* q without the tokens that children of `at` have; the sum of what is left. */
static double remaining(const draft *d, int32_t at, int32_t row, double *q) {
    double total = 0.0;
    for (spec_token x = 0; x < ORACLE_VOCAB; x++) {
        q[x] = (double)d->t->q[row * ORACLE_VOCAB + x];
        if (spec_tree_child(d->t, at, x) >= 0) q[x] = 0.0;
        total += q[x];
    }
    return total;
}

/* Swaps the last two nodes, if they are siblings and the later is more probable. */
static void put_in_order(spec_tree *t) {
    uint32_t i = t->n - 1;
    if (!i || t->parent[i] != t->parent[i - 1]) return;
    const float *q = t->q + t->q_row[i] * ORACLE_VOCAB;
    if (q[t->token[i]] <= q[t->token[i - 1]]) return;
    spec_token token = t->token[i];
    t->token[i] = t->token[i - 1];
    t->token[i - 1] = token;
}

static void add_by_letter(draft *d, int32_t at, uint32_t prefix, char letter, int32_t rows[2]) {
    double q[ORACLE_VOCAB];
    size_t model = letter == 't';
    if (letter >= '0' && letter <= '2') {
        add_child(d, at, letter - '0', -1);
        return;
    }
    if (rows[model] < 0) rows[model] = add_row(d, model, prefix);
    double total = remaining(d, at, rows[model], q);
    if (letter == 's' || letter == 't') {
        total = 0.0;
        for (size_t x = 0; x < ORACLE_VOCAB; x++) total += q[x] = (double)d->w->q[model][prefix][x];
    }
    if (total <= 0.0 || d->t->n == d->cap) return;
    spec_token best = q[1] > q[0] ? 1 : 0;
    if (q[2] > q[best]) best = 2;
    spec_token token = letter == 'k' ? best : (spec_token)d->choose(d->user, q, ORACLE_VOCAB, total);
    uint32_t n = d->t->n;
    add_child(d, at, token, rows[model]);
    if (letter == 'o' && d->t->n > n) put_in_order(d->t);
}

void oracle_draft(const oracle_world *w, const oracle_plan *plan,
                  uint32_t (*choose)(void *user, const double *w, uint32_t n, double total), void *user,
                  spec_tree *t) {
    draft d = {w, t, choose, user, plan->cap ? plan->cap : t->cap};
    spec_tree_clear(t);
    for (int32_t at = -1; at < (int32_t)t->n; at++) {
        spec_token path[ORACLE_DEPTH];
        uint32_t depth = at < 0 ? 0 : spec_tree_depth(t, at);
        int32_t node = at, rows[2] = {-1, -1};
        if (depth == ORACLE_DEPTH || !plan->level[depth]) continue;
        for (uint32_t k = depth; k > 0; node = t->parent[node]) path[--k] = t->token[node];
        for (const char *letter = plan->level[depth]; *letter; letter++)
            add_by_letter(&d, at, oracle_prefix(path, depth), *letter, rows);
    }
}

/* ---- output laws ----------------------------------------------------------------- */

/* Adds the law of a text of which out[0..n) is known, where sampling goes on after `seen`. */
static void spread(const oracle_world *w, spec_token *out, size_t n, spec_token *seen, size_t n_seen,
                   double weight, double *joint) {
    if (n == ORACLE_DEPTH + 1) {
        joint[oracle_prefix(out, n) - (ORACLE_PREFIXES - ORACLE_OUTCOMES)] += weight;
        return;
    }
    const double *p = w->p[oracle_prefix(seen, n_seen)];
    for (spec_token t = 0; t < ORACLE_VOCAB; t++) {
        out[n] = seen[n_seen] = t;
        spread(w, out, n + 1, seen, n_seen + 1, weight * p[t], joint);
    }
}

void oracle_plain_law(const oracle_world *w, double joint[ORACLE_OUTCOMES]) {
    spec_token out[ORACLE_DEPTH + 3], seen[ORACLE_DEPTH + 3];
    memset(joint, 0, ORACLE_OUTCOMES * sizeof *joint);
    spread(w, out, 0, seen, 0, 1.0, joint);
}

static uint32_t choose_in_turn(void *user, uint64_t ahead, int purpose, uint32_t index, const double *w,
                               uint32_t n) {
    double total = 0.0;
    (void)ahead, (void)purpose, (void)index;
    for (uint32_t i = 0; i < n; i++) total += w[i];
    if (!(total > 0.0)) return 0; /* some faults leave nothing */
    return oracle_dice_choose(user, w, n, total);
}

static void law_of_node(void *user, int32_t node, double *p) {
    oracle_rows *r = user;
    const float *logits;
    oracle_row(user, (size_t)(node + 1), &logits);
    size_t prefix = (size_t)(logits - r->w->logits[0]) / ORACLE_VOCAB;
    memcpy(p, r->w->p[prefix], sizeof r->w->p[prefix]);
}

double oracle_output_law(const oracle_world *w, const oracle_plan *plan, oracle_verify_fn rule,
                         oracle_fault fault, spec_sampler *s, double joint[ORACLE_OUTCOMES]) {
    double accepted = 0.0;
    oracle_dice dice;
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 64, 80, ORACLE_VOCAB, NULL), 0);
    oracle_rows rows = {w, &t};
    oracle_verifier v = {fault, ORACLE_VOCAB, choose_in_turn, &dice, law_of_node, &rows};
    spec_verify_args a = {.size = sizeof a,
                          .tree = &t,
                          .sampling = w->sampling,
                          .row = oracle_row,
                          .row_user = &rows,
                          .text = w->text,
                          .n_text = 4};
    memset(joint, 0, ORACLE_OUTCOMES * sizeof *joint);
    s->dice = (specp_dice){oracle_dice_choose, &dice};
    oracle_dice_begin(&dice);
    do {
        int32_t path[64];
        spec_token out[ORACLE_DEPTH + 3], seen[ORACLE_DEPTH + 3];
        size_t n;
        spec_message why;
        oracle_draft(w, plan, oracle_dice_choose, &dice, &t);
        if (!rule)
            n = oracle_verify(&v, &t, path, &seen[ORACLE_DEPTH]);
        else if (rule(s, &a, path, &n, &seen[ORACLE_DEPTH], &why))
            fail_msg("%s", why.text);
        accepted += dice.weight * (double)n;
        for (size_t i = 0; i < n; i++) out[i] = t.token[path[i]];
        out[n] = seen[ORACLE_DEPTH];
        memcpy(seen, out, (n + 1) * sizeof *out);
        spread(w, out, fault == ORACLE_NO_BONUS ? n : n + 1, seen, n + 1, dice.weight, joint);
    } while (oracle_dice_next(&dice));
    s->dice = (specp_dice){NULL, NULL};
    spec_tree_release(&t, NULL);
    return accepted;
}
