/* SPDX-License-Identifier: MIT */
/*
 * workload.h - the demo workload: synthetic requests of six kinds, made from
 * grammars and tables of the project's own. docs/WORKLOADS.md says what each
 * kind models, and what a result on it does and does not show.
 *
 * The tokens depend on the options alone: integer arithmetic, no libm, no
 * addresses, no locale. Any machine and any compiler gives the same ones.
 *
 * The world of a kind (its tools, catalogues, files, documents) is the same
 * for every seed; the seed decides who asks what. So the traces of one seed
 * are a fair warm-up for those of another, and token ids mean the same in all.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "specdec.h"
#include "trace.h"

#define WORKLOAD_SEED     1u
#define WORKLOAD_REQUESTS 120u

typedef struct workload_options {
    size_t size;                     /* sizeof(workload_options) */
    uint64_t seed;                   /* 0 = WORKLOAD_SEED */
    size_t requests_per_kind;        /* 0 = WORKLOAD_REQUESTS. The requests of a smaller number are the
                                     * first ones of a larger number */
    const spec_allocator *allocator; /* for working memory; NULL = the C library's. The traces
                                      * themselves always come from the C library */
} workload_options;

/* Makes one trace per kind, in the order of workload_kind_name. A request's id
 * is "kind-number", its group the application, catalogue, repository,
 * collection or task it belongs to. NULL options mean all defaults.
 * SPEC_ERR_NOMEM, SPEC_ERR_INVALID (options of another size). */
int workload_demo(trace **out, size_t *n_traces, const workload_options *options);
void workload_free(trace *traces, size_t n_traces); /* NULL is accepted */

/* A request as text. */
typedef struct workload_request {
    const char *id, *group;
    const char *prompt, *response; /* (n_prompt), (n_response), and a NUL */
    size_t n_prompt, n_response;
    size_t place; /* sessions go on side by side, below WORKLOAD_PLACES: which of them */
} workload_request;

#define WORKLOAD_PLACES 8

/* Calls take(user, request) with the requests of a kind, those of workload_demo, one
 * after another; what else than 0 it returns ends that and is returned. Otherwise as
 * workload_demo; SPEC_ERR_INVALID: no such kind. */
int workload_each(size_t kind, const workload_options *options,
                  int (*take)(void *user, const workload_request *r), void *user);

/* The kinds, i = 0, 1, ...; NULL past the last. */
const char *workload_kind_name(size_t i);
const char *workload_kind_about(size_t i); /* one line of English */

/*
 * The tokenizer behind the ids: a fixed table of byte strings, every single
 * byte among them, and the longest entry that fits at each place. Text that
 * was encoded therefore decodes to itself, whatever it holds.
 */
typedef struct workload_vocab workload_vocab;

int workload_vocab_new(workload_vocab **out, const spec_allocator *alloc); /* SPEC_ERR_NOMEM */
void workload_vocab_free(workload_vocab *v);
size_t workload_vocab_size(const workload_vocab *v); /* ids are 0 .. size - 1 */

/* Encodes n bytes into tok, which has room for n tokens; returns how many. */
size_t workload_encode(const workload_vocab *v, const char *text, size_t n, spec_token *tok);

/* Writes the text of n tokens to out (NULL: nowhere), without a NUL, and
 * returns its length in bytes. An id outside the table shows as "?". */
size_t workload_text(const workload_vocab *v, const spec_token *tok, size_t n, char *out);

#endif
