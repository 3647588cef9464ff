/* SPDX-License-Identifier: MIT */
/*
 * matrix.c - weight matrices made ready for the kernels, activations and their
 * storage, and the walk of a product over panels and rows.
 *
 * Float matrices lie as the file has them and are borrowed. Quantised ones are
 * repacked into memory of their own, aligned to a cache line, in huge pages where
 * the system has some: a product reads all of it once, and is spared page walks.
 *
 *     store   |.....|======================|....|
 *                   ^ aligned: data / q, x
 */
#define _DEFAULT_SOURCE /* madvise */
#include "kernels_quant.h"

#include <string.h>
#include <sys/mman.h>

#define LINE      ((size_t)64)
#define PAGE      ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)

static void *align_up(void *p, size_t to) { return (char *)p + (-(uintptr_t)p & (to - 1)); }

/* *total = a * b + c, or false. */
static bool size_fits(size_t a, size_t b, size_t c, size_t *total) {
    return !__builtin_mul_overflow(a, b, total) && !__builtin_add_overflow(*total, c, total);
}

/* ---- weights ------------------------------------------------------------- */

specp_form specp_form_of(spec_type type) {
    switch (type) {
    case SPEC_TYPE_F32: return SPECP_FORM_F32;
    case SPEC_TYPE_F16: return SPECP_FORM_F16;
    case SPEC_TYPE_BF16: return SPECP_FORM_BF16;
    case SPEC_TYPE_Q8_0: return SPECP_FORM_W8;
    case SPEC_TYPE_Q4_0: return SPECP_FORM_W4;
    case SPEC_TYPE_Q5_0: return SPECP_FORM_W5;
    case SPEC_TYPE_Q4_K: return SPECP_FORM_W4K;
    case SPEC_TYPE_Q5_K: return SPECP_FORM_W5K;
    case SPEC_TYPE_Q6_K: return SPECP_FORM_W6K;
    default: return SPECP_FORMS;
    }
}

static size_t panels_of(const specp_matrix *m) {
    return m->n_out / SPECP_PANEL + (m->n_out % SPECP_PANEL != 0);
}

typedef struct repack_job {
    const specp_matrix *m;
    uint8_t *panels;
    specp_team *team;
} repack_job;

static void repack_some(void *arg, size_t begin, size_t end, unsigned thread) {
    const repack_job *job = arg;
    (void)thread;
    specp_repack(job->m, job->panels, begin, end);
}

static void repack_on_thread(void *arg, unsigned thread) {
    const repack_job *job = arg;
    specp_team_each(job->team, thread, panels_of(job->m), 0, repack_some, arg);
}

/* The system may refuse, and nothing is lost. Whole pages, so the hint also falls on what
 * shares the outermost ones. */
static void ask_for_huge_pages(void *p, size_t bytes) {
    char *begin = (char *)p - ((uintptr_t)p & (PAGE - 1)), *end = align_up((char *)p + bytes, PAGE);
    if (bytes >= HUGE_PAGE) {
        (void)madvise(begin, (size_t)(end - begin), MADV_HUGEPAGE);
    }
}

/* Memory for all panels, and their packing. */
static int repack(specp_matrix *m, specp_team *team, const spec_allocator *alloc) {
    size_t panel, bytes;
    if (!size_fits(specp_unit_count(m->form, m->n_in), specp_unit_bytes(m->form), 0, &panel) ||
        !size_fits(panels_of(m), panel, 0, &bytes)) {
        return SPEC_ERR_NOMEM;
    }
    if (!size_fits(bytes, 1, LINE, &m->packed_bytes) ||
        !(m->packed = specp_alloc(alloc, m->packed_bytes, 1))) {
        return SPEC_ERR_NOMEM;
    }
    uint8_t *panels = align_up(m->packed, LINE);
    ask_for_huge_pages(m->packed, m->packed_bytes);
    m->data = panels;
    specp_team_run(team, repack_on_thread, &(repack_job){m, panels, team});
    return 0;
}

int specp_matrix_init(specp_matrix *m, spec_type type, const void *data, size_t n_out, size_t n_in,
                      specp_team *team, const spec_allocator *alloc) {
    specp_matrix made = {.type = type, .n_out = n_out, .n_in = n_in, .data = data, .source = data};
    made.form = specp_form_of(type);
    if (made.form == SPECP_FORMS) {
        return SPEC_ERR_UNSUPPORTED;
    }
    if (!n_out || !n_in || n_in % spec_type_block(type)) {
        return SPEC_ERR_INVALID;
    }
    int err = made.form >= SPECP_FORM_W8 ? repack(&made, team, alloc) : 0;
    if (!err) {
        *m = made;
    }
    return err;
}

void specp_matrix_release(specp_matrix *m, const spec_allocator *alloc) {
    specp_release(alloc, m->packed, m->packed_bytes, 1);
    *m = (specp_matrix){0};
}

void specp_matrix_row(const specp_matrix *m, size_t row, float *out) {
    size_t bytes = m->n_in / spec_type_block(m->type) * spec_type_block_bytes(m->type);
    (void)spec_type_to_float(m->type, (const char *)m->source + row * bytes, out, m->n_in);
}

/* ---- activations --------------------------------------------------------- */

/*   x (cap, n_in), to a full line | q (cap, ldq)   */
int specp_acts_init(specp_acts *a, size_t n_in, size_t cap, const spec_allocator *alloc) {
    size_t floats, blocks, bytes;
    if (!n_in || !cap) {
        return SPEC_ERR_INVALID;
    }
    /* Units of two blocks; the blocks past n_in stay zeros. */
    size_t ldq = (specp_unit_count(SPECP_FORM_W8, n_in) * specp_unit_tiles(SPECP_FORM_W8)) | 1;
    if (!size_fits(cap, n_in, LINE, &floats) || !size_fits(floats, sizeof(float), 0, &floats) ||
        !size_fits(cap, ldq, 1, &blocks) || !size_fits(blocks, sizeof(specp_qblock), floats, &bytes)) {
        return SPEC_ERR_NOMEM;
    }
    void *store = specp_calloc(alloc, bytes, 1);
    if (!store) {
        return SPEC_ERR_NOMEM;
    }
    *a = (specp_acts){.n_in = n_in, .cap = cap, .ldq = ldq, .store = store, .store_bytes = bytes};
    a->x = align_up(store, LINE);
    a->q = align_up(a->x + cap * n_in, LINE);
    return 0;
}

void specp_acts_release(specp_acts *a, const spec_allocator *alloc) {
    specp_release(alloc, a->store, a->store_bytes, 1);
    *a = (specp_acts){0};
}

/* ---- the walk of a product ----------------------------------------------- */

/* As much of the activations as half of a usual L2 cache holds is walked over for each panel. */
#define PASS_BYTES ((size_t)1 << 20)
#define PASS_ROWS  256

typedef struct walk {
    specp_panel_fn fn;
    const specp_matrix *m;
    size_t units, ldy;
} walk;

/* One panel and n <= SPECP_GROUP rows, to y. */
static void multiply_group(const walk *w, size_t panel, const specp_qblock *const *x, size_t n, float *y) {
    float out[SPECP_GROUP][SPECP_PANEL];
    size_t first = panel * SPECP_PANEL, bytes = w->units * specp_unit_bytes(w->m->form);
    size_t width = w->m->n_out - first < SPECP_PANEL ? w->m->n_out - first : SPECP_PANEL;
    w->fn((const uint8_t *)w->m->data + panel * bytes, w->units, x, n, out);
    for (size_t i = 0; i < n; i++) {
        memcpy(y + i * w->ldy + first, out[i], width * sizeof(float));
    }
}

/* Panels [panel0, panel1) for n <= PASS_ROWS rows: a panel's groups follow one another, while
 * it is in the cache. */
static void multiply_rows(const walk *w, const specp_qblock *const *x, size_t n, float *y, size_t panel0,
                          size_t panel1) {
    for (size_t p = panel0; p < panel1; p++) {
        for (size_t i = 0; i < n; i += SPECP_GROUP) {
            multiply_group(w, p, x + i, n - i < SPECP_GROUP ? n - i : SPECP_GROUP, y + i * w->ldy);
        }
    }
}

void specp_quant_matmul(specp_panel_fn fn, const specp_matrix *m, const specp_acts *a,
                        const uint32_t *row_index, size_t n_rows, float *y, size_t ldy, size_t panel0,
                        size_t panel1) {
    const walk w = {fn, m, specp_unit_count(m->form, m->n_in), ldy};
    const specp_qblock *x[PASS_ROWS + SPECP_GROUP];
    size_t fit = PASS_BYTES / (a->ldq * sizeof(specp_qblock)) / SPECP_GROUP * SPECP_GROUP;
    fit = fit < SPECP_GROUP ? SPECP_GROUP : fit < PASS_ROWS ? fit : PASS_ROWS;
    for (size_t begin = 0; begin < n_rows; begin += fit) {
        size_t n = n_rows - begin < fit ? n_rows - begin : fit;
        for (size_t i = 0; i < n + SPECP_GROUP; i++) { /* past the end the last one again */
            size_t row = begin + (i < n ? i : n - 1);
            x[i] = a->q + (row_index ? row_index[row] : row) * a->ldq;
        }
        multiply_rows(&w, x, n, y + begin * ldy, panel0, panel1);
    }
}
