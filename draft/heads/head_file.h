/* SPDX-License-Identifier: MIT */
/*
 * head_file.h - reading the file of a draft head: tensors of the shapes expected,
 * numbers of its metadata, and messages that name the file. Not installed.
 */
#ifndef SPECP_HEAD_FILE_H
#define SPECP_HEAD_FILE_H

#include "kernels.h"

/* Returns err, and a message that begins with the file's path. */
int specp_head_fail(const spec_tensors *f, spec_message *why, int err, const char *format, ...)
    SPECP_PRINTF(4, 5);

/* ---- tensors --------------------------------------------------------------------- */

/* "(512, 64)" */
typedef struct specp_shape_text {
    char text[96];
} specp_shape_text;
specp_shape_text specp_head_shape(const spec_tensor *t);

/* The tensor of this name and shape; cols 0: a vector. NULL, and why, when it is not there or has
 * another shape: SPEC_ERR_CORRUPT. */
const spec_tensor *specp_head_tensor(const spec_tensors *f, const char *name, size_t rows, size_t cols,
                                     spec_message *why);
/* A matrix made ready for the kernels. SPEC_ERR_CORRUPT, SPEC_ERR_UNSUPPORTED (type),
 * SPEC_ERR_INVALID (columns that are no whole blocks), SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_head_matrix(const spec_tensors *f, const char *name, size_t rows, size_t cols,
                                      specp_team *team, const spec_allocator *alloc, specp_matrix *out,
                                      spec_message *why);
/* n finite floats. SPEC_ERR_CORRUPT, SPEC_ERR_UNSUPPORTED (type). */
SPEC_MUST_CHECK int specp_head_vector(const spec_tensors *f, const char *name, size_t n, float *out,
                                      spec_message *why);

/* ---- metadata -------------------------------------------------------------------- */

/*
 * An entry by its bare name: the file's own first, then config.json's, there also
 * within "eagle_config" and "transformer_layer_config". NULL: none.
 */
const spec_meta *specp_head_meta(const spec_tensors *f, const char *name);
/* Is it this text? m may be NULL. */
bool specp_head_is(const spec_meta *m, const char *text);

/*
 * Values, also of text, as safetensors' own metadata have it ("8", "true", "[1, 2]").
 * Without such an entry nothing is changed. SPEC_ERR_CORRUPT: it is of another kind, or
 * outside low..high.
 */
SPEC_MUST_CHECK int specp_head_real(const spec_tensors *f, const char *name, double low, double high,
                                    double *out, spec_message *why);
SPEC_MUST_CHECK int specp_head_size(const spec_tensors *f, const char *name, size_t low, size_t high,
                                    size_t *out, spec_message *why);
SPEC_MUST_CHECK int specp_head_flag(const spec_tensors *f, const char *name, bool *out, spec_message *why);
/* At most cap numbers of a list. */
SPEC_MUST_CHECK int specp_head_sizes(const spec_tensors *f, const char *name, size_t low, size_t high,
                                     size_t *out, size_t cap, size_t *n, spec_message *why);

/* ---- logits ---------------------------------------------------------------------- */

/* The k best of n logits, 1 <= k <= n, best first, equal ones by number; what is NaN counts as the
 * least. */
void specp_head_pick(const float *logits, size_t n, size_t k, spec_token *token, float *value);

#endif
