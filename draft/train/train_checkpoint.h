/* SPDX-License-Identifier: MIT */
/*
 * train_checkpoint.h - the whole state of a training run in one safetensors file,
 * from which it goes on with the same bits as if it had never ended.
 *
 *     NAME              values, under the names of the views: a model in itself
 *     adam.m.NAME       moments
 *     adam.v.NAME
 *     grad.NAME         the gradients so far, where a step was under way
 *     best.NAME         the values that did best on held-out documents, where there are any
 *     run.counts        steps, micro-batches, tokens, step of the best values
 *     run.measures      the loss of the best values, sums of the step under way
 *     run.checksum      of all that is above and of the settings
 *
 * The metadata has the settings, "setting.NAME": a run only goes on with equal ones.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train_params.h"

/* Sums of what is measured, in an order that the kind of training gives: a mean is sum / weight. */
#define TRAIN_MEASURES 16
typedef struct train_measures {
    double sum[TRAIN_MEASURES], weight[TRAIN_MEASURES];
} train_measures;

/* What the weights depend on, as text: "lr" "0.001". */
typedef struct train_setting {
    const char *name;
    char value[80];
} train_setting;

typedef struct train_state {
    uint64_t steps;   /* finished */
    uint64_t batches; /* micro-batches finished */
    uint64_t tokens;  /* targets learnt from */
    double best_loss; /* on held-out documents, infinite before there was one */
    uint64_t best_step;
    train_measures measured; /* in the step under way */
} train_state;

typedef struct train_checkpoint {
    train_params *params;
    train_state *state;
    float *best; /* (params->n): values that did best; in the file unless best_step is 0 */
    const train_setting *setting;
    size_t n_settings;
    bool under_way; /* gradients belong to the state; set by reading */
} train_checkpoint;

/*
 * The file appears whole, or the one before it stays. SPEC_ERR_IO (disk full, ...), SPEC_ERR_NOMEM,
 * SPEC_ERR_INVALID (a setting that is not UTF-8).
 */
int train_checkpoint_write(const char *path, const train_checkpoint *c, const spec_allocator *alloc,
                           spec_message *why);

/*
 * Reads values, moments, gradients (zeros where the file has none), best values and state.
 * SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT (truncated, damaged, no checkpoint),
 * SPEC_ERR_INVALID (of a run with another setting or tensors of other shapes: the first is named, with both
 * values), SPEC_ERR_NOMEM. After an error nothing has changed.
 */
int train_checkpoint_read(const char *path, train_checkpoint *c, const spec_allocator *alloc,
                          spec_message *why);

#endif
