/* SPDX-License-Identifier: MIT */
/*
 * train_heads.h - what the draft heads of `specbench train` share: the frozen target,
 * recorded requests as windows, the options that say which.
 *
 *     request   | prompt ........ | response .......... |
 *     window    | token 0 .......   first_label ... n-1 |   the last ones cut off where it is longer
 *     label       none              the token itself        than --seq
 *
 * A head draws on the hidden states of all tokens, and learns the labels.
 */
#ifndef BENCH_TRAIN_HEADS_H
#define BENCH_TRAIN_HEADS_H

#include "model_options.h"
#include "train_data.h"
#include "train_features.h"
#include "train_run.h"
#include "train_times.h"

#define TRAIN_HEADS_DEFAULTS                                                                                 \
    { .run = TRAIN_RUN_DEFAULTS, .dump_limit = 2000 }
#define TRAIN_HEADS_PARTS (1 + TRAIN_TIMES) /* the features, then what the heads do */

typedef struct train_heads {
    /* options; run.seq 0: the target's context, at most 1024 */
    train_run run;
    model_options model;
    const char *type, *dump;
    uint64_t dump_limit; /* megabytes */
    cli_list traces;     /* the command's operands */
    bool skip_bad;
    /* made from them */
    spec_target *target;
    spec_target_info info;
    uint64_t target_hash;
    train_data *data;
    size_t n_cut, n_short; /* requests longer than a window, or of which nothing can be learnt */
    uint64_t *count;       /* (vocab) of the tokens in responses */
    spec_format format;
    spec_type export_type;
    spec_token *token, *label; /* (seq) of the window that was asked for last */
    train_features *features;  /* made by train_heads_features */
    size_t lead;
    /* of a run */
    const struct train_heads_kind *kind;
    void *self;
    const char *part[TRAIN_HEADS_PARTS];
    uint64_t part_ns[TRAIN_HEADS_PARTS];
    double part_flop[TRAIN_HEADS_PARTS];
} train_heads;

/* clang-format off */
#define TRAIN_HEADS_OPTIONS(h) \
    {'m', "model", "MODEL", CLI_TEXT, &(h).model.path, "the target, which stays as it is", 0, 0, NULL}, \
    {0, "type", "TYPE", CLI_TEXT, &(h).type, \
     "of the matrices in the file: F32, F16, BF16, or for .gguf Q8_0 and its like (default F16)", \
     0, 0, NULL}, \
    TRAIN_RUN_OPTIONS((h).run), \
    {0, "matmul", "MODE", CLI_TEXT, &(h).model.matmul, \
     "of the target: exact (default), or blas: OpenBLAS", 0, 0, NULL}, \
    {0, "dump", "FILE", CLI_TEXT, &(h).dump, \
     "hidden states of the requests, as halves: written if it is not there, then read instead of " \
     "running the target", 0, 0, NULL}, \
    {0, "dump-limit", "MB", CLI_NUMBER, &(h).dump_limit, \
     "its size; what does not fit is computed (default 2000)", 1, 1000000000, NULL}, \
    {0, "skip-bad", NULL, CLI_FLAG, &(h).skip_bad, "leave out faulty lines of traces", 0, 0, NULL}
/* clang-format on */

/* Settles options and threads; CLI_RUN, or CLI_BAD after a message. */
int train_heads_check(const cli_command *c, train_heads *h);
/* Opens the target and reads the traces. An exit code; a message was printed unless it is EXIT_DONE. */
int train_heads_open(train_heads *h);
void train_heads_release(train_heads *h);

/*
 * Makes h->features, of windows of which the rows from `lead` before the first label on are
 * wanted. With --dump they are read from the file, which is made if it is not there. The exit
 * code; a message was printed unless it is EXIT_DONE.
 */
int train_heads_features(train_heads *h, size_t lead, const int32_t *tap, size_t n_taps);

typedef struct train_window {
    size_t n;     /* tokens */
    size_t label; /* 2 .. n - 1: this token and all behind it are labels */
    size_t from;  /* the first row wanted */
} train_window;

/* Window i of a part into h->token and h->label (TRAIN_IGNORED: none). */
train_window train_heads_window(train_heads *h, train_part_kind part, uint64_t i);

/* Held-out windows that are validated on. */
size_t train_heads_held(const train_heads *h);

/* ---- a run --------------------------------------------------------------- */

/* A kind of heads, as the run sees it. */
typedef struct train_heads_kind {
    const char *name; /* "medusa" */
    train_params *params;
    train_times *times;
    size_t n_measures; /* the first is the loss, whose weight counts targets */
    const char *const *measure;
    const train_setting *setting; /* beyond those that all heads have */
    size_t n_settings;
    /* n windows from `first` on, with their features, for run. */
    int (*take)(void *self, train_part_kind part, uint64_t first, size_t n, spec_message *why);
    /* Adds measures, and with `learn` gradients. */
    int (*run)(void *self, bool learn, train_measures *m, spec_message *why);
    int (*keep)(void *self, const char *path, spec_message *why); /* as train_kind has it */
} train_heads_kind;

/* Says what there is to train on, and how well the target itself does on what is held out; trains. An
 * exit code; a message was printed unless it is EXIT_DONE. */
int train_heads_go(train_heads *h, const train_heads_kind *kind, void *self);

/* Prints the message, or what the error means. The exit code. */
int train_heads_complain(int err, const spec_message *why);

#endif
