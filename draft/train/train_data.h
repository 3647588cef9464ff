/* SPDX-License-Identifier: MIT */
/*
 * train_data.h - documents of tokens, and the windows of equal length that a
 * model is trained on. Which window comes when depends on nothing but the seed and its
 * number, so that a run can go on anywhere.
 *
 *     train_data_new(&d, &(train_data_options){.seq = 1024, .held_out = 50}, alloc, &why)
 *     train_data_add(d, tokens, n, 0)                     for each document
 *     train_data_window(d, TRAIN_PART_LEARN, i, tokens, targets)     i = 0, 1, 2, ...
 *
 * Two ways to cut. Text is one stream, of which a window may hold any part:
 *
 *     | bos a b c eos | bos d e eos | bos f g h i j eos |     a circle, turned in each epoch
 *          |------seq------|------seq------|---...---|        the last one is filled up
 *
 * Requests, for heads that see what a model did with them, stay apart: a window holds a part of one
 * only, from its beginning on, and its rest is filled with tokens without targets.
 */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "specp.h"

typedef struct train_data_options {
    size_t seq; /* tokens of a window */
    uint64_t seed;
    uint32_t held_out; /* about one of so many documents is not trained on; 0: none, 1: all */
    bool apart;        /* a window holds tokens of one document only */
} train_data_options;

typedef enum train_part_kind { TRAIN_PART_LEARN, TRAIN_PART_HELD } train_part_kind;

typedef struct train_data train_data;

/* SPEC_ERR_INVALID (seq; the message says so), SPEC_ERR_NOMEM. */
int train_data_new(train_data **out, const train_data_options *o, const spec_allocator *alloc,
                   spec_message *why);
void train_data_free(train_data *d); /* NULL is accepted */

/*
 * Adds a document as it is: what begins and ends it is among its tokens. Only those from
 * `learn_from` on are targets: the length of the prompt, for requests. Whether it is held
 * out depends on how many were added before it. SPEC_ERR_NOMEM: nothing has changed.
 */
int train_data_add(train_data *d, const spec_token *token, size_t n, size_t learn_from);

size_t train_data_documents(const train_data *d, train_part_kind part);
/* Tokens of the documents. */
size_t train_data_tokens(const train_data *d, train_part_kind part);
/* Windows of an epoch: each token that can be a target is the target of one row of one of them. */
size_t train_data_windows(const train_data *d, train_part_kind part);

/*
 * Window i of the run: (seq) tokens, and (seq) targets, target r being what is to follow token r, or
 * TRAIN_IGNORED. Part LEARN: any i, epoch after epoch, each in another order; part HELD: always in
 * the same order, which mixes the documents, so that the first ones stand for all. Where there is no
 * window: token 0, no target.
 */
void train_data_window(const train_data *d, train_part_kind part, uint64_t i, spec_token *token,
                       spec_token *target);

/* Of all documents, in order, and of what of them is held out and learnt. */
uint64_t train_data_hash(const train_data *d);

#endif
