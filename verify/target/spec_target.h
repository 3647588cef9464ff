/* SPDX-License-Identifier: MIT */
/*
 * spec_target.h - the CPU target model: opens a model file, keeps a KV cache for
 * each sequence, and runs one forward pass over a ragged batch of draft trees.
 *
 *     spec_target_open(&target, "model.gguf", NULL, &why)
 *     spec_sequence_new(&seq, target, 0)
 *     until done:
 *         item = {.sequence = seq, .tokens = &last, .n_tokens = 1, .tree = &tree}
 *         spec_target_forward(target, &item, 1, NULL, &out, &why)
 *         row 0 of the item: logits after `last`; row i + 1: after tree node i
 *         spec_verify_greedy(&tree, out.argmax + out.row[0], path, &n, &next)
 *         spec_sequence_accept(seq, path, n)      n nodes more in the cache
 *         last = next
 *
 * What is in the cache: the tokens that were fed and the nodes that were
 * accepted, and never a row that was not verified. The token that verification
 * adds (`next`) is fed by the next forward pass.
 *
 * A row's bits depend on its tokens and positions alone, not on the batch, the
 * tree around it, the number of threads or the instruction set (in the exact
 * mode, the default).
 *
 * Threads: a target and its sequences are used by one thread at a time; it has
 * its own team. Two targets may be used side by side.
 */
#ifndef SPEC_TARGET_H
#define SPEC_TARGET_H

#include "spec_lm.h"
#include "spec_tensors.h"
#include "spec_tree.h"
#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spec_target spec_target;
typedef struct spec_sequence spec_sequence;

typedef enum spec_matmul {
    SPEC_MATMUL_EXACT = 0, /* own kernels: bit-exact */
    SPEC_MATMUL_PREFILL =
        1,                /* OpenBLAS for prompts (passes with 32 or more fed tokens of an item), own kernels
                              * otherwise: a prompt's cache then depends on how it was cut */
    SPEC_MATMUL_BLAS = 2, /* OpenBLAS throughout: fast for many rows, not bit-exact */
} spec_matmul;

typedef struct spec_target_options {
    size_t size;       /* sizeof(spec_target_options) */
    unsigned threads;  /* 1..256; 0 = the cores there are */
    unsigned isa;      /* mask of instruction sets allowed, see spec_target_isa; 0 = all */
    spec_type kv_type; /* SPEC_TYPE_F16 or SPEC_TYPE_F32 */
    int kv_type_given; /* 0: F16 */
    spec_matmul matmul;
    size_t max_context; /* longest sequence; 0 = what the model was made for */
    /* Called while weights are repacked, now and then; may be NULL. */
    void (*progress)(void *user, size_t done_bytes, size_t of_bytes);
    void *user;
} spec_target_options;

/* "scalar", "avx2", "avx512", "avx512-vnni" -> the mask for options.isa.
 * SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_target_isa(const char *name, unsigned *out);

/*
 * Opens what spec_tensors_open can read. Architectures: llama (llama 1-3,
 * mistral, mixtral), qwen2, qwen3, gemma2, gemma3, olmo2.
 * Beyond its errors: SPEC_ERR_UNSUPPORTED (architecture, rope scaling or type; named, with what
 * is supported), SPEC_ERR_CORRUPT (a tensor is missing, of the wrong shape, or holds
 * NaN where it was looked at), SPEC_ERR_NOMEM.
 */
SPEC_API SPEC_MUST_CHECK int spec_target_open(spec_target **out, const char *path,
                                              const spec_target_options *o, const spec_allocator *alloc,
                                              spec_message *why);
/* All sequences must have been freed. NULL is accepted. */
SPEC_API void spec_target_free(spec_target *t);

typedef struct spec_target_info {
    size_t size;        /* sizeof(spec_target_info), set by the caller */
    const char *arch;   /* "llama" */
    const char *format; /* "GGUF v3" */
    size_t vocab, dim, n_layers, n_heads, n_kv_heads, head_dim, n_ff, n_experts, n_experts_used;
    size_t context;       /* the longest sequence */
    size_t train_context; /* what the model was made for */
    int tied;             /* output and embedding are one matrix */
    unsigned threads;
    const char *isa; /* the best instruction set in use */
    spec_type kv_type;
    spec_matmul matmul;
    size_t weight_bytes;   /* of the tensors in the file */
    size_t repacked_bytes; /* memory beyond the mapped file */
    double load_seconds, repack_seconds;
    size_t kv_bytes_per_token; /* of a sequence */
    spec_token bos, eos;       /* -1: none known (from the model's metadata) */
} spec_target_info;

/* Fills as much as out->size says. Strings are borrowed. */
SPEC_API void spec_target_get_info(const spec_target *t, spec_target_info *out);
/* The model file, for tokenizers and the curious. Borrowed. */
SPEC_API const spec_tensors *spec_target_tensors(const spec_target *t);

/* Which kernels the operations really use, i = 0, 1, ...; SPEC_ERR_NOT_FOUND past the last. */
typedef struct spec_kernel_use {
    const char *operation; /* "attn_q", "output", "norm" */
    spec_type type;        /* of the weights */
    size_t count;          /* matrices */
    size_t bytes;
    const char *kernel; /* "w8 avx512-vnni", "blas" */
    const char *slower; /* why it is not the best that this processor could do, or NULL */
} spec_kernel_use;
SPEC_API int spec_target_kernel(const spec_target *t, size_t i, spec_kernel_use *out);

/* Row `token` of the embedding matrix, as the model uses it (gemma's scale included): (dim) floats.
 * SPEC_ERR_INVALID. */
SPEC_API int spec_target_embedding(const spec_target *t, spec_token token, float *out);

/* ---- sequences ----------------------------------------------------------- */

/* max_context: room for tokens, 0 = the target's. Memory grows as tokens come.
 * SPEC_ERR_INVALID (more than the target's), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_sequence_new(spec_sequence **out, spec_target *t, size_t max_context);
SPEC_API void spec_sequence_free(spec_sequence *s); /* NULL is accepted */

/* Tokens in the cache, and which. Borrowed until the next call on the sequence. */
SPEC_API size_t spec_sequence_length(const spec_sequence *s);
SPEC_API const spec_token *spec_sequence_tokens(const spec_sequence *s);

/* Keeps the accepted nodes of the last forward pass: copies their rows behind the
 * cache's end, drops the other rows. path: (n) node indices, root side first, each
 * the parent of the next; n may be 0. Must be called once after each forward pass
 * with a tree, or not at all (which drops all rows). SPEC_ERR_INVALID (not a path of
 * that tree), SPEC_ERR_STATE (no tree; the empty path is fine), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_sequence_accept(spec_sequence *s, const int32_t *path, size_t n);

/* Keeps the first n tokens. SPEC_ERR_INVALID: there are fewer. */
SPEC_API SPEC_MUST_CHECK int spec_sequence_truncate(spec_sequence *s, size_t n);

/* Prefix reuse: s becomes a copy of the first n tokens of `from`, a sequence of the
 * same target. SPEC_ERR_INVALID, SPEC_ERR_FULL (more than s may hold), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_sequence_copy(spec_sequence *s, const spec_sequence *from, size_t n);

/* Bitwise comparison of the caches' first n positions: 1 equal, 0 not. *where (may
 * be NULL) tells the first position that differs. For tests and checks. */
SPEC_API int spec_sequence_equal(const spec_sequence *a, const spec_sequence *b, size_t n, size_t *where);

/* ---- the forward pass ---------------------------------------------------- */

typedef struct spec_forward_item {
    spec_sequence *sequence;  /* each at most once in a batch */
    const spec_token *tokens; /* (n_tokens) committed: they enter the cache. At least 1 */
    size_t n_tokens;
    const spec_tree *tree; /* hangs from the last of them; NULL or empty: none. Rows go to scratch */
    int all_rows;          /* results for every token fed, not for the last alone */
} spec_forward_item;

typedef struct spec_forward_args {
    size_t size;
    uint32_t n_taps;          /* hidden states wanted: layers after which to tap (0..n_layers-1), */
    const int32_t *tap_layer; /* (n_taps) -1 = the final norm's output, -2 = the embedding */
    int no_logits;            /* only hidden states (and the cache) are wanted */
} spec_forward_args;

/* Rows of all items one after the other: for each item those of its fed tokens (the last
 * alone unless all_rows), then one for each tree node. Borrowed until the target's next forward pass. */
typedef struct spec_forward_out {
    size_t n_rows;
    const size_t *row;        /* (n_items) where each item's rows begin */
    const float *logits;      /* (n_rows, vocab), NULL with no_logits */
    const spec_token *argmax; /* (n_rows) the lowest token of the largest logit; NULL with no_logits */
    const float *hidden;      /* (n_rows, n_taps, dim), NULL without taps */
} spec_forward_out;

/*
 * Runs the model once. args may be NULL.
 * SPEC_ERR_INVALID (a token outside the vocabulary, a malformed tree, a sequence twice, a tap of no layer),
 * SPEC_ERR_FULL (a sequence would pass its context: named in *why, with its numbers),
 * SPEC_ERR_CORRUPT (the logits hold NaN: the weights do), SPEC_ERR_NOMEM. On error the
 * sequences are as before (but SPEC_ERR_CORRUPT comes late: trees that waited to be accepted are gone).
 */
SPEC_API SPEC_MUST_CHECK int spec_target_forward(spec_target *t, const spec_forward_item *items,
                                                 size_t n_items, const spec_forward_args *args,
                                                 spec_forward_out *out, spec_message *why);

/* ---- for drafters ---------------------------------------------------------- */

/* The target as drafters see it, for spec_drafter_env.target; lives as long as the target. Its
 * sequences are spec_sequence. */
SPEC_API void spec_target_lm(spec_target *t, spec_lm *out);

/* Opens a model file as a draft model, for spec_drafter_env.open_model: out->ops->free frees it.
 * Errors are spec_target_open's. */
SPEC_API SPEC_MUST_CHECK int spec_target_open_lm(const char *path, unsigned threads, unsigned isa,
                                                 const spec_allocator *alloc, spec_lm *out,
                                                 spec_message *why);

#ifdef __cplusplus
}
#endif
#endif
