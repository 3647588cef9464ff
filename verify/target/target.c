/* SPDX-License-Identifier: MIT */
/* target.c - a target: opened, described, freed. */
#include <string.h>

#include "target_internal.h"

#define MAX_THREADS 256

/* ---- instruction sets ------------------------------------------------------ */

/* From the best to the least; a set includes those below it. 0 in options.isa means all, so
 * "scalar" is a bit that is no instruction set. */
static const struct isa_set {
    const char *name;
    unsigned has, mask;
} isa_sets[] = {
    {"avx512-vnni", SPECP_ISA_VNNI, SPECP_ISA_AVX2 | SPECP_ISA_AVX512 | SPECP_ISA_VNNI},
    {"avx512", SPECP_ISA_AVX512, SPECP_ISA_AVX2 | SPECP_ISA_AVX512},
    {"avx2", SPECP_ISA_AVX2, SPECP_ISA_AVX2},
    {"scalar", 0, SPECP_ISA_ALL + 1},
};
#define N_ISA_SETS (sizeof isa_sets / sizeof isa_sets[0])

int spec_target_isa(const char *name, unsigned *out) {
    for (size_t i = 0; i < N_ISA_SETS && name != NULL; i++)
        if (strcmp(name, isa_sets[i].name) == 0) {
            *out = isa_sets[i].mask;
            return SPEC_OK;
        }
    return SPEC_ERR_NOT_FOUND;
}

/* 3: AVX-512 with VNNI ... 0: scalar. */
static unsigned isa_rank(unsigned isa) {
    size_t i = 0;
    while (isa_sets[i].has != 0 && !(isa & isa_sets[i].has)) i++;
    return (unsigned)(N_ISA_SETS - 1 - i);
}

static const char *isa_name(unsigned isa) { return isa_sets[N_ISA_SETS - 1 - isa_rank(isa)].name; }

/* ---- opening ---------------------------------------------------------------- */

/* Checks the options and fills in defaults but for the context, which the model has. */
static int read_options(const spec_target_options *given, spec_target_options *o, spec_message *why) {
    *o = (spec_target_options){.size = sizeof *o};
    if (given != NULL && given->size != sizeof *o)
        return specp_fail(why, SPEC_ERR_INVALID, "options.size is %zu, expected %zu", given->size, sizeof *o);
    if (given != NULL) *o = *given;
    if (o->threads > MAX_THREADS)
        return specp_fail(why, SPEC_ERR_INVALID, "%u threads, at most %d are possible", o->threads,
                          MAX_THREADS);
    if (!o->kv_type_given) o->kv_type = SPEC_TYPE_F16;
    if (o->kv_type != SPEC_TYPE_F16 && o->kv_type != SPEC_TYPE_F32)
        return specp_fail(why, SPEC_ERR_INVALID, "the cache cannot have type %s, only F16 or F32",
                          spec_type_name(o->kv_type));
    if ((unsigned)o->matmul > SPEC_MATMUL_BLAS)
        return specp_fail(why, SPEC_ERR_INVALID, "%d is no way to multiply matrices", (int)o->matmul);
    if (o->max_context > INT32_MAX)
        return specp_fail(why, SPEC_ERR_INVALID, "a context of %zu tokens, at most %d are possible",
                          o->max_context, INT32_MAX);
    unsigned cores = specp_team_cores();
    if (o->threads == 0) o->threads = cores < MAX_THREADS ? cores : MAX_THREADS;
    return SPEC_OK;
}

static int open_parts(spec_target *t, const char *path, spec_message *why) {
    int err = specp_team_new(&t->team, t->options.threads, &t->alloc);
    if (err != SPEC_OK) return specp_fail(why, err, "%u threads could not be started", t->options.threads);
    specp_kernels_init(&t->k, t->isa);
    err = specp_model_load(&t->model, path, t->team, &t->options, &t->alloc, why);
    if (err == SPEC_OK && t->options.max_context == 0) t->options.max_context = t->model.train_context;
    return err;
}

int spec_target_open(spec_target **out, const char *path, const spec_target_options *o,
                     const spec_allocator *alloc, spec_message *why) {
    spec_target_options options;
    if (out == NULL || path == NULL)
        return specp_fail(why, SPEC_ERR_INVALID, "a path, and room for the target, are expected");
    int err = read_options(o, &options, why);
    if (err != SPEC_OK) return err;
    spec_target *t = specp_calloc(alloc, 1, sizeof *t);
    if (t == NULL) return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for a target");
    if (alloc != NULL) t->alloc = *alloc;
    t->options = options;
    t->isa = options.isa != 0 ? options.isa : SPECP_ISA_ALL;
    err = open_parts(t, path, why);
    if (err == SPEC_OK)
        *out = t;
    else
        spec_target_free(t);
    return err;
}

void spec_target_free(spec_target *t) {
    if (t == NULL) return;
    spec_allocator alloc = t->alloc;
    specp_forward_release(t);
    specp_model_release(&t->model);
    specp_team_free(t->team);
    specp_release(&alloc, t, 1, sizeof *t);
}

/* ---- what it is --------------------------------------------------------------- */

void spec_target_get_info(const spec_target *t, spec_target_info *out) {
    const specp_model *m = &t->model;
    size_t kv_bytes = spec_type_block_bytes(t->options.kv_type);
    spec_target_info info = {
        .size = out->size,
        .arch = m->arch->name,
        .format = spec_tensors_format(m->file),
        .vocab = m->vocab,
        .dim = m->dim,
        .n_layers = m->n_layers,
        .n_heads = m->n_heads,
        .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim,
        .n_ff = m->n_ff,
        .n_experts = m->n_experts,
        .n_experts_used = m->n_experts_used,
        .context = t->options.max_context,
        .train_context = m->train_context,
        .tied = m->tied,
        .threads = specp_team_size(t->team),
        .isa = isa_name(t->k.isa),
        .kv_type = t->options.kv_type,
        .matmul = t->options.matmul,
        .weight_bytes = m->weight_bytes,
        .repacked_bytes = m->repacked_bytes,
        .load_seconds = m->load_seconds,
        .repack_seconds = m->repack_seconds,
        .kv_bytes_per_token = 2 * m->n_layers * m->n_kv_heads * m->head_dim * kv_bytes,
        .bos = m->bos,
        .eos = m->eos,
    };
    memcpy(out, &info, out->size < sizeof info ? out->size : sizeof info);
}

const spec_tensors *spec_target_tensors(const spec_target *t) { return t->model.file; }

int spec_target_embedding(const spec_target *t, spec_token token, float *out) {
    const specp_model *m = &t->model;
    if ((size_t)token >= m->vocab) return SPEC_ERR_INVALID;
    specp_matrix_row(&m->embed, (size_t)token, out);
    if (m->embed_scale != 1.0f) t->k.scale(out, m->embed_scale, m->dim);
    return SPEC_OK;
}

/* ---- which kernels -------------------------------------------------------------- */

/*
 * Operations, in the order of a pass. Those that multiply name the matrices of a
 * layer; the others have none.
 */
typedef struct operation {
    const char *name;
    enum { EMBEDDING, LAYERS, EXPERTS, OUTPUT, PROMPTS, NORMS, ATTENTION, ACTIVATION } kind;
    size_t offset; /* in specp_layer: of a matrix, or of a pointer to the experts' */
} operation;

#define AT(field) offsetof(specp_layer, field)

static const operation operations[] = {
    {"embedding", EMBEDDING, 0},
    {"norm", NORMS, 0},
    {"attn_q", LAYERS, AT(q)},
    {"attn_k", LAYERS, AT(k)},
    {"attn_v", LAYERS, AT(v)},
    {"attention", ATTENTION, 0},
    {"attn_output", LAYERS, AT(o)},
    {"router", LAYERS, AT(router)},
    {"ffn_gate", LAYERS, AT(gate)},
    {"ffn_up", LAYERS, AT(up)},
    {"activation", ACTIVATION, 0},
    {"ffn_down", LAYERS, AT(down)},
    {"experts_gate", EXPERTS, AT(expert_gate)},
    {"experts_up", EXPERTS, AT(expert_up)},
    {"experts_down", EXPERTS, AT(expert_down)},
    {"output", OUTPUT, 0},
    {"prompts", PROMPTS, 0}, /* all matrices, where OpenBLAS multiplies prompts by them */
};
#define N_OPERATIONS (sizeof operations / sizeof operations[0])

static void count_matrix(const specp_matrix *m, spec_kernel_use *use) {
    if (m->n_out == 0 || m->type != use->type) return;
    use->count++;
    use->bytes += m->n_in / spec_type_block(m->type) * spec_type_block_bytes(m->type) * m->n_out;
}

static void count_layers(const specp_model *m, const operation *op, spec_kernel_use *use) {
    for (size_t i = 0; i < m->n_layers; i++) {
        const char *at = (const char *)&m->layer[i] + op->offset;
        if (op->kind == LAYERS) {
            count_matrix((const specp_matrix *)at, use);
            continue;
        }
        const specp_matrix *experts = *(specp_matrix *const *)at;
        for (size_t e = 0; experts != NULL && e < m->n_experts; e++) count_matrix(&experts[e], use);
    }
}

/* Why a kernel of rank `used` is not the best that this processor could do, or NULL. */
static const char *why_slower(unsigned used, unsigned unmasked, unsigned best) {
    if (used < unmasked) return "options.isa leaves out a faster instruction set";
    if (used >= best) return NULL;
    return best == 3 ? "there is no AVX-512 VNNI kernel for this type"
                     : "there is no kernel for this type in the best instruction set";
}

static void describe_blas(spec_kernel_use *use) {
    bool below;
    (void)specp_blas_core(&below);
    use->kernel = "blas";
    use->slower = below ? "OpenBLAS runs as for a lesser processor" : NULL;
}

/* The kernel that multiplies matrices of this type. */
static void describe_matmul(const spec_target *t, spec_kernel_use *use) {
    specp_kernels all;
    specp_form form = specp_form_of(use->type);
    unsigned best = isa_rank(specp_isa_detect());
    if (best == 3 && form < SPECP_FORM_W8) best = 2; /* VNNI is for integers */
    specp_kernels_init(&all, SPECP_ISA_ALL);
    use->kernel = t->k.matmul_name[form];
    use->slower = why_slower(isa_rank(t->k.matmul_isa[form]), isa_rank(all.matmul_isa[form]), best);
}

/* Operations without matrices run in the table's instruction set; VNNI gives them nothing. */
static void describe_other(const spec_target *t, spec_kernel_use *use) {
    unsigned no_vnni = ~(unsigned)SPECP_ISA_VNNI, best = isa_rank(specp_isa_detect() & no_vnni);
    use->kernel = isa_name(t->k.isa & no_vnni);
    use->slower = why_slower(isa_rank(t->k.isa & no_vnni), best, best);
}

static size_t norm_count(const specp_model *m) {
    size_t n = 1;
    for (size_t i = 0; i < m->n_layers; i++) {
        const specp_layer *l = &m->layer[i];
        const float *norms[] = {l->attn_norm,     l->post_attn_norm, l->ffn_norm,
                                l->post_ffn_norm, l->q_norm,         l->k_norm};
        for (size_t j = 0; j < sizeof norms / sizeof norms[0]; j++) n += norms[j] != NULL;
    }
    return n;
}

static void count(const spec_target *t, const operation *op, spec_kernel_use *use) {
    const specp_model *m = &t->model;
    switch (op->kind) {
    case LAYERS:
    case EXPERTS: count_layers(m, op, use); break;
    case EMBEDDING: count_matrix(&m->embed, use); break;
    case OUTPUT: count_matrix(&m->output, use); break;
    case NORMS: use->count = use->type == SPEC_TYPE_F32 ? norm_count(m) : 0; break;
    case ATTENTION: use->count = use->type == t->options.kv_type ? m->n_layers : 0; break;
    case ACTIVATION: use->count = use->type == SPEC_TYPE_F32 ? m->n_layers : 0; break;
    case PROMPTS:
        for (size_t i = 0; i < N_OPERATIONS && t->options.matmul == SPEC_MATMUL_PREFILL; i++)
            if (operations[i].kind >= LAYERS && operations[i].kind <= OUTPUT) count(t, &operations[i], use);
    }
}

/* Fills *use for one operation and use->type. */
static void describe(const spec_target *t, const operation *op, spec_kernel_use *use) {
    use->operation = op->name;
    if (op->kind == EMBEDDING)
        use->kernel = "row lookup";
    else if (op->kind > PROMPTS)
        describe_other(t, use);
    else if (op->kind == PROMPTS || t->options.matmul == SPEC_MATMUL_BLAS)
        describe_blas(use);
    else
        describe_matmul(t, use);
}

int spec_target_kernel(const spec_target *t, size_t i, spec_kernel_use *out) {
    for (size_t op = 0; op < N_OPERATIONS; op++)
        for (int type = 0; type < SPEC_TYPES; type++) {
            spec_kernel_use use = {.type = (spec_type)type};
            if (operations[op].kind <= PROMPTS && specp_form_of(use.type) == SPECP_FORMS) continue;
            count(t, &operations[op], &use);
            if (use.count == 0 || i-- > 0) continue;
            describe(t, &operations[op], &use); /* asks the processor, which a virtual machine makes slow */
            *out = use;
            return SPEC_OK;
        }
    return SPEC_ERR_NOT_FOUND;
}
