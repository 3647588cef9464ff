/* SPDX-License-Identifier: MIT */
/* gate.h - recorded logits against computed ones: what differs, and by how much. */
#ifndef BENCH_GATE_H
#define BENCH_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "specdec.h"

typedef struct gate_position {
    double cosine;             /* of the two rows; 0 where one of them is all zero */
    double difference;         /* largest absolute */
    double margin;             /* the recorded largest logit less the second */
    spec_token recorded, here; /* the lowest token of the largest logit */
} gate_position;

typedef struct gate_limits {
    double min_cosine;     /* at every position */
    double margin_factor;  /* equal argmax wherever the margin exceeds this times the largest difference */
    double max_difference; /* at every position; infinite: no limit */
} gate_limits;

typedef struct gate_result {
    size_t n;
    double min_cosine, mean_cosine, max_difference, mean_difference;
    size_t worst_cosine, worst_difference; /* positions */
    size_t equal;                          /* positions of equal argmax */
    size_t must_equal, unequal;            /* where they must be equal; of those, are not */
    bool cosine_missed, difference_missed, argmax_missed;
} gate_result;

/* Two rows of n finite logits, n > 0. */
gate_position gate_compare(const float *recorded, const float *here, size_t n);

/* Whether the argmax must agree there, `difference` being the largest of all positions. */
bool gate_must_equal(const gate_position *p, const gate_limits *l, double difference);

/* n > 0 positions together. */
gate_result gate_judge(const gate_position *p, size_t n, const gate_limits *l);
bool gate_passed(const gate_result *r);

#endif
