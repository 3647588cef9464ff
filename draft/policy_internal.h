/* SPDX-License-Identifier: MIT */
/*
 * policy_internal.h - the parts of the goodput policy. Private to draft/.
 *
 *     policy.c            requests, and the order of a proposal
 *     policy_plan.c       before the draft: who is asked, for how much; and the accounts after it
 *     policy_choose.c     after the draft: which nodes of all trees pay
 *     policy_calibrate.c  what probabilities are worth
 *     policy_time.c       what passes cost here, by model and measurement
 *     policy_cost.c       what passes cost
 */
#ifndef DRAFT_POLICY_INTERNAL_H
#define DRAFT_POLICY_INTERNAL_H

#include "draft_internal.h"
#include "spec_policy.h"

/* ---- what passes cost (policy_cost.c) ----------------------------------- */

/* The points of one context and batch, by increasing rows. */
typedef struct specp_cost_curve {
    uint32_t context, batch;
    size_t first, n; /* of specp_cost.point */
} specp_cost_curve;

typedef struct specp_cost {
    spec_pass_cost *point;   /* (n_point) by batch, context, rows */
    specp_cost_curve *curve; /* (n_curve) by batch, context */
    size_t n_point, n_curve, cap_curve;
    double (*pass_time)(void *user, size_t rows, size_t context, size_t batch);
    void *user;
} specp_cost;

SPEC_MUST_CHECK int specp_cost_init(specp_cost *c, const spec_policy_options *o, const spec_allocator *alloc,
                                    spec_message *why);
void specp_cost_release(specp_cost *c, const spec_allocator *alloc);
double specp_cost_time(const specp_cost *c, size_t rows, double context, double batch);

/* ---- what probabilities are worth (policy_calibrate.c) ------------------- */

#define SPECP_CALIBRATE_KNOTS   15
#define SPECP_CALIBRATE_SOURCES 12
#define SPECP_CALIBRATE_DEPTHS  4
#define SPECP_CALIBRATE_MATCHES 6

/* Nodes whose parent was reached, and those of them that were right: with weights, and old ones fade. */
typedef struct specp_tally {
    float right, n;
} specp_tally;

typedef struct specp_calibration {
    specp_tally coarse[SPECP_CALIBRATE_SOURCES][SPECP_CALIBRATE_DEPTHS][SPECP_CALIBRATE_KNOTS];
    specp_tally fine[SPECP_CALIBRATE_SOURCES][SPECP_CALIBRATE_DEPTHS][SPECP_CALIBRATE_MATCHES]
                    [SPECP_CALIBRATE_KNOTS];
} specp_calibration;

/* Where a node falls: between two knots of one row of tallies. */
typedef struct specp_mark {
    uint8_t source, depth, match, knot;
    float weight; /* of the upper knot */
} specp_mark;

/* Of a node at `depth` (1 = below the root) that its drafter holds `ratio` probable where its parent is
 * right. */
specp_mark specp_calibrate_mark(int source, uint32_t depth, uint32_t match_len, float ratio);
/* How probable it is in truth, by experience. */
float specp_calibrate_read(const specp_calibration *c, const specp_mark *m);
void specp_calibrate_learn(specp_calibration *c, const specp_mark *m, bool right);

/* ---- which nodes pay (policy_choose.c) ----------------------------------- */

typedef struct specp_candidate_node {
    float value; /* the probability that it is reached and right; no more than its parent's */
    uint32_t request, node;
} specp_candidate_node;

/* Sorts by decreasing value, equal ones as they stand. room: (n) */
void specp_policy_sort(specp_candidate_node *c, specp_candidate_node *room, size_t n);

/*
 * How many of the first candidates to keep, at most `most`, so that the sum of their values less
 * price * (time[k] - time[0]) is largest, of equals the fewest; *gain is that sum. time[k]: of a pass with k
 * of them, k <= most.
 */
size_t specp_policy_choose(const specp_candidate_node *c, size_t most, const double *time, double price,
                           double *gain);

/* ---- the policy ----------------------------------------------------------- */

/* A node as drafted, whether it was kept or not: the text will tell whether it was right. */
typedef struct specp_drafted {
    spec_token token;
    int32_t parent;
    uint32_t depth;
    specp_mark mark;
} specp_drafted;

struct spec_policy_request {
    spec_policy *policy;
    spec_request *inner;
    size_t n_text;          /* prompt and response */
    double worth;           /* what a draft gains over none, in tokens: lately, before its own time */
    double plain;           /* time of a token by plain decoding, in the pass under way; 0 = none is */
    specp_drafted *drafted; /* (max_nodes) the last draft */
    uint32_t n_drafted;
    bool sampled;       /* it has q rows */
    bool looked;        /* it was made only to see whether drafting pays by now */
    uint64_t last_look; /* the last such pass */
};

/* Sums that fade, of draft times: of a request and of a node, by least squares. */
typedef struct specp_draft_time {
    double rr, rn, nn, rt, nt; /* requests, nodes, times */
    double request, node;      /* the result, in units */
} specp_draft_time;

#define SPECP_RATIOS 13 /* the last: of 2,048 nodes or more */

typedef struct specp_ratio {
    double median;
    unsigned n, age; /* measurements; passes since the last */
} specp_ratio;

/* Room for the requests of a proposal. */
typedef struct specp_room {
    size_t cap;
    spec_propose_args *args; /* of all requests */
    size_t *asked;           /* those of them that are asked; by their order: */
    spec_request **inner;
    spec_propose_args *given;
    spec_tree **tree;
    double *gain;
    specp_candidate_node *node, *sorting; /* (cap, max_nodes) */
    uint8_t *keep;                        /* (cap, max_nodes) */
} specp_room;

struct spec_policy {
    spec_drafter *drafter;
    spec_allocator alloc;
    spec_policy_options o; /* complete; o.cost is not kept */
    specp_cost cost;
    specp_calibration calibration;
    specp_draft_time draft;
    double tokens, time;   /* sums that fade: their ratio is the goodput */
    double loss;           /* see spec_policy_stats */
    double worth;          /* of a draft of any request, lately */
    double nodes;          /* offered in a draft, lately */
    double probe_credit;   /* time put aside for looking whether drafting pays by now */
    double probe_patience; /* how much of it a look waits for, in draft times; doubles with each vain look */
    /* of the pass under way */
    bool under_way; /* its time has not been told */
    size_t kept;
    double modelled;
    /* Of drafts with q rows, how often the i-th node was right, lately. They are cut to so many nodes before
     * they are made: what was drawn must not decide what is kept. */
    float *right; /* (max_nodes) */
    bool draws;   /* the drafter can sample */
    spec_policy_stats stats;
    /* curve[k]: time of a pass with k drafted nodes, for the context and batch of its key */
    double *curve, *model; /* as measured; as modelled */
    size_t n_curve, cap_curve, key_batch, key_context;
    specp_ratio ratio[SPECP_RATIOS]; /* measured over modelled times, by nodes: 0 | 1 | 2-3 | 4-7 | ... */
    bool timed;                      /* some were measured */
    size_t since_plain;              /* passes since one without drafted nodes */
    size_t n_plain;                  /* such passes since the first was measured */
    specp_room room;
};

/* ---- what passes cost here (policy_time.c) --------------------------------- */

/* Makes p->curve that of n requests of `context` tokens. SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_policy_curve(spec_policy *p, size_t n, double context);
void specp_policy_release_curve(spec_policy *p);
/* Nanoseconds of a unit of time, by the plain passes measured lately; 0 = unknown. */
double specp_policy_unit(const spec_policy *p);
/* Whether the next pass should be one without draft, to be measured. */
bool specp_policy_plain(const spec_policy *p);
/* A pass with so many nodes follows. */
void specp_policy_run(spec_policy *p, size_t kept);

/* ---- before and after the draft (policy_plan.c) ---------------------------- */

#define SPECP_NO_LOOK SIZE_MAX

typedef struct specp_plan {
    double price;   /* of a unit of time, in tokens */
    double room;    /* time that may be spent beyond a plain pass */
    size_t n_asked; /* requests to be asked: p->room.asked */
    size_t most;    /* nodes that may be kept, of all together */
    float min_prob; /* nodes below cannot pay */
    uint32_t drawn; /* most nodes of a draft with q rows */
    size_t look;    /* the request that is asked only to see whether it pays by now; SPECP_NO_LOOK */
} specp_plan;

/* A request of the pass got so many tokens, of which plain decoding takes `plain` for one. */
void specp_policy_saved(spec_policy *p, size_t tokens, double plain);
/* Of a draft made to see whether drafting pays: whether anything in it was right. */
void specp_policy_looked(spec_policy *p, bool promising);
/* What the text says of a draft with q rows: right[i], where node i was. */
void specp_policy_drawn(spec_policy *p, const spec_policy_request *r, const uint8_t *right);

void specp_policy_plan(spec_policy *p, spec_policy_request *const *r, size_t n, specp_plan *plan);
/* The time to be charged for a draft that took `measured`; below 0: it was not measured. */
double specp_policy_draft_time(const spec_policy *p, size_t requests, size_t nodes, double measured);
/* The draft took so long, and offered so many nodes. */
void specp_policy_drafted(spec_policy *p, const specp_plan *plan, size_t nodes, double time);
/* The pass will have `kept` drafted nodes; its draft took so long. */
void specp_policy_spent(spec_policy *p, size_t kept, double draft);
/* The draft of one of those asked gained so many tokens; looked: it was made only to see. */
void specp_policy_worth(spec_policy *p, spec_policy_request *r, bool looked, double gain);

#endif
