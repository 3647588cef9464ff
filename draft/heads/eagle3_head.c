/* SPDX-License-Identifier: MIT */
/*
 * An EAGLE-3 head's file: which of the published layouts it is, the sizes that its
 * tensors and metadata tell, its weights, and the memory of a pass.
 *
 * Sizes are read from the shapes of tensors that are there, in an order in which each
 * is checked against what is known already:
 *
 *     norm.weight     hidden           q_proj, k_proj   heads, with the metadata
 *     lm_head.weight  draft vocab      gate_proj        inner size
 *     fc.weight       taps             d2t, t2d         tokens
 *
 * so memory is never asked for beyond a small multiple of the file and of o.rows.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eagle3_internal.h"
#include "head_file.h"

static const char *const layer_parts[] = {
    "input_layernorm.weight",  "hidden_norm.weight",      "post_attention_layernorm.weight",
    "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight",
    "self_attn.o_proj.weight", "mlp.gate_proj.weight",    "mlp.up_proj.weight",
    "mlp.down_proj.weight"};
static const char *const outer_parts[] = {"fc.weight", "norm.weight", "lm_head.weight",
                                          "d2t",       "t2d",         "embed_tokens.weight"};

typedef struct part_name {
    char text[64];
} part_name;

static part_name part(const specp_eagle3 *h, const char *name) {
    part_name p;
    (void)snprintf(p.text, sizeof p.text, "%s%s", h->layer, name);
    return p;
}

static int no_memory(const specp_eagle3 *h, spec_message *why) {
    return specp_head_fail(h->file, why, SPEC_ERR_NOMEM, "there is not enough memory for the head");
}

/* ---- names ------------------------------------------------------------------------ */

static bool is_one_of(const char *name, const char *const *parts, size_t n) {
    size_t i = 0;
    while (i < n && strcmp(name, parts[i]) != 0) i++;
    return i < n;
}

static int find_layout(specp_eagle3 *h, spec_message *why) {
    static const char *const layers[] = {"midlayer.", "layers.0."};
    for (size_t i = 0; i < 2 && h->layer == NULL; i++) {
        h->layer = layers[i];
        if (spec_tensors_find(h->file, part(h, "self_attn.q_proj.weight").text) == NULL) h->layer = NULL;
    }
    if (h->layer == NULL)
        return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED,
                               "there is no EAGLE-3 head in it: neither midlayer.self_attn.q_proj.weight nor "
                               "layers.0.self_attn.q_proj.weight");
    size_t skip = strlen(h->layer);
    for (size_t i = 0; i < spec_tensors_count(h->file); i++) {
        const char *name = spec_tensors_at(h->file, i)->name;
        if (is_one_of(name, outer_parts, sizeof outer_parts / sizeof *outer_parts)) continue;
        if (strncmp(name, h->layer, skip) == 0 &&
            is_one_of(name + skip, layer_parts, sizeof layer_parts / sizeof *layer_parts))
            continue;
        return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED,
                               "tensor %.100s is no part of an EAGLE-3 head with %s*", name, h->layer);
    }
    return SPEC_OK;
}

/* ---- sizes ------------------------------------------------------------------------ */

/* The rows of a matrix (cols 0: any columns), or the length of a vector (n_dims 1), into *rows. */
static int size_of(const specp_eagle3 *h, const char *name, uint32_t n_dims, size_t cols, size_t *rows,
                   spec_message *why) {
    const spec_tensor *t = spec_tensors_find(h->file, name);
    char expected[48] = "a vector";
    if (t == NULL) return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT, "tensor %s is missing", name);
    if (n_dims == 2) (void)snprintf(expected, sizeof expected, "a matrix");
    if (cols != 0) (void)snprintf(expected, sizeof expected, "(.., %zu)", cols);
    if (t->n_dims != n_dims || t->dim[0] < 1 || t->dim[0] > INT32_MAX || (cols != 0 && t->dim[1] != cols))
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT, "tensor %s is %s, expected %s", name,
                               specp_head_shape(t).text, expected);
    *rows = (size_t)t->dim[0];
    return SPEC_OK;
}

/* Where the embedding is the target's, and where there is no fc, both have the same hidden size. */
static int read_hidden(specp_eagle3 *h, spec_message *why) {
    const spec_tensor *fc = spec_tensors_find(h->file, "fc.weight");
    specp_eagle3_info *info = &h->info;
    int err = size_of(h, "norm.weight", 1, 0, &info->hidden, why);
    if (err != SPEC_OK) return err;
    info->own_embedding = spec_tensors_find(h->file, "embed_tokens.weight") != NULL;
    if (info->hidden > INT32_MAX / 2)
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT, "a hidden size of %zu is too large",
                               info->hidden);
    if (info->hidden != h->o.hidden && (fc == NULL || !info->own_embedding))
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "tensor norm.weight is (%zu), for a hidden size of %zu; the target's is %zu",
                               info->hidden, info->hidden, h->o.hidden);
    if (!info->own_embedding && h->o.embedding == NULL)
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "there is no embed_tokens.weight in it, and no embedding of a target");
    return SPEC_OK;
}

/* fc is left out where it has nothing to join, as in the published code. */
static int read_taps(specp_eagle3 *h, spec_message *why) {
    const spec_tensor *fc = spec_tensors_find(h->file, "fc.weight");
    h->info.n_taps = 1;
    if (fc == NULL) return SPEC_OK;
    size_t rows = 0, target = h->o.hidden;
    int err = size_of(h, "fc.weight", 2, 0, &rows, why);
    if (err != SPEC_OK) return err;
    uint64_t taps = fc->dim[1] / target;
    if (rows != h->info.hidden)
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT, "tensor fc.weight is %s, expected (%zu, ..)",
                               specp_head_shape(fc).text, h->info.hidden);
    if (taps < 1 || taps > SPECP_EAGLE3_MAX_TAPS || fc->dim[1] % target != 0)
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "tensor fc.weight is %s, not for features of the target's hidden size, %zu",
                               specp_head_shape(fc).text, target);
    h->info.n_taps = (uint32_t)taps;
    h->uses_fc = fc->dim[1] != h->info.hidden;
    return SPEC_OK;
}

/* "Entering layer i" is after layer i - 1; before the first one is the embedding. */
static int read_tap_layers(specp_eagle3 *h, spec_message *why) {
    static const char key[] = "eagle_aux_hidden_state_layer_ids";
    size_t layer[SPECP_EAGLE3_MAX_TAPS], n = 0, layers = h->o.n_layers;
    for (size_t i = 0; i < layers && n < 3; i++) /* as published: where these coincide, there is one tap */
        if (i == 2 || i == layers / 2 || i + 3 == layers) layer[n++] = i;
    bool given = specp_head_meta(h->file, key) != NULL;
    int err = specp_head_sizes(h->file, key, 0, layers, layer, SPECP_EAGLE3_MAX_TAPS, &n, why);
    if (err != SPEC_OK) return err;
    if (n != h->info.n_taps)
        return specp_head_fail(h->file, why, given ? SPEC_ERR_CORRUPT : SPEC_ERR_INVALID,
                               "the head reads features of %u layers, %s %zu%s", (unsigned)h->info.n_taps,
                               given ? specp_head_meta(h->file, key)->key : "without metadata of", n,
                               given ? " of them named" : "");
    for (size_t i = 0; i < n; i++) h->info.tap_layer[i] = layer[i] == 0 ? -2 : (int32_t)layer[i] - 1;
    return SPEC_OK;
}

/* Two of heads, head_dim and the projections' rows are given: the third follows. */
static int read_heads(specp_eagle3 *h, spec_message *why) {
    specp_eagle3_info *info = &h->info;
    size_t n_q = 0, n_kv = 0, heads = 0, head_dim = 0, kv_heads = 0, two = 2 * info->hidden;
    int err = size_of(h, part(h, "self_attn.q_proj.weight").text, 2, two, &n_q, why);
    if (err == SPEC_OK) err = size_of(h, part(h, "self_attn.k_proj.weight").text, 2, two, &n_kv, why);
    if (err == SPEC_OK) err = specp_head_size(h->file, "num_attention_heads", 1, INT32_MAX, &heads, why);
    if (err == SPEC_OK) err = specp_head_size(h->file, "head_dim", 1, INT32_MAX, &head_dim, why);
    if (err == SPEC_OK) err = specp_head_size(h->file, "num_key_value_heads", 1, INT32_MAX, &kv_heads, why);
    if (err != SPEC_OK) return err;
    if (heads == 0 && head_dim == 0)
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT,
                               "num_attention_heads is missing: no metadata of the file, no config.json "
                               "beside it");
    if (head_dim == 0) head_dim = n_q / heads;
    if (heads == 0) heads = n_q / head_dim;
    if (kv_heads == 0 && head_dim != 0) kv_heads = n_kv / head_dim;
    if (head_dim == 0 || head_dim % 2 != 0 || heads * head_dim != n_q || kv_heads == 0 ||
        kv_heads * head_dim != n_kv || heads % kv_heads != 0)
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT,
                               "projections of %zu and %zu rows are not %zu heads and %zu key-value heads of "
                               "%zu, an even number",
                               n_q, n_kv, heads, kv_heads, head_dim);
    info->n_heads = heads;
    info->n_kv_heads = kv_heads;
    info->head_dim = head_dim;
    h->ld_qkv = n_q + 2 * n_kv;
    return SPEC_OK;
}

/* What the library does not compute. */
static int check_variant(const specp_eagle3 *h, spec_message *why) {
    const spec_meta *m = specp_head_meta(h->file, "hidden_act");
    if (m == NULL || specp_head_is(m, "silu")) return SPEC_OK;
    return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED, "%s is not supported; supported is silu",
                           m->key);
}

static int read_sizes(specp_eagle3 *h, spec_message *why) {
    double eps = 1e-6;
    int err = read_hidden(h, why);
    if (err == SPEC_OK) err = read_taps(h, why);
    if (err == SPEC_OK) err = read_tap_layers(h, why);
    if (err == SPEC_OK) err = read_heads(h, why);
    if (err == SPEC_OK)
        err = size_of(h, part(h, "mlp.gate_proj.weight").text, 2, h->info.hidden, &h->info.n_ff, why);
    if (err == SPEC_OK) err = size_of(h, "lm_head.weight", 2, h->info.hidden, &h->info.draft_vocab, why);
    if (err == SPEC_OK) err = check_variant(h, why);
    if (err == SPEC_OK) err = specp_head_real(h->file, "rms_norm_eps", 0.0, 1.0, &eps, why);
    if (err == SPEC_OK)
        err = specp_head_flag(h->file, "norm_before_residual", &h->info.norm_before_residual, why);
    h->eps = (float)eps;
    h->scale = (float)(1.0 / sqrt((double)h->info.head_dim));
    return err;
}

/* ---- vocabulary ------------------------------------------------------------------- */

static int64_t offset_at(const spec_tensor *t, size_t i) {
    int64_t wide;
    int32_t narrow;
    if (t->type == SPEC_TYPE_I64) {
        memcpy(&wide, (const char *)t->data + i * sizeof wide, sizeof wide);
        return wide;
    }
    memcpy(&narrow, (const char *)t->data + i * sizeof narrow, sizeof narrow);
    return narrow;
}

/* h->target_of from the table of offsets; drafted[t]: there is a token of the draft vocabulary for t. */
static int read_offsets(specp_eagle3 *h, uint8_t *drafted, spec_message *why) {
    const spec_tensor *t = specp_head_tensor(h->file, "d2t", h->info.draft_vocab, 0, why);
    if (t == NULL) return SPEC_ERR_CORRUPT;
    if (t->type != SPEC_TYPE_I64 && t->type != SPEC_TYPE_I32)
        return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED, "tensor d2t has type %s, expected I64",
                               spec_type_name(t->type));
    for (size_t i = 0; i < h->info.draft_vocab; i++) {
        int64_t offset = offset_at(t, i), last = (int64_t)h->o.vocab - 1;
        if (offset < -(int64_t)i || offset > last - (int64_t)i)
            return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                                   "tensor d2t holds %lld at %zu: no token of the target's %zu",
                                   (long long)offset, i, h->o.vocab);
        spec_token token = (spec_token)((int64_t)i + offset);
        if (drafted[token])
            return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT,
                                   "tensor d2t gives token %d twice, the second time at %zu", (int)token, i);
        drafted[token] = 1;
        h->target_of[i] = token;
    }
    return SPEC_OK;
}

static int check_drafted(const specp_eagle3 *h, const uint8_t *drafted, spec_message *why) {
    const spec_tensor *t = spec_tensors_find(h->file, "t2d");
    if (t == NULL) return SPEC_OK;
    if (t->n_dims != 1 || t->dim[0] != h->o.vocab)
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "tensor t2d is %s, for another vocabulary: the target's has %zu tokens",
                               specp_head_shape(t).text, h->o.vocab);
    if (t->type != SPEC_TYPE_BOOL && t->type != SPEC_TYPE_U8 && t->type != SPEC_TYPE_I8)
        return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED, "tensor t2d has type %s, expected BOOL",
                               spec_type_name(t->type));
    for (size_t i = 0; i < h->o.vocab; i++) {
        bool in = ((const uint8_t *)t->data)[i] != 0;
        if (in != (drafted[i] != 0))
            return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT,
                                   "tensor t2d has token %zu %s the draft vocabulary, d2t has not", i,
                                   in ? "in" : "outside");
    }
    return SPEC_OK;
}

static int read_vocabulary(specp_eagle3 *h, spec_message *why) {
    size_t n = h->info.draft_vocab;
    bool mapped = spec_tensors_find(h->file, "d2t") != NULL;
    if (mapped ? n > h->o.vocab : n != h->o.vocab)
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "tensor lm_head.weight is for %zu tokens; the target has %zu%s", n, h->o.vocab,
                               mapped ? "" : ", and there is no d2t");
    uint8_t *drafted = specp_calloc(&h->alloc, h->o.vocab, 1);
    if (mapped) h->target_of = specp_alloc(&h->alloc, n, sizeof *h->target_of);
    int err = SPEC_OK;
    if (drafted == NULL || (mapped && h->target_of == NULL)) {
        specp_release(&h->alloc, drafted, h->o.vocab, 1);
        return no_memory(h, why);
    }
    if (mapped)
        err = read_offsets(h, drafted, why);
    else
        memset(drafted, 1, h->o.vocab);
    if (err == SPEC_OK) err = check_drafted(h, drafted, why);
    specp_release(&h->alloc, drafted, h->o.vocab, 1);
    return err;
}

/* ---- weights ---------------------------------------------------------------------- */

/* Rows are read one at a time as they lie. */
static int take_embedding(specp_eagle3 *h, spec_message *why) {
    static const char name[] = "embed_tokens.weight";
    const spec_tensor *t = spec_tensors_find(h->file, name);
    if (t == NULL) return SPEC_OK;
    if (t->n_dims == 2 && t->dim[0] != h->o.vocab)
        return specp_head_fail(h->file, why, SPEC_ERR_INVALID,
                               "tensor %s is %s, for another vocabulary: the target's has %zu tokens", name,
                               specp_head_shape(t).text, h->o.vocab);
    if (specp_head_tensor(h->file, name, h->o.vocab, h->info.hidden, why) == NULL) return SPEC_ERR_CORRUPT;
    if (specp_form_of(t->type) == SPECP_FORMS)
        return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED, "tensor %s has type %s, expected floats",
                               name, spec_type_name(t->type));
    h->embed =
        (specp_matrix){.type = t->type, .n_out = h->o.vocab, .n_in = h->info.hidden, .source = t->data};
    return SPEC_OK;
}

static int take_norms(specp_eagle3 *h, spec_message *why) {
    size_t n = h->info.hidden;
    h->input_norm = specp_alloc(&h->alloc, n, 4 * sizeof(float));
    if (h->input_norm == NULL) return no_memory(h, why);
    h->hidden_norm = h->input_norm + n;
    h->post_norm = h->hidden_norm + n;
    h->output_norm = h->post_norm + n;
    int err = specp_head_vector(h->file, part(h, "input_layernorm.weight").text, n, h->input_norm, why);
    if (err == SPEC_OK)
        err = specp_head_vector(h->file, part(h, "hidden_norm.weight").text, n, h->hidden_norm, why);
    if (err == SPEC_OK)
        err =
            specp_head_vector(h->file, part(h, "post_attention_layernorm.weight").text, n, h->post_norm, why);
    return err == SPEC_OK ? specp_head_vector(h->file, "norm.weight", n, h->output_norm, why) : err;
}

static int take_matrices(specp_eagle3 *h, spec_message *why) {
    const specp_eagle3_info *s = &h->info;
    size_t n_q = s->n_heads * s->head_dim, n_kv = s->n_kv_heads * s->head_dim;
    const struct {
        part_name name;
        specp_matrix *m;
        size_t rows, cols;
    } list[] = {
        {part(h, "self_attn.q_proj.weight"), &h->q, n_q, 2 * s->hidden},
        {part(h, "self_attn.k_proj.weight"), &h->kproj, n_kv, 2 * s->hidden},
        {part(h, "self_attn.v_proj.weight"), &h->v, n_kv, 2 * s->hidden},
        {part(h, "self_attn.o_proj.weight"), &h->attn_out, s->hidden, n_q},
        {part(h, "mlp.gate_proj.weight"), &h->gate, s->n_ff, s->hidden},
        {part(h, "mlp.up_proj.weight"), &h->up, s->n_ff, s->hidden},
        {part(h, "mlp.down_proj.weight"), &h->down, s->hidden, s->n_ff},
        {{"lm_head.weight"}, &h->output, s->draft_vocab, s->hidden},
        {{"fc.weight"}, &h->fc, s->hidden, s->n_taps * h->o.hidden},
    };
    size_t n = sizeof list / sizeof *list - !h->uses_fc;
    for (size_t i = 0; i < n; i++) {
        int err = specp_head_matrix(h->file, list[i].name.text, list[i].rows, list[i].cols, h->o.team,
                                    &h->alloc, list[i].m, why);
        if (err != SPEC_OK) return err;
    }
    return SPEC_OK;
}

/* ---- memory of a pass ------------------------------------------------------------- */

static float *carve(float *from, size_t *at, size_t n) {
    *at += n;
    return from != NULL ? from + *at - n : NULL;
}

/* Places the arrays from `from` on, and returns how long they are together. Each product is below
 * 2^31 * 2^12 floats, as each size of a tensor is below 2^31. */
static size_t place(specp_eagle3 *h, float *from) {
    const specp_eagle3_info *s = &h->info;
    size_t n = 0, rows = h->o.rows, nodes = h->node_rows, half = s->head_dim / 2;
    h->feature = carve(from, &n, rows * s->hidden);
    h->qkv = carve(from, &n, rows * h->ld_qkv);
    h->cos = carve(from, &n, rows * half);
    h->sin = carve(from, &n, rows * half);
    h->x = carve(from, &n, nodes * s->hidden);
    h->y = carve(from, &n, nodes * s->hidden);
    h->gate_up = carve(from, &n, nodes * 2 * s->n_ff);
    h->logits = carve(from, &n, nodes * s->draft_vocab);
    h->exps = carve(from, &n, specp_team_size(h->o.team) * s->draft_vocab);
    return n;
}

static int allocate(specp_eagle3 *h, spec_message *why) {
    const spec_allocator *a = &h->alloc;
    const specp_eagle3_info *s = &h->info;
    size_t rows = h->o.rows, nodes = h->node_rows;
    h->row = specp_alloc(a, rows, sizeof *h->row);
    h->tile = specp_alloc(a, nodes, sizeof *h->tile);
    h->freq = specp_alloc(a, s->head_dim / 2, sizeof *h->freq);
    h->n_floats = place(h, NULL);
    h->floats = specp_alloc(a, h->n_floats, sizeof *h->floats);
    bool whole = h->row != NULL && h->tile != NULL && h->freq != NULL && h->floats != NULL;
    if (whole && h->uses_fc) whole = specp_acts_init(&h->taps, s->n_taps * h->o.hidden, rows, a) == SPEC_OK;
    whole = whole && specp_acts_init(&h->in, 2 * s->hidden, rows, a) == SPEC_OK &&
            specp_acts_init(&h->heads, s->n_heads * s->head_dim, nodes, a) == SPEC_OK &&
            specp_acts_init(&h->mid, s->hidden, nodes, a) == SPEC_OK &&
            specp_acts_init(&h->inner, s->n_ff, nodes, a) == SPEC_OK;
    if (!whole) return no_memory(h, why);
    (void)place(h, h->floats);
    return SPEC_OK;
}

/* ---- opening ---------------------------------------------------------------------- */

static int load(specp_eagle3 *h, const char *path, spec_message *why) {
    int err = spec_tensors_open(&h->file, path, &h->alloc, why);
    if (err == SPEC_OK) err = find_layout(h, why);
    if (err == SPEC_OK) err = read_sizes(h, why);
    if (err == SPEC_OK) err = read_vocabulary(h, why);
    if (err == SPEC_OK) err = take_embedding(h, why);
    if (err == SPEC_OK) err = take_norms(h, why);
    if (err == SPEC_OK) err = take_matrices(h, why);
    if (err == SPEC_OK) err = allocate(h, why);
    return err == SPEC_OK ? specp_eagle3_read_rope(h, why) : err;
}

int specp_eagle3_open(specp_eagle3 **out, const char *path, const specp_eagle3_options *o,
                      const spec_allocator *alloc, spec_message *why) {
    if (o->hidden < 1 || o->hidden > INT32_MAX || o->vocab < 1 || o->vocab > INT32_MAX || o->n_layers < 1 ||
        o->n_layers > INT32_MAX || o->rows < 1 || o->rows > SPECP_EAGLE3_MAX_ROWS || o->team == NULL)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "an EAGLE-3 head for hidden size %zu, %zu tokens, %zu layers, %zu rows", o->hidden,
                          o->vocab, o->n_layers, o->rows);
    specp_eagle3 *h = specp_calloc(alloc, 1, sizeof *h);
    if (h == NULL) return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for the head");
    if (alloc != NULL) h->alloc = *alloc;
    h->o = *o;
    h->node_rows = o->rows < SPECP_EAGLE3_NODE_ROWS ? o->rows : SPECP_EAGLE3_NODE_ROWS;
    specp_kernels_init(&h->k, o->isa);
    int err = load(h, path, why);
    if (err == SPEC_OK)
        *out = h;
    else
        specp_eagle3_free(h);
    return err;
}

void specp_eagle3_free(specp_eagle3 *h) {
    if (h == NULL) return;
    spec_allocator alloc = h->alloc;
    specp_matrix *matrix[] = {&h->fc,   &h->q,  &h->kproj, &h->v,     &h->attn_out,
                              &h->gate, &h->up, &h->down,  &h->output};
    specp_acts *acts[] = {&h->taps, &h->in, &h->heads, &h->mid, &h->inner};
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) specp_matrix_release(matrix[i], &alloc);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) specp_acts_release(acts[i], &alloc);
    specp_release(&alloc, h->attention, h->n_attention, sizeof *h->attention);
    specp_release(&alloc, h->floats, h->n_floats, sizeof *h->floats);
    specp_release(&alloc, h->freq, h->info.head_dim / 2, sizeof *h->freq);
    specp_release(&alloc, h->tile, h->node_rows, sizeof *h->tile);
    specp_release(&alloc, h->row, h->o.rows, sizeof *h->row);
    specp_release(&alloc, h->input_norm, h->info.hidden, 4 * sizeof(float));
    specp_release(&alloc, h->target_of, h->info.draft_vocab, sizeof *h->target_of);
    spec_tensors_free(h->file);
    specp_release(&alloc, h, 1, sizeof *h);
}

const specp_eagle3_info *specp_eagle3_get_info(const specp_eagle3 *h) { return &h->info; }

spec_token specp_eagle3_target_token(const specp_eagle3 *h, size_t draft) {
    return h->target_of != NULL ? h->target_of[draft] : (spec_token)draft;
}
