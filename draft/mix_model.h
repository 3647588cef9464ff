/* SPDX-License-Identifier: MIT */
/*
 * mix_model.h - the part of the drafter mix that learns: from the evidence on the tokens
 * that may come next to their probabilities. It knows neither indexes nor trees.
 * Private to draft/.
 *
 *     evidence on one candidate                                    (mix_tree.c)
 *       own index:     two classes   hits, misses, length, rank
 *       shared index:  two classes   likewise
 *       other drafters' drafts       probability there, rank
 *       the token itself             and its best rank
 *            |
 *            v   adaptive tables: how often was such evidence right?
 *       stretched probabilities x[i], stretch(p) = ln(p / (1 - p))
 *            |
 *            v   logistic mixing: squash(sum of w[i] x[i]); w is the sum of three sets, chosen
 *            |   by match lengths and by last token, and the same for all
 *            v   together at most 1
 *            p   of the token, where its parent is reached
 *            |
 *            v   path: how often was such a product right, by depth?
 *     product    over a path: the probability that the node is reached and right
 *
 * Source: context mixing as in lossless compressors: Mahoney, Adaptive Weighing of Context Models for
 * Lossless Data Compression (Florida Tech CS-2005-16): logistic mixing, and secondary estimation
 * by an adaptive probability map, which `path` is.
 */
#ifndef DRAFT_MIX_MODEL_H
#define DRAFT_MIX_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "specdec.h"

#define MIX_CANDIDATES 8 /* tokens weighed at a node */
#define MIX_CLASSES    2 /* of each index: the two longest */
#define MIX_MATCHES    (2 * MIX_CLASSES)
#define MIX_PARTS      2 /* other drafters, at most */
#define MIX_EVIDENCE   (MIX_MATCHES + MIX_PARTS)
#define MIX_INPUTS     (3 + MIX_EVIDENCE) /* the token, a constant, whether it is a best child, evidence */

#define MIX_LENGTHS    11 /* buckets of match length; 0: no match */
#define MIX_COUNTS     12 /* buckets of hits and of misses */
#define MIX_RANKS      4  /* best child, second, later; none of them */
#define MIX_TOKEN_BITS 12 /* of a token's hash */
#define MIX_TOKENS     (1 << MIX_TOKEN_BITS)
#define MIX_LAST_BITS  10
#define MIX_LASTS      (1 << MIX_LAST_BITS)
#define MIX_PART_STEPS                                                                                       \
    24                /* of a probability in another drafter's draft: from 2^-11, two an octave; a last one
                           * for what it leaves out */
#define MIX_DEPTHS 8  /* of nodes: 1 to 4, then buckets */
#define MIX_STEPS  46 /* of a map: 2^-11 to 1, four an octave; and a last one that is not reached */

/* A probability that adapts: 22 bits of it, and 10 of how often it was updated. */
typedef uint32_t mix_cell;

/* With it what is asked for: evidence and tokens stretched, the others as probabilities. */
typedef struct mix_slot {
    mix_cell cell;
    float value;
} mix_slot;

#define MIX_MATCH_SLOTS (2 * MIX_LENGTHS * MIX_COUNTS * MIX_COUNTS * MIX_RANKS)
#define MIX_PART_SLOTS  (MIX_PARTS * MIX_PART_STEPS * MIX_RANKS)
#define MIX_NO_EVIDENCE (MIX_MATCH_SLOTS + MIX_PART_SLOTS) /* where there is none: its value is 0 */

/* All that is learned: a plain value. */
typedef struct mix_state {
    mix_slot evidence[MIX_NO_EVIDENCE + 1]; /* matches, then drafts */
    mix_slot token[MIX_TOKENS * MIX_RANKS];
    mix_slot path[MIX_DEPTHS * MIX_STEPS];
    mix_slot reach[2 * MIX_LENGTHS * MIX_COUNTS]; /* p of the best continuation, by the node's match */
    float by_match[MIX_LENGTHS * MIX_LENGTHS][MIX_INPUTS];
    float of_all[MIX_INPUTS];
    float by_last[MIX_LASTS][MIX_INPUTS];
} mix_state;

typedef struct mix_tables {
    float stretch[4096]; /* by the upper 12 bits of p */
    float squash[4096];  /* from -8 to 8, by 256ths */
    uint32_t rate[1024]; /* 2^16 / (n + 1.5) */
    uint8_t count[256];  /* buckets of hits and misses */
    uint8_t length[65];  /* of match lengths; longer ones are in the last */
} mix_tables;

/* What is weighed at one node. The caller fills the first part; places from n on hold any valid cells. */
typedef struct mix_case {
    uint32_t n;                                  /* candidates */
    uint32_t n_evidence;                         /* MIX_MATCHES, and the drafts that there are */
    spec_token token[MIX_CANDIDATES + 1];        /* the last is scratch */
    uint16_t cell[MIX_EVIDENCE][MIX_CANDIDATES]; /* in mix_state.evidence */
    uint8_t rank[MIX_CANDIDATES];                /* the best by any evidence */
    uint16_t match, last;                        /* the weight sets */

    float p[MIX_CANDIDATES];     /* the result, 0 from n on */
    float mixed[MIX_CANDIDATES]; /* before they are scaled to sum to 1 at most */
    float x[MIX_INPUTS][MIX_CANDIDATES];
    uint16_t token_cell[MIX_CANDIDATES];
} mix_case;

void specp_mix_tables(mix_tables *t);

/* The state that knows nothing yet but what counts mean. */
void specp_mix_start(mix_state *s, const mix_tables *t);

/* Fills the second part of a case. */
void specp_mix_weigh(const mix_state *s, const mix_tables *t, mix_case *c);

/* Learns that `next` followed, a candidate or not. */
void specp_mix_learn(mix_state *s, const mix_tables *t, const mix_case *c, spec_token next);

/*
 * The probability that a node at `depth` (1: child of the root) is reached and right, whose path's
 * probabilities multiply to `product`. Products of true conditional probabilities are too small on
 * average: where the first tokens are right, so are, more often than not, the others.
 * *cell is what the answer teaches: see specp_mix_learn_path.
 */
float specp_mix_path(const mix_state *s, uint32_t depth, float product, uint16_t *cell);
void specp_mix_learn_path(mix_state *s, const mix_tables *t, uint16_t cell, bool right);

/* Learns how likely the best continuation of a node was; to be asked before it is weighed. */
void specp_mix_learn_reach(mix_state *s, const mix_tables *t, uint32_t cell, const mix_case *c);

/* Forgets what depends on the vocabulary, and that anything was seen more than `sure` times, so that what
 * stays can be another text's priors. */
void specp_mix_generalize(mix_state *s, const mix_tables *t, uint32_t sure);

/* ---- mix_state.c ---------------------------------------------------------------- */

size_t specp_mix_state_bytes(void);
void specp_mix_state_write(const mix_state *s, unsigned char *out); /* (specp_mix_state_bytes()) */
/* SPEC_ERR_CORRUPT, SPEC_ERR_VERSION: *s is as before. `path` is for messages. */
SPEC_MUST_CHECK int specp_mix_state_read(mix_state *s, const mix_tables *t, const void *data, size_t n,
                                         const char *path, spec_message *why);

/* Computes the values of all slots from their cells. */
void specp_mix_values(mix_state *s, const mix_tables *t);

/*
 * ---- mix_priors.c: what the library was taught ------------------------------------
 *
 * Lines of MIX_PRIOR_PAIRS pairs of characters, 12 bits each, in the order evidence, path, reach,
 * by_match, of_all. Of a cell: its stretched probability in eighths above -8 (7 bits) and its count, at
 * most 31 (5 bits); with count 0 it is left as specp_mix_start made it. Of a weight: w in 256ths above -8.
 */
#define MIX_PRIOR_PAIRS 50

extern const char *const specp_mix_priors[]; /* ends with NULL; may be empty */

/* The state that begins with them. */
void specp_mix_taught(mix_state *s, const mix_tables *t);

/* Twelve bits as two characters, neither of which is ", ? or a backslash. */
static inline int mix_prior_char(uint32_t six) {
    int c = (int)six + '#';
    c += c >= '?';
    return c + (c >= '\\');
}

static inline uint32_t mix_prior_six(int c) { return (uint32_t)(c - '#' - (c > '?') - (c > '\\')); }

/* ---- numbers for several candidates at once -------------------------------------- */

#define MIX_LANES 4

/* The compiler turns them into what the machine has. */
typedef float mix_lanes __attribute__((vector_size(4 * MIX_LANES)));
typedef int32_t mix_lanes_int __attribute__((vector_size(4 * MIX_LANES)));

static inline mix_lanes mix_load(const float *from) {
    mix_lanes x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void mix_store(float *to, mix_lanes x) { memcpy(to, &x, sizeof x); }

/* x where the mask is -1, else 0. */
static inline mix_lanes mix_keep(mix_lanes x, mix_lanes_int mask) {
    return (mix_lanes)((mix_lanes_int)x & mask);
}

/* -1 for candidates k, ..., k + MIX_LANES - 1 that there are, else 0. */
static inline mix_lanes_int mix_live(uint32_t k, uint32_t n) {
    const mix_lanes_int place = {0, 1, 2, 3};
    return place < (int32_t)n - (int32_t)k;
}

/* ---- for the tree --------------------------------------------------------------- */

static inline uint32_t mix_count(const mix_tables *t, uint32_t n) {
    return n < 256 ? t->count[n] : MIX_COUNTS - 1;
}

static inline uint32_t mix_length(const mix_tables *t, uint32_t len) {
    return t->length[len < 64 ? len : 64];
}

/* The cells of a class's evidence. index: 0 own, 1 shared. */
static inline uint32_t mix_evidence_base(const mix_tables *t, uint32_t index, uint32_t len) {
    return (index * MIX_LENGTHS + mix_length(t, len)) * MIX_COUNTS * MIX_COUNTS * MIX_RANKS;
}

static inline uint32_t mix_evidence_cell(const mix_tables *t, uint32_t base, uint32_t hits, uint32_t misses,
                                         uint32_t rank) {
    return base + (mix_count(t, hits) * MIX_COUNTS + mix_count(t, misses)) * MIX_RANKS + rank;
}

/* The cell of what draft number `part` says of a token: its probability where the parent is reached. */
static inline uint32_t mix_part_cell(uint32_t part, float p, uint32_t rank) {
    uint32_t bits;
    memcpy(&bits, &p, sizeof bits);
    const uint32_t least = (127u - 11) << 23, step = bits > least ? (bits - least) >> 22 : 0;
    return MIX_MATCH_SLOTS + (part * MIX_PART_STEPS + step) * MIX_RANKS + rank;
}

/* Of those that it leaves out. */
static inline uint32_t mix_part_absent(uint32_t part) {
    return MIX_MATCH_SLOTS + (part * MIX_PART_STEPS + MIX_PART_STEPS - 1) * MIX_RANKS + MIX_RANKS - 1;
}

/* `bits` bits of a token's hash, the upper ones of its product with 2^32 / golden ratio. */
static inline uint32_t mix_hash(spec_token token, uint32_t bits) {
    return (uint32_t)token * 2654435761u >> (32 - bits);
}

#endif
