/* SPDX-License-Identifier: MIT */
/*
 * load.h - a model while it is loaded. Private to load*.c:
 *
 *   load.c           the order of things, time, memory
 *   load_config.c    metadata -> architecture and sizes
 *   load_rope.c      metadata -> frequencies, windows
 *   load_weights.c   tensors -> matrices and vectors
 *
 * Nothing that a file says is believed before it is bounded: sizes by limits and
 * then by the shapes of tensors that are really there; so memory is never asked
 * for beyond a small multiple of the file.
 */
#ifndef SPECP_LOAD_H
#define SPECP_LOAD_H

#include "model.h"

/* Whose names the metadata and the tensors have. */
typedef enum specp_layout { SPECP_LAYOUT_GGUF, SPECP_LAYOUT_HF, SPECP_LAYOUT_LLAMA2C } specp_layout;

typedef struct specp_loader {
    specp_model *m;
    const spec_target_options *options;
    specp_team *team;
    spec_message *why;
    const spec_tensors *file;
    specp_layout layout;
    char keys[48];     /* before the names of metadata: "llama.", "config.", "config.text_config." */
    const char *names; /* before the names of tensors: "", "model." */
    /* load_weights.c */
    bool placing;             /* the second walk: the first only looks and counts */
    const spec_tensor **used; /* (n_used) of the layers */
    size_t n_used, cap_used;
    size_t n_small;
    size_t matrix_bytes, done_bytes; /* to be prepared, and already */
} specp_loader;

/* Fails with a message that begins with the file's path. */
int specp_load_fail(const specp_loader *l, int err, const char *format, ...) SPECP_PRINTF(3, 4);
int specp_load_no_memory(const specp_loader *l);

double specp_load_now(void); /* seconds */

/* The value of KEYS and `name`, or NULL (also where name is NULL). */
const spec_meta *specp_load_meta(const specp_loader *l, const char *name);
/* Its number into *out, which stays as it is without such a key; SPEC_ERR_CORRUPT unless it is
 * between low and high. */
int specp_load_size(const specp_loader *l, const char *name, size_t low, size_t high, size_t *out);
int specp_load_real(const specp_loader *l, const char *name, double low, double high, double *out);
int specp_load_flag(const specp_loader *l, const char *name, bool *out);
/* Is its text (element i of an array) this one? */
bool specp_load_is(const spec_meta *value, size_t i, const char *text);
/* For messages: the text of a value, at most 60 bytes; "?" where it is none. */
typedef struct specp_shown_text {
    char text[64];
} specp_shown_text;
specp_shown_text specp_load_text(const spec_meta *value);

/* Architecture and sizes; allocates m->layer. */
int specp_load_config(specp_loader *l);
/* Frequencies; windows of layers. After the config. */
int specp_load_rope(specp_loader *l);
int specp_load_windows(specp_loader *l);
/* All tensors: looked at, counted, then placed. */
int specp_load_weights(specp_loader *l);
/* n floats of a vector, checked to be finite. SPEC_ERR_CORRUPT. */
int specp_load_floats(const specp_loader *l, const spec_tensor *t, size_t n, float *out);

#endif
