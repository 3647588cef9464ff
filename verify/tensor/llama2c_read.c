/* SPDX-License-Identifier: MIT */
/*
 * llama2c_read.c - checkpoints of llama2.c: float32 tensors one after the other,
 * without names; here they get GGUF's.
 *
 *   v0   7 int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size,
 *        max_seq_len; a negative vocab_size says that the output matrix is not
 *        the embedding. There is no magic number: the size of the file has to fit
 *   v1   u32 0x616b3432, int32 version, the 7 int32, u8 "the output is the
 *        embedding", zeros up to 256 bytes
 *
 * The order of the tensors is in the two lists below; LAYERS stands for one of
 * each layer, layer after layer. v0 also holds tables of cosines and sines,
 * which are skipped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tensors_internal.h"

#define MAGIC     0x616b3432u
#define V1_HEADER 256

enum { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, SEQ_LEN, NUMBERS };

static const char *const number_names[NUMBERS] = {
    "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len",
};

typedef struct header {
    uint32_t version;
    bool shared;  /* the output matrix is the embedding */
    size_t bytes; /* of the header */
    uint64_t n[NUMBERS], head_dim, kv_dim;
} header;

/* ---- the order of the tensors -------------------------------------------- */

typedef enum size_of { ONE, N_DIM, N_KV, N_HIDDEN, N_VOCAB, N_TABLE } size_of;

typedef struct entry {
    const char *name; /* "%u" for the layer; NULL: skipped */
    size_of rows, columns;
} entry;

static const entry v0_order[] = {
    {"token_embd.weight", N_VOCAB, N_DIM},       {"blk.%u.attn_norm.weight", ONE, N_DIM},
    {"blk.%u.attn_q.weight", N_DIM, N_DIM},      {"blk.%u.attn_k.weight", N_KV, N_DIM},
    {"blk.%u.attn_v.weight", N_KV, N_DIM},       {"blk.%u.attn_output.weight", N_DIM, N_DIM},
    {"blk.%u.ffn_norm.weight", ONE, N_DIM},      {"blk.%u.ffn_gate.weight", N_HIDDEN, N_DIM},
    {"blk.%u.ffn_down.weight", N_DIM, N_HIDDEN}, {"blk.%u.ffn_up.weight", N_HIDDEN, N_DIM},
    {"output_norm.weight", ONE, N_DIM},          {NULL, ONE, N_TABLE},
    {"output.weight", N_VOCAB, N_DIM},
};

static const entry v1_order[] = {
    {"blk.%u.attn_norm.weight", ONE, N_DIM},     {"blk.%u.ffn_norm.weight", ONE, N_DIM},
    {"output_norm.weight", ONE, N_DIM},          {"token_embd.weight", N_VOCAB, N_DIM},
    {"blk.%u.attn_q.weight", N_DIM, N_DIM},      {"blk.%u.attn_k.weight", N_KV, N_DIM},
    {"blk.%u.attn_v.weight", N_KV, N_DIM},       {"blk.%u.attn_output.weight", N_DIM, N_DIM},
    {"blk.%u.ffn_gate.weight", N_HIDDEN, N_DIM}, {"blk.%u.ffn_down.weight", N_DIM, N_HIDDEN},
    {"blk.%u.ffn_up.weight", N_HIDDEN, N_DIM},   {"output.weight", N_VOCAB, N_DIM},
};

#define V0_ENTRIES (sizeof v0_order / sizeof *v0_order)
#define V1_ENTRIES (sizeof v1_order / sizeof *v1_order)

static uint64_t size_of_kind(const header *h, size_of kind) {
    switch (kind) {
    case ONE: return 1;
    case N_DIM: return h->n[DIM];
    case N_KV: return h->kv_dim;
    case N_HIDDEN: return h->n[HIDDEN];
    case N_VOCAB: return h->n[VOCAB];
    default: return h->n[SEQ_LEN] * h->head_dim; /* cosines and sines: half of it each */
    }
}

static bool per_layer(const entry *e) { return e->name && strchr(e->name, '%'); }

static const entry *order_of(const header *h, size_t *n) {
    *n = h->version == 0 ? V0_ENTRIES : V1_ENTRIES;
    if (h->shared) --*n; /* the output matrix is the last */
    return h->version == 0 ? v0_order : v1_order;
}

/* Bytes that the file should have; false where that overflows. */
static bool file_bytes(const header *h, uint64_t *out) {
    size_t n;
    const entry *order = order_of(h, &n);
    uint64_t total = h->bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = sizeof(float);
        if (!specp_multiply(&bytes, size_of_kind(h, order[i].rows)) ||
            !specp_multiply(&bytes, size_of_kind(h, order[i].columns)) ||
            !specp_multiply(&bytes, per_layer(&order[i]) ? h->n[LAYERS] : 1) || bytes > INT64_MAX - total)
            return false;
        total += bytes;
    }
    *out = total;
    return true;
}

/* ---- headers ------------------------------------------------------------- */

/* Reads the numbers at `at`. Is there a model with them? */
static bool read_numbers(const specp_file *file, size_t at, header *h) {
    int32_t n[NUMBERS];
    if (file->size < at + sizeof n) return false;
    memcpy(n, file->data + at, sizeof n);
    if (n[VOCAB] == INT32_MIN) return false;
    if (h->version == 0) h->shared = n[VOCAB] > 0;
    if (h->version == 0 && n[VOCAB] < 0) n[VOCAB] = -n[VOCAB];
    for (size_t i = 0; i < NUMBERS; i++) {
        if (n[i] <= 0) return false;
        h->n[i] = (uint64_t)n[i];
    }
    h->head_dim = h->n[DIM] / h->n[HEADS];
    h->kv_dim = h->head_dim * h->n[KV_HEADS];
    return h->n[DIM] % h->n[HEADS] == 0 && h->head_dim % 2 == 0 && h->n[HEADS] % h->n[KV_HEADS] == 0;
}

/* v0 is told from other files by its numbers, so these must be moderate. */
static bool read_v0(const specp_file *file, header *h) {
    *h = (header){.version = 0, .bytes = NUMBERS * sizeof(int32_t)};
    return read_numbers(file, 0, h) && h->n[DIM] <= 1 << 20 && h->n[HIDDEN] <= 1 << 22 &&
           h->n[LAYERS] <= 1 << 12 && h->n[VOCAB] <= 1 << 24 && h->n[SEQ_LEN] <= 1 << 24;
}

static bool has_magic(const specp_file *file) {
    uint32_t magic = 0;
    if (file->size >= sizeof magic) memcpy(&magic, file->data, sizeof magic);
    return magic == MAGIC;
}

bool specp_llama2c_is(const specp_file *file) {
    header h;
    return has_magic(file) || read_v0(file, &h);
}

static int read_v1(spec_tensors *f, const specp_file *file, header *h) {
    *h = (header){.version = 1, .bytes = V1_HEADER};
    if (file->size < V1_HEADER)
        return TENSORS_FAIL(
            f, SPEC_ERR_CORRUPT,
            "%s: is cut short: the header of a llama2.c checkpoint has %d bytes, the file %zu", file->shown,
            V1_HEADER, file->size);
    memcpy(&h->version, file->data + 4, sizeof h->version);
    if (h->version == 2)
        return TENSORS_FAIL(f, SPEC_ERR_UNSUPPORTED,
                            "%s: is a llama2.c checkpoint of version 2 (int8), which is not supported; "
                            "supported are 0 and 1 (float32)",
                            file->shown);
    if (h->version != 1)
        return TENSORS_FAIL(f, SPEC_ERR_VERSION,
                            "%s: is a llama2.c checkpoint of version %" PRIu32 ", expected 0 or 1",
                            file->shown, h->version);
    uint8_t shared = file->data[8 + NUMBERS * sizeof(int32_t)];
    h->shared = shared != 0;
    if (!read_numbers(file, 8, h) || shared > 1)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: the numbers in the header of this llama2.c checkpoint describe no model",
                            file->shown);
    return SPEC_OK;
}

/* ---- a file -------------------------------------------------------------- */

static int add_number(spec_tensors *f, const specp_file *file, const char *name, specp_raw raw,
                      uint64_t value) {
    char key[32];
    spec_meta m = {0};
    int n = snprintf(key, sizeof key, "llama2c.%s", name);
    specp_meta_decode(&m, raw, &value);
    return specp_tensors_add_meta(f, file->shown, key, (size_t)n, &m);
}

static int add_metadata(spec_tensors *f, const specp_file *file, const header *h) {
    int err = add_number(f, file, "version", SPECP_RAW_U32, h->version);
    for (size_t i = 0; i < NUMBERS && !err; i++)
        err = add_number(f, file, number_names[i], SPECP_RAW_U32, h->n[i]);
    return err ? err : add_number(f, file, "shared_classifier", SPECP_RAW_BOOL, h->shared);
}

static int add_tensors(spec_tensors *f, const specp_file *file, const header *h) {
    size_t n;
    const entry *order = order_of(h, &n);
    uint64_t at = h->bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t dim[2] = {size_of_kind(h, order[i].rows), size_of_kind(h, order[i].columns)};
        uint32_t n_dims = order[i].rows == ONE ? 1 : 2;
        uint64_t layers = per_layer(&order[i]) ? h->n[LAYERS] : 1;
        for (uint64_t layer = 0; layer < layers; layer++, at += dim[0] * dim[1] * 4) {
            char name[64];
            if (!order[i].name) continue;
            int len = snprintf(name, sizeof name, order[i].name, (unsigned)layer);
            int err = specp_tensors_add(f, file, name, (size_t)len, SPEC_TYPE_F32, n_dims,
                                        n_dims == 1 ? dim + 1 : dim, at);
            if (err) return err;
        }
    }
    return SPEC_OK;
}

int specp_llama2c_read(spec_tensors *f, const specp_file *file) {
    header h;
    uint64_t bytes = 0;
    int err = SPEC_OK;
    if (has_magic(file))
        err = read_v1(f, file, &h);
    else
        read_v0(file, &h);
    if (err) return err;
    if (!file_bytes(&h, &bytes) || bytes != file->size)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: the header of a llama2.c checkpoint of version %" PRIu32 " (dim %" PRIu64
                            ", %" PRIu64 " layers, vocabulary %" PRIu64 ") asks for %" PRIu64
                            " bytes, the file has %zu: it is cut short, damaged, or of another kind",
                            file->shown, h.version, h.n[DIM], h.n[LAYERS], h.n[VOCAB], bytes, file->size);
    f->format = h.version == 0 ? "llama2.c v0" : "llama2.c v1";
    err = add_metadata(f, file, &h);
    return err ? err : add_tensors(f, file, &h);
}
