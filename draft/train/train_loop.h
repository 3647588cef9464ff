/* SPDX-License-Identifier: MIT */
/*
 * train_loop.h - a training run: micro-batches, steps of AdamW, held-out documents,
 * checkpoints. What is trained is a task; the loop knows only its parameters and what it
 * measures.
 *
 *     step 1                      step 2
 *     | batch 0 ... batch K-1 |   | batch K ... batch 2K-1 |   ...   each adds to the gradient
 *                             |                            |
 *                             norm, clip, AdamW; now and then: held out, checkpoint
 *
 *     train_loop_new(&l, &task, &options, alloc, &why)
 *     train_loop_resume(l, &why)         or not
 *     train_loop_run(l, &why)
 */
#ifndef TRAIN_LOOP_H
#define TRAIN_LOOP_H

#include "adamw.h"
#include "team.h"
#include "train_checkpoint.h"

/* A share of the wall time, in the order of the task's names. */
#define TRAIN_PARTS_MOST 32

typedef struct train_task {
    void *self;
    train_params *params;
    size_t n_measures;          /* at least 1: the first is the loss, whose weight counts targets */
    const char *const *measure; /* "loss", "accuracy" */
    size_t n_parts;
    const char *const *part; /* "data", "forward.attention" */
    const uint64_t *part_ns; /* (n_parts): what each has taken so far; the task counts up. NULL if none */
    const double *part_flop; /* (n_parts): and how many floating-point operations it did; NULL: not known */

    /* Micro-batch i of the run, a pure function of i: adds the gradient of its mean loss to params->grad,
     * and its measures. After an error the run is over. */
    int (*batch)(void *self, uint64_t i, train_measures *m, spec_message *why);
    /* Measures on held-out documents, with params->value as it is. NULL: there are none. */
    int (*validate)(void *self, train_measures *m, spec_message *why);
} train_task;

/* What a step was like. */
typedef struct train_step {
    uint64_t step, steps, batches; /* 1..steps; micro-batches of the run so far */
    uint64_t tokens, all_tokens;   /* targets, of this step and of the run so far */
    double rate, norm;             /* the gradient's, before clipping */
    bool clipped;
    train_measures measured; /* micro-batches of the step */
    bool is_validated;
    train_measures validated; /* then: on held-out documents */
    bool best;                /* no step before did as well on held-out documents */
    bool saved;               /* a checkpoint was written */
    /* nanoseconds since the step before was reported (or the run began), of all of which `other` is what
     * nothing else accounts for */
    uint64_t wall_ns, optimiser_ns, validation_ns, checkpoint_ns, report_ns, other_ns;
    uint64_t part_ns[TRAIN_PARTS_MOST];
    double part_flop[TRAIN_PARTS_MOST]; /* zeros where not known */
} train_step;

typedef struct train_options {
    uint64_t steps, accum;     /* micro-batches of a step, at least 1 */
    uint64_t checkpoint_every; /* steps; 0: at the end */
    uint64_t validate_every;   /* likewise */
    train_schedule schedule;
    train_adamw adam; /* without lr; weight_decay for matrices, vectors have none */
    double clip;      /* the largest norm of a gradient; 0: any */

    const char *checkpoint; /* borrowed; NULL: none */
    const train_setting *setting;
    size_t n_settings; /* borrowed; all that the weights depend on */
    specp_team *team;  /* borrowed; NULL: one thread */

    void *user;
    uint64_t (*now_ns)(void);
    void (*report)(void *user, const train_step *s);           /* after each step */
    void (*batch_done)(void *user, uint64_t step, uint64_t i); /* micro-batch i of accum; may be NULL */
    void (*trouble)(void *user, const char *what); /* no checkpoint could be written; it goes on */
    bool (*stop)(void *user); /* asked after each micro-batch: writes a checkpoint, and ends */
} train_options;

typedef struct train_loop {
    train_task task;
    train_options o;
    spec_allocator alloc;
    train_state state;
    float *best;    /* (params->n): the values that did best on held-out documents; else the last ones */
    bool under_way; /* some micro-batches of the next step are done */
    bool stopped;   /* by `stop` */
    bool unsaved;   /* the last checkpoint failed */
    train_step now;
    uint64_t began_ns, part_began_ns[TRAIN_PARTS_MOST];
    double part_began_flop[TRAIN_PARTS_MOST];
} train_loop;

/* SPEC_ERR_INVALID (options; named), SPEC_ERR_NOMEM. */
int train_loop_new(train_loop **out, const train_task *task, const train_options *o,
                   const spec_allocator *alloc, spec_message *why);
void train_loop_free(train_loop *l); /* NULL is accepted */

/* Goes on from the checkpoint. Errors are those of train_checkpoint_read; nothing has changed. */
int train_loop_resume(train_loop *l, spec_message *why);

/*
 * Trains until `steps` are done or `stop` says so; both end with a checkpoint. Afterwards `best` is
 * what to keep.
 * SPEC_ERR_STATE: the loss, the gradient or a weight is not a number; the message says in which step, and
 * the checkpoint stays as it was. SPEC_ERR_IO: the last checkpoint could not be written; the parameters are
 * good. And what the task returns.
 */
int train_loop_run(train_loop *l, spec_message *why);

#endif
