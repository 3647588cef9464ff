/* SPDX-License-Identifier: MIT */
/*
 * Medusa's heads in training. They have nothing in common but the hidden states,
 * so one goes forward and backward after the other, in the same buffers:
 *
 *     x[0] = hidden    z[0] = A x[0] + b    x[1] = x[0] + silu(z[0])    ...    x[layers] -> W -> logits
 *
 * The bias is a matrix (dim, 1) whose input is always 1, so that its gradient is that of a
 * matrix. Logits exist for HEAD_ROWS rows at a time, and become their gradient at
 * once, so that no buffer is as large as rows * vocabulary. The flat arrays hold
 *
 *     [head 0: A b  A b ... W | head 1: A b  A b ... W | ...]
 */
#include "train_medusa.h"

#include <stdio.h>
#include <string.h>

#include "medusa_head.h"
#include "medusa_tree.h"

#define HEAD_ROWS 1024
#define MAX_SIZE  ((size_t)1 << 20) /* of a dimension: products of what is below cannot overflow */
#define MAX_ROWS  ((size_t)1 << 22)

typedef struct train_medusa_acts {
    size_t max_rows;
    float *block;
    size_t n_block;
    const float *hidden;                   /* (rows, dim) the caller's: x[0] */
    float *x[SPECP_MEDUSA_MAX_LAYERS + 1]; /* (max_rows, dim), from 1 */
    float *z[SPECP_MEDUSA_MAX_LAYERS];     /* (max_rows, dim) */
    float *dx, *dz, *ones;                 /* (max_rows, dim) */
    float *logits;                         /* (HEAD_ROWS, vocab) */
    spec_token *labels;                    /* (max_rows) of the head that runs */
} train_medusa_acts;

/* ---- buffers ------------------------------------------------------------- */

static size_t block_rows(size_t rows) { return rows < HEAD_ROWS ? rows : HEAD_ROWS; }

static void lay_out(train_medusa_acts *a, const train_medusa_shape *s) {
    size_t n = a->max_rows * s->dim;
    float *at = a->block;
    for (size_t l = 0; l < s->layers; l++, at += 2 * n) {
        a->z[l] = at;
        a->x[l + 1] = at + n;
    }
    a->dx = at;
    a->dz = at + n;
    a->ones = at + 2 * n;
    a->logits = at + 3 * n;
    for (size_t i = 0; i < n; i++) a->ones[i] = 1.0f;
}

static void acts_free(train_medusa_acts *a, const spec_allocator *alloc) {
    if (!a) return;
    specp_release(alloc, a->block, a->n_block, sizeof *a->block);
    specp_release(alloc, a->labels, a->max_rows, sizeof *a->labels);
    specp_release(alloc, a, 1, sizeof *a);
}

static train_medusa_acts *acts_new(const train_medusa_shape *s, size_t max_rows,
                                   const spec_allocator *alloc) {
    train_medusa_acts *a = specp_calloc(alloc, 1, sizeof *a);
    if (!a) return NULL;
    a->max_rows = max_rows;
    a->n_block = max_rows * s->dim * (2 * s->layers + 3) + block_rows(max_rows) * s->vocab;
    a->block = specp_alloc(alloc, a->n_block, sizeof *a->block);
    a->labels = specp_alloc(alloc, max_rows, sizeof *a->labels);
    if (!a->block || !a->labels) {
        acts_free(a, alloc);
        return NULL;
    }
    lay_out(a, s);
    return a;
}

/* ---- life ---------------------------------------------------------------- */

static int check_shape(const train_medusa_shape *s, size_t max_rows, spec_message *why) {
    const struct {
        const char *name;
        size_t value, least, most;
    } size[] = {{"heads", s->heads, 1, SPECP_MEDUSA_MAX_HEADS},
                {"layers", s->layers, 0, SPECP_MEDUSA_MAX_LAYERS},
                {"dim", s->dim, 1, MAX_SIZE},
                {"vocab", s->vocab, 1, MAX_SIZE},
                {"rows", max_rows, 1, MAX_ROWS}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        if (size[i].value < size[i].least || size[i].value > size[i].most)
            return specp_fail(why, SPEC_ERR_INVALID, "%s is %zu, expected %zu to %zu", size[i].name,
                              size[i].value, size[i].least, size[i].most);
    }
    if (!(s->decay > 0.0 && s->decay <= 1.0))
        return specp_fail(why, SPEC_ERR_INVALID, "decay is %g, expected more than 0, at most 1", s->decay);
    return SPEC_OK;
}

static void name_views(train_medusa *m) {
    const train_medusa_shape *s = &m->shape;
    for (size_t h = 0; h < s->heads; h++) {
        for (size_t l = 0; l < s->layers; l++) {
            train_view *weight = train_params_add(&m->p, "", s->dim, s->dim);
            snprintf(weight->name, sizeof weight->name, "%zu.%zu.linear.weight", h, l);
            train_view *bias = train_params_add(&m->p, "", 0, s->dim);
            snprintf(bias->name, sizeof bias->name, "%zu.%zu.linear.bias", h, l);
        }
        train_view *output = train_params_add(&m->p, "", s->vocab, s->dim);
        snprintf(output->name, sizeof output->name, "%zu.%zu.weight", h, s->layers);
    }
}

int train_medusa_new(train_medusa **out, const train_medusa_shape *shape, size_t max_rows, specp_team *team,
                     const spec_allocator *alloc, spec_message *why) {
    int err = check_shape(shape, max_rows, why);
    if (err) return err;
    train_medusa *m = specp_calloc(alloc, 1, sizeof *m);
    if (!m) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for Medusa heads in training");
    if (alloc) m->alloc = *alloc;
    m->shape = *shape;
    if (train_ctx_init(&m->ctx, team, 0, 0, 0, alloc)) goto fail;
    if (train_params_init(&m->p, shape->heads * (2 * shape->layers + 1), alloc)) goto fail;
    name_views(m);
    m->acts = acts_new(shape, max_rows, alloc);
    if (!m->acts || train_params_alloc(&m->p)) goto fail;
    *out = m;
    return SPEC_OK;
fail:
    err = specp_fail(why, SPEC_ERR_NOMEM, "no memory to train %zu parameters on %zu rows", m->p.n, max_rows);
    train_medusa_free(m);
    return err;
}

void train_medusa_free(train_medusa *m) {
    if (!m) return;
    spec_allocator alloc = m->alloc;
    acts_free(m->acts, &alloc);
    train_params_release(&m->p);
    train_ctx_release(&m->ctx);
    specp_release(&alloc, m, 1, sizeof *m);
}

/* ---- values -------------------------------------------------------------- */

/* The views of head h: A, b of each layer, then W. */
static const train_view *views_of(const train_medusa *m, size_t h) {
    return m->p.view + h * (2 * m->shape.layers + 1);
}

void train_medusa_init(train_medusa *m, uint64_t seed, const float *output) {
    const train_medusa_shape *s = &m->shape;
    memset(m->p.value, 0, m->p.n * sizeof *m->p.value);
    for (size_t h = 0; h < s->heads; h++) {
        size_t at = views_of(m, h)[2 * s->layers].offset, n = s->vocab * s->dim;
        if (output)
            memcpy(m->p.value + at, output, n * sizeof *output);
        else
            train_params_normal(&m->p, seed, at, n, 0.02f);
    }
}

int train_medusa_load(train_medusa *m, const spec_tensors *f, spec_message *why) {
    char name[96];
    snprintf(name, sizeof name, "medusa_head.%s", views_of(m, 0)[2 * m->shape.layers].name);
    return train_params_load(&m->p, f, spec_tensors_find(f, name) ? "medusa_head." : "", why);
}

int train_medusa_save(const train_medusa *m, const char *path, spec_format format, spec_type type,
                      const train_meta *meta, size_t n_meta, spec_message *why) {
    const train_file f = {.format = format, .type = type, .meta = {{meta, n_meta}}};
    return train_save(&m->p, path, &f, why);
}

/* ---- a micro-batch ------------------------------------------------------- */

static void lap(train_medusa *m, enum train_time part, double flop) {
    train_times_lap(&m->times, part, flop);
}

/* Floating-point operations of a product with `weights` weights. */
static double flop(size_t rows, size_t weights) { return 2.0 * (double)rows * (double)weights; }

static const float *input(const train_medusa_acts *a, size_t l) { return l ? a->x[l] : a->hidden; }

static void layers_forward(train_medusa *m, size_t h, size_t rows) {
    train_medusa_acts *a = m->acts;
    size_t dim = m->shape.dim;
    for (size_t l = 0; l < m->shape.layers; l++) {
        const train_view *v = views_of(m, h) + 2 * l;
        train_linear(&m->ctx, input(a, l), m->p.value + v[0].offset, a->z[l], rows, dim, dim, false);
        train_linear(&m->ctx, a->ones, m->p.value + v[1].offset, a->z[l], rows, 1, dim, true);
        lap(m, TRAIN_FORWARD_FFN, flop(rows, dim * (dim + 1)));
        train_swiglu(&m->ctx, a->z[l], a->ones, a->x[l + 1], rows * dim);
        m->ctx.kernels.add(a->x[l + 1], input(a, l), rows * dim);
        lap(m, TRAIN_FORWARD_ACT, 0.0);
    }
}

/* From dx, of what the last layer gave, to the gradients of all; what is before the first is frozen. */
static void layers_backward(train_medusa *m, size_t h, size_t rows) {
    train_medusa_acts *a = m->acts;
    size_t dim = m->shape.dim;
    float *unused = a->x[m->shape.layers]; /* the gradient of the ones; nobody reads this x any more */
    for (size_t l = m->shape.layers; l-- > 0;) {
        const train_view *v = views_of(m, h) + 2 * l;
        const float *w = m->p.value + v[0].offset;
        float *g = m->p.grad;
        train_swiglu_back(&m->ctx, a->z[l], a->ones, a->dx, a->dz, unused, rows * dim);
        lap(m, TRAIN_BACKWARD_ACT, 0.0);
        train_linear_back(&m->ctx, a->ones, NULL, a->dz, NULL, g + v[1].offset, rows, 1, dim, false);
        train_linear_back(&m->ctx, input(a, l), w, a->dz, l ? a->dx : NULL, g + v[0].offset, rows, dim, dim,
                          true);
        lap(m, TRAIN_BACKWARD_FFN, flop(rows, dim * (l ? 2 * dim + 1 : dim + 1)));
    }
}

/* Logits, their loss, and with `backward` the gradients of W and, into dx, of the last x. */
static void output(train_medusa *m, size_t h, size_t rows, float scale, bool backward, train_loss *loss) {
    train_medusa_acts *a = m->acts;
    size_t dim = m->shape.dim, vocab = m->shape.vocab, w = views_of(m, h)[2 * m->shape.layers].offset;
    for (size_t r = 0; r < rows; r += HEAD_ROWS) {
        size_t n = block_rows(rows - r);
        const float *x = input(a, m->shape.layers) + r * dim;
        float *dx = m->shape.layers ? a->dx + r * dim : NULL;
        train_linear(&m->ctx, x, m->p.value + w, a->logits, n, dim, vocab, false);
        lap(m, TRAIN_FORWARD_HEAD, flop(n, dim * vocab));
        train_cross_entropy(&m->ctx, a->logits, a->labels + r, n, vocab, scale, loss);
        lap(m, TRAIN_LOSS, 0.0);
        if (!backward) continue;
        train_linear_back(&m->ctx, x, m->p.value + w, a->logits, dx, m->p.grad + w, n, dim, vocab, false);
        lap(m, TRAIN_BACKWARD_HEAD, (dx ? 2.0 : 1.0) * flop(n, dim * vocab));
    }
}

static int check_batch(const train_medusa *m, const spec_token *labels, size_t n_seqs, size_t seq,
                       spec_message *why) {
    if (seq < 1 || n_seqs < 1 || n_seqs > m->acts->max_rows / seq)
        return specp_fail(why, SPEC_ERR_INVALID, "%zu sequences of %zu tokens: room for %zu", n_seqs, seq,
                          m->acts->max_rows);
    for (size_t r = 0; r < n_seqs * seq; r++) {
        if (labels[r] != TRAIN_IGNORED && (labels[r] < 0 || (size_t)labels[r] >= m->shape.vocab))
            return specp_fail(why, SPEC_ERR_INVALID, "row %zu: label %d, of a vocabulary of %zu", r,
                              (int)labels[r], m->shape.vocab);
    }
    return SPEC_OK;
}

/* Head h's own labels; returns how many there are. */
static size_t shift_labels(train_medusa *m, const spec_token *labels, size_t h, size_t rows, size_t seq) {
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        spec_token label = r % seq + 2 + h < seq ? labels[r + 2 + h] : TRAIN_IGNORED;
        m->acts->labels[r] = label;
        n += label != TRAIN_IGNORED;
    }
    return n;
}

int train_medusa_run(train_medusa *m, const float *hidden, const spec_token *labels, size_t n_seqs,
                     size_t seq, bool backward, train_loss *loss, spec_message *why) {
    size_t rows = n_seqs * seq;
    double weight = 1.0;
    int err = check_batch(m, labels, n_seqs, seq, why);
    if (err) return err;
    m->acts->hidden = hidden;
    train_times_begin(&m->times);
    for (size_t h = 0; h < m->shape.heads; h++) {
        size_t n = shift_labels(m, labels, h, rows, seq);
        weight *= m->shape.decay;
        if (n == 0) continue;
        layers_forward(m, h, rows);
        output(m, h, rows, (float)(weight / (double)n), backward, &loss[h]);
        if (backward) layers_backward(m, h, rows);
    }
    return SPEC_OK;
}

double train_medusa_loss(const train_medusa *m, const train_loss *loss) {
    double sum = 0.0, weight = 1.0;
    for (size_t h = 0; h < m->shape.heads; h++) {
        weight *= m->shape.decay;
        if (loss[h].n) sum += weight * loss[h].sum / (double)loss[h].n;
    }
    return sum;
}
