/* SPDX-License-Identifier: MIT */
/*
 * eagle3_world.h - EAGLE-3 heads for tests: made files of any shape, the recorded
 * head with its target's embeddings, and a plain oracle in double precision.
 */
#ifndef EAGLE3_WORLD_H
#define EAGLE3_WORLD_H

#include "support.h"

#include "eagle3_head.h"

/* ---- made files ------------------------------------------------------------------ */

typedef enum eagle3_meta { EAGLE3_META_FILE, EAGLE3_META_NONE } eagle3_meta;

typedef struct eagle3_made {
    size_t target, vocab, n_layers; /* the target's */
    size_t taps, hidden, heads, kv_heads, head_dim, n_ff, draft_vocab;
    const char *layer; /* "midlayer." */
    bool no_fc, embed, d2t, t2d, norm_before;
    spec_type type; /* of matrices */
    bool flat;      /* lm_head is zero: all tokens are equal */
    float sharp;    /* lm_head is larger by so much, 0: not at all */
    eagle3_meta meta;
    double theta;           /* rope_theta, 0: not said */
    const char *layers;     /* eagle_aux_hidden_state_layer_ids, NULL: not said */
    const char *without;    /* leave this tensor out */
    const char *extra;      /* a vector of this name more */
    const char *other;      /* this tensor gets ... */
    uint64_t dim[3];        /* ... these dimensions, ended by 0, if dim[0] is not 0 */
    spec_type other_type;   /* ... and this type, if it is not F32 */
    float value;            /* ... and this as its first element, if not 0 */
    int64_t offset;         /* added to the last element of d2t */
    bool flip;              /* of t2d's first element */
    const char *key, *text; /* an entry of metadata more */
} eagle3_made;

extern const eagle3_made eagle3_usual;

/* Quantised matrices make a GGUF file, others safetensors; the same numbers for the same rng. */
void eagle3_make(const char *path, const eagle3_made *m, support_rng *rng);

/* An embedding of token t that is made up: `user` is an eagle3_made. */
int eagle3_embedding(void *user, spec_token t, float *out);

specp_eagle3_options eagle3_options_of(const eagle3_made *m, specp_team *team);
specp_eagle3 *eagle3_must_open(const char *path, const specp_eagle3_options *o);
specp_eagle3_request *eagle3_must_request(const specp_eagle3 *h);
/* rows 0..n-1 of taps. */
void eagle3_must_extend(specp_eagle3 *h, specp_eagle3_request *r, const float *taps, const spec_token *token,
                        size_t n);

/* Random taps (n, taps, target) and tokens (n). */
typedef struct eagle3_text {
    float *taps;
    spec_token *token;
} eagle3_text;
eagle3_text eagle3_random_text(const eagle3_made *m, size_t n, support_rng *rng);
void eagle3_text_free(eagle3_text *t);

/* ---- recorded -------------------------------------------------------------------- */

typedef struct eagle3_recorded {
    char path[256];
    specp_eagle3_options o;
    spec_tensors *target;
    const spec_tensor *embed;
} eagle3_recorded;

/* False: there is no ../shared. */
bool eagle3_recorded_open(eagle3_recorded *g, specp_team *team);
void eagle3_recorded_close(eagle3_recorded *g);
/* NULL, with a failed test, where it is missing. */
const spec_tensor *eagle3_tensor(const spec_tensors *f, const char *name);

/* ---- the oracle ------------------------------------------------------------------ */

/*
 * Row by row, as the formulas say it: stable rows, then `path` (n_path) as a chain from the last one.
 * logits (1 + n_path, draft_vocab) and hidden (1 + n_path, hidden) of the last stable row and the path.
 */
void eagle3_oracle(const char *path, const eagle3_made *m, const eagle3_text *text, size_t n_rows,
                   const spec_token *chain, size_t n_chain, double *logits, double *hidden);

#endif
