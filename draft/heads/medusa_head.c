/* SPDX-License-Identifier: MIT */
/*
 * Medusa's heads: opening, and the pass.
 *
 * All heads go through a step together, so that the threads meet a few times in a
 * pass and not a few times for each head:
 *
 *     in     (rows, hidden)              one, which the first layer of every head reads
 *     z      (heads, rows, hidden)       A x, then silu(A x + b)
 *     out    one for each head           x + z: what its next layer or W reads
 *     logits (heads, rows, vocab)
 *
 * Items of the steps with matrices are panels, one head after the other; of the others
 * rows, likewise. Matrices are borrowed from the mapped file, or repacked.
 */
#include "medusa_head.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "head_file.h"
#include "medusa_tree.h"

typedef struct medusa_layer {
    specp_matrix weight;
    const float *bias;
} medusa_layer;

typedef struct medusa_head {
    medusa_layer layer[SPECP_MEDUSA_MAX_LAYERS];
    specp_matrix output;
    specp_acts out;
} medusa_head;

struct specp_medusa_heads {
    spec_allocator alloc;
    specp_medusa_options o;
    specp_kernels k;
    spec_tensors *file;
    const char *prefix;
    size_t n_heads, n_layers;
    bool codes;        /* a matrix reads activations rounded to int8 */
    medusa_head *head; /* (n_heads) */
    specp_acts in;
    float *bias;   /* (n_heads, n_layers, hidden) */
    float *ones;   /* (hidden) */
    float *z;      /* (n_heads, rows, hidden) */
    float *logits; /* (n_heads, rows, vocab) */
};

/* ---- names ------------------------------------------------------------------------ */

typedef struct name {
    char text[96];
} name;

/* What a name of the layout says. */
typedef struct place {
    unsigned head, layer;
    bool output;
} place;

/* Up to three digits, without a zero before others, and a dot. NULL: something else. */
static const char *read_number(const char *s, unsigned *out) {
    size_t n = 0;
    *out = 0;
    for (; n < 3 && s[n] >= '0' && s[n] <= '9'; n++) *out = 10 * *out + (unsigned)(s[n] - '0');
    return n > 0 && s[n] == '.' && (n == 1 || s[0] != '0') ? s + n + 1 : NULL;
}

static bool read_place(const char *s, place *p) {
    s = read_number(s, &p->head);
    if (s != NULL) s = read_number(s, &p->layer);
    if (s == NULL) return false;
    p->output = strcmp(s, "weight") == 0;
    return p->output || strcmp(s, "linear.weight") == 0 || strcmp(s, "linear.bias") == 0;
}

static name name_of(const specp_medusa_heads *m, size_t head, size_t layer, const char *part) {
    name n;
    (void)snprintf(n.text, sizeof n.text, "%s%zu.%zu.%s", m->prefix, head, layer, part);
    return n;
}

/* With the prefix anything else in the file is the model's; without it all is the heads'. */
static int find_prefix(specp_medusa_heads *m, spec_message *why) {
    static const char prefix[] = "medusa_head.";
    place p;
    bool bare = false;
    m->prefix = "";
    for (size_t i = 0; i < spec_tensors_count(m->file); i++) {
        const char *called = spec_tensors_at(m->file, i)->name;
        if (strncmp(called, prefix, sizeof prefix - 1) == 0) m->prefix = prefix;
        bare = bare || read_place(called, &p);
    }
    if (!bare && m->prefix[0] == '\0')
        return specp_head_fail(
            m->file, why, SPEC_ERR_UNSUPPORTED,
            "there are no Medusa heads in it: no tensor is called like 0.0.linear.weight or "
            "medusa_head.0.0.linear.weight");
    return SPEC_OK;
}

/* The numbers of heads and layers, and whether all tensors lie within them. */
static int count_heads(specp_medusa_heads *m, spec_message *why) {
    size_t skip = strlen(m->prefix), layers = SPECP_MEDUSA_MAX_LAYERS + 1;
    for (size_t i = 0; i < spec_tensors_count(m->file); i++) {
        const char *called = spec_tensors_at(m->file, i)->name;
        place p;
        if (strncmp(called, m->prefix, skip) != 0) continue;
        if (!read_place(called + skip, &p))
            return specp_head_fail(m->file, why, SPEC_ERR_UNSUPPORTED,
                                   "tensor %.100s is no part of Medusa heads", called);
        if (p.head >= SPECP_MEDUSA_MAX_HEADS || p.layer > SPECP_MEDUSA_MAX_LAYERS)
            return specp_head_fail(m->file, why, SPEC_ERR_UNSUPPORTED,
                                   "tensor %.100s: at most %d heads and %d layers are possible", called,
                                   SPECP_MEDUSA_MAX_HEADS, SPECP_MEDUSA_MAX_LAYERS);
        if (p.head >= m->n_heads) m->n_heads = p.head + 1;
        if (p.head == 0 && p.output && p.layer < layers) layers = p.layer;
    }
    if (layers > SPECP_MEDUSA_MAX_LAYERS)
        return specp_head_fail(m->file, why, SPEC_ERR_CORRUPT,
                               "the output matrix of head 0 is missing, %s or another layer",
                               name_of(m, 0, 1, "weight").text);
    m->n_layers = layers;
    for (size_t i = 0; i < spec_tensors_count(m->file); i++) {
        const char *called = spec_tensors_at(m->file, i)->name;
        place p;
        if (strncmp(called, m->prefix, skip) != 0 || !read_place(called + skip, &p)) continue;
        if (p.output ? p.layer != layers : p.layer >= layers)
            return specp_head_fail(m->file, why, SPEC_ERR_UNSUPPORTED,
                                   "tensor %.100s is no part of heads with %zu layers", called, layers);
    }
    return SPEC_OK;
}

/* ---- tensors ----------------------------------------------------------------------- */

/* Whose heads they are is seen in the first one's output matrix. */
static int check_target(const specp_medusa_heads *m, spec_message *why) {
    name called = name_of(m, 0, m->n_layers, "weight");
    const spec_tensor *t = spec_tensors_find(m->file, called.text);
    if (t->n_dims == 2 && t->dim[1] != m->o.hidden)
        return specp_head_fail(m->file, why, SPEC_ERR_INVALID,
                               "tensor %s is %s, for a hidden size of %" PRIu64 "; the target's is %zu",
                               called.text, specp_head_shape(t).text, t->dim[1], m->o.hidden);
    if (t->n_dims == 2 && t->dim[0] != m->o.vocab)
        return specp_head_fail(m->file, why, SPEC_ERR_INVALID,
                               "tensor %s is %s, for a vocabulary of %" PRIu64
                               " tokens; the target's has %zu",
                               called.text, specp_head_shape(t).text, t->dim[0], m->o.vocab);
    return SPEC_OK;
}

static int take_matrix(specp_medusa_heads *m, name called, size_t rows, specp_matrix *out,
                       spec_message *why) {
    int err = specp_head_matrix(m->file, called.text, rows, m->o.hidden, m->o.team, &m->alloc, out, why);
    m->codes = m->codes || (err == SPEC_OK && out->form >= SPECP_FORM_W8);
    return err;
}

static int take_head(specp_medusa_heads *m, size_t head, spec_message *why) {
    medusa_head *h = &m->head[head];
    for (size_t l = 0; l < m->n_layers; l++) {
        float *bias = m->bias + (head * m->n_layers + l) * m->o.hidden;
        int err = take_matrix(m, name_of(m, head, l, "linear.weight"), m->o.hidden, &h->layer[l].weight, why);
        if (err == SPEC_OK)
            err = specp_head_vector(m->file, name_of(m, head, l, "linear.bias").text, m->o.hidden, bias, why);
        if (err != SPEC_OK) return err;
        h->layer[l].bias = bias;
    }
    return take_matrix(m, name_of(m, head, m->n_layers, "weight"), m->o.vocab, &h->output, why);
}

/* ---- opening ------------------------------------------------------------------------ */

/* What does not depend on the tensors; the tensors' sizes are known to fit in memory. */
static int allocate(specp_medusa_heads *m, spec_message *why) {
    const spec_allocator *a = &m->alloc;
    size_t rows = m->n_heads * m->o.rows;
    m->head = specp_calloc(a, m->n_heads, sizeof *m->head);
    m->bias = specp_alloc(a, m->n_heads * m->n_layers + 1, m->o.hidden * sizeof(float));
    m->ones = specp_alloc(a, m->o.hidden, sizeof(float));
    m->z = specp_alloc(a, rows, m->o.hidden * sizeof(float));
    m->logits = specp_alloc(a, rows, m->o.vocab * sizeof(float));
    bool whole = m->head != NULL && m->bias != NULL && m->ones != NULL && m->z != NULL && m->logits != NULL &&
                 specp_acts_init(&m->in, m->o.hidden, m->o.rows, a) == SPEC_OK;
    for (size_t h = 0; h < m->n_heads && whole && m->n_layers > 0; h++)
        whole = specp_acts_init(&m->head[h].out, m->o.hidden, m->o.rows, a) == SPEC_OK;
    if (!whole)
        return specp_head_fail(m->file, why, SPEC_ERR_NOMEM, "there is not enough memory for the heads");
    for (size_t i = 0; i < m->o.hidden; i++) m->ones[i] = 1.0f;
    return SPEC_OK;
}

static int load(specp_medusa_heads *m, const char *path, spec_message *why) {
    int err = spec_tensors_open(&m->file, path, &m->alloc, why);
    if (err == SPEC_OK) err = find_prefix(m, why);
    if (err == SPEC_OK) err = count_heads(m, why);
    if (err == SPEC_OK) err = check_target(m, why);
    if (err == SPEC_OK) err = allocate(m, why);
    for (size_t h = 0; h < m->n_heads && err == SPEC_OK; h++) err = take_head(m, h, why);
    return err;
}

int specp_medusa_heads_open(specp_medusa_heads **out, const char *path, const specp_medusa_options *o,
                            const spec_allocator *alloc, spec_message *why) {
    if (o->hidden < 1 || o->hidden > INT32_MAX || o->vocab < 1 || o->vocab > INT32_MAX || o->rows < 1 ||
        o->rows > SPECP_MEDUSA_MAX_ROWS || o->team == NULL)
        return specp_fail(why, SPEC_ERR_INVALID, "Medusa heads for hidden size %zu, %zu tokens, %zu rows",
                          o->hidden, o->vocab, o->rows);
    specp_medusa_heads *m = specp_calloc(alloc, 1, sizeof *m);
    if (m == NULL) return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for the heads");
    if (alloc != NULL) m->alloc = *alloc;
    m->o = *o;
    specp_kernels_init(&m->k, o->isa);
    int err = load(m, path, why);
    if (err == SPEC_OK)
        *out = m;
    else
        specp_medusa_heads_free(m);
    return err;
}

void specp_medusa_heads_free(specp_medusa_heads *m) {
    if (m == NULL) return;
    spec_allocator alloc = m->alloc;
    size_t rows = m->n_heads * m->o.rows;
    for (size_t h = 0; h < m->n_heads && m->head != NULL; h++) {
        for (size_t l = 0; l < m->n_layers; l++) specp_matrix_release(&m->head[h].layer[l].weight, &alloc);
        specp_matrix_release(&m->head[h].output, &alloc);
        specp_acts_release(&m->head[h].out, &alloc);
    }
    specp_acts_release(&m->in, &alloc);
    specp_release(&alloc, m->logits, rows, m->o.vocab * sizeof(float));
    specp_release(&alloc, m->z, rows, m->o.hidden * sizeof(float));
    specp_release(&alloc, m->ones, m->o.hidden, sizeof(float));
    specp_release(&alloc, m->bias, m->n_heads * m->n_layers + 1, m->o.hidden * sizeof(float));
    specp_release(&alloc, m->head, m->n_heads, sizeof *m->head);
    spec_tensors_free(m->file);
    specp_release(&alloc, m, 1, sizeof *m);
}

size_t specp_medusa_heads_count(const specp_medusa_heads *m) { return m->n_heads; }
size_t specp_medusa_heads_layers(const specp_medusa_heads *m) { return m->n_layers; }

const spec_tensors *specp_medusa_heads_file(const specp_medusa_heads *m) { return m->file; }

/* ---- the pass ------------------------------------------------------------------------- */

typedef struct pass {
    specp_medusa_heads *m;
    const float *hidden;
    size_t n, k; /* rows; k 0: logits are all that is asked for */
    float *logits;
    spec_token *token;
    float *prob;
} pass;

/* A pass at a layer; layer n_layers is the output matrix. */
typedef struct step {
    const pass *p;
    size_t layer;
} step;

static size_t panels_of(size_t n_out) { return (n_out + SPECP_PANEL - 1) / SPECP_PANEL; }

/* What a head's layer reads. */
static const specp_acts *input_of(const specp_medusa_heads *m, size_t head, size_t layer) {
    return layer == 0 ? &m->in : &m->head[head].out;
}

static void copy_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const pass *p = ((const step *)arg)->p;
    specp_acts *in = &p->m->in;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        memcpy(in->x + i * in->n_in, p->hidden + i * in->n_in, in->n_in * sizeof(float));
        if (p->m->codes) p->m->k.quantise(in, i);
    }
}

/* Panels of all heads' matrices at a layer. */
static void multiply(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    specp_medusa_heads *m = s->p->m;
    bool output = s->layer == m->n_layers;
    size_t n_out = output ? m->o.vocab : m->o.hidden, panels = panels_of(n_out);
    (void)thread;
    while (begin < end) {
        size_t head = begin / panels, from = begin % panels;
        size_t to = end - begin < panels - from ? from + (end - begin) : panels;
        const specp_matrix *w = output ? &m->head[head].output : &m->head[head].layer[s->layer].weight;
        float *y = (output ? s->p->logits : m->z) + head * s->p->n * n_out;
        m->k.matmul[w->form](w, input_of(m, head, s->layer), NULL, s->p->n, y, n_out, from, to);
        begin += to - from;
    }
}

/* x + silu(z + b), to what the next layer reads. */
static void add_residual(void *arg, size_t begin, size_t end, unsigned thread) {
    const step *s = arg;
    specp_medusa_heads *m = s->p->m;
    size_t n = m->o.hidden;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t head = i / s->p->n, row = i % s->p->n;
        const float *x = input_of(m, head, s->layer)->x + row * n;
        float *z = m->z + i * n, *out = m->head[head].out.x + row * n;
        m->k.add(z, m->head[head].layer[s->layer].bias, n);
        m->k.silu_mul(z, m->ones, z, n);
        if (out != x) memcpy(out, x, n * sizeof *out);
        m->k.add(out, z, n);
        if (m->codes) m->k.quantise(&m->head[head].out, row);
    }
}

static void pick_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const pass *p = ((const step *)arg)->p;
    specp_medusa_heads *m = p->m;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t at = (i % p->n * m->n_heads + i / p->n) * p->k;
        float *logits = p->logits + i * m->o.vocab, *prob = p->prob + at;
        specp_head_pick(logits, m->o.vocab, p->k, p->token + at, prob);
        float sum = m->k.softmax(logits, m->o.vocab);
        for (size_t j = 0; j < p->k; j++) {
            float x = logits[p->token[at + j]] / sum;
            prob[j] = x >= 0.0f && x <= 1.0f ? x : 0.0f; /* not NaN */
        }
    }
}

static void run_on_thread(void *arg, unsigned thread) {
    const pass *p = arg;
    const specp_medusa_heads *m = p->m;
    specp_team *team = m->o.team;
    size_t rows = m->n_heads * p->n;
    step s = {p, 0};
    specp_team_each(team, thread, p->n, 0, copy_rows, &s);
    for (; s.layer < m->n_layers; s.layer++) {
        specp_team_each(team, thread, m->n_heads * panels_of(m->o.hidden), 0, multiply, &s);
        specp_team_each(team, thread, rows, 0, add_residual, &s);
    }
    specp_team_each(team, thread, m->n_heads * panels_of(m->o.vocab), 0, multiply, &s);
    if (p->k > 0) specp_team_each(team, thread, rows, 1, pick_rows, &s);
}

void specp_medusa_heads_logits(specp_medusa_heads *m, const float *hidden, size_t n, float *logits) {
    pass p = {.m = m, .hidden = hidden, .n = n, .logits = logits};
    if (n > 0) specp_team_run(m->o.team, run_on_thread, &p);
}

void specp_medusa_heads_top(specp_medusa_heads *m, const float *hidden, size_t n, size_t k, spec_token *token,
                            float *prob) {
    pass p = {.m = m, .hidden = hidden, .n = n, .k = k, .logits = m->logits, .token = token, .prob = prob};
    if (n > 0) specp_team_run(m->o.team, run_on_thread, &p);
}
