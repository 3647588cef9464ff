/* SPDX-License-Identifier: MIT */
/*
 * specbench train medusa: Medusa's heads for a target, from what it answered.
 *
 * The heads see one hidden state at a time, so that only rows near labels count. Windows are joined
 * from there on, each begun by heads + 1 rows without a label: the labels of the last rows of the
 * one before it lie there.
 *
 *     hidden  | . . . a b c d e | . . . v w x y |     the rows of a window before its first label
 *     label   |       a b c d e |       v w x y |     are real ones, where there are so many
 */
#include <stdlib.h>
#include <string.h>

#include "medusa_head.h"
#include "medusa_tree.h"
#include "train_heads.h"
#include "train_kinds.h"
#include "train_medusa.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define MAX_HEADS 8
#define RANKS     10 /* of the tree: a digit each */
#define ROWS      64 /* of a calibration's batch */

typedef struct medusa {
    train_heads h;
    uint64_t heads, layers, nodes;
    double lambda;
    train_medusa *model;
    float *hidden;      /* (max_rows, dim) */
    spec_token *labels; /* (max_rows) */
    size_t max_rows, rows;
} medusa;

/* ---- the task ------------------------------------------------------------ */

static const char *const measure_names[] = {"loss", "acc0", "acc1", "acc2", "acc3",
                                            "acc4", "acc5", "acc6", "acc7"};

/* Window i, behind those that are there. */
static int join_window(medusa *m, train_part_kind part, uint64_t i, spec_message *why) {
    train_heads *h = &m->h;
    train_window w = train_heads_window(h, part, i);
    size_t dim = h->info.dim, missing = h->lead - (w.label - w.from);
    float *hidden = m->hidden + m->rows * dim;
    spec_token *labels = m->labels + m->rows;
    memset(hidden, 0, missing * dim * sizeof *hidden);
    for (size_t r = 0; r < missing; r++) labels[r] = TRAIN_IGNORED;
    memcpy(labels + missing, h->label + w.from, (w.n - w.from) * sizeof *labels);
    m->rows += missing + w.n - w.from;
    return train_features_run(h->features, h->token, w.n, w.from, NULL, hidden + missing * dim, why);
}

static int take(void *self, train_part_kind part, uint64_t first, size_t n, spec_message *why) {
    medusa *m = self;
    int err = SPEC_OK;
    m->rows = 0;
    for (size_t i = 0; i < n && !err; i++) err = join_window(m, part, first + i, why);
    return err;
}

static int run(void *self, bool learn, train_measures *measures, spec_message *why) {
    medusa *m = self;
    train_loss loss[MAX_HEADS] = {{0}};
    int err = train_medusa_run(m->model, m->hidden, m->labels, 1, m->rows, learn, loss, why);
    measures->sum[0] += train_medusa_loss(m->model, loss) * (double)loss[0].n;
    measures->weight[0] += (double)loss[0].n;
    for (size_t k = 0; k < m->heads; k++) {
        measures->sum[k + 1] += (double)loss[k].correct;
        measures->weight[k + 1] += (double)loss[k].n;
    }
    return err;
}

/* ---- the tree ------------------------------------------------------------ */

typedef struct ranking {
    size_t ranks;
    double hits[MAX_HEADS * RANKS], labels[MAX_HEADS]; /* (heads, ranks), (heads) */
} ranking;

/* Which rank each head of the file gives to the labels, in the rows that are joined. */
static void rank_labels(const medusa *m, specp_medusa_heads *heads, ranking *k) {
    spec_token token[ROWS * MAX_HEADS * RANKS];
    float prob[ROWS * MAX_HEADS * RANKS];
    size_t dim = m->h.info.dim;
    for (size_t at = 0; at < m->rows; at += ROWS) {
        size_t n = m->rows - at < ROWS ? m->rows - at : ROWS;
        specp_medusa_heads_top(heads, m->hidden + at * dim, n, k->ranks, token, prob);
        for (size_t i = 0; i < n * m->heads; i++) {
            size_t head = i % m->heads, row = at + i / m->heads + 2 + head;
            if (row >= m->rows || m->labels[row] == TRAIN_IGNORED) continue;
            k->labels[head]++;
            for (size_t r = 0; r < k->ranks; r++)
                k->hits[head * k->ranks + r] += token[i * k->ranks + r] == m->labels[row];
        }
    }
}

/* "0/1/00/01", as specp_medusa_tree_parse reads it; the caller's to free, NULL: out of memory. */
static char *tree_text(const specp_medusa_tree *t) {
    size_t n = 1, at = 0;
    for (uint32_t i = 0; i < t->n; i++) n += t->depth[i] + (size_t)1;
    char *text = malloc(n);
    if (!text) return NULL;
    for (uint32_t i = 0; i < t->n; i++) {
        size_t end = at + t->depth[i];
        for (int32_t node = (int32_t)i, k = 1; node >= 0; node = t->parent[node], k++)
            text[end - (size_t)k] = (char)('0' + t->rank[node]);
        text[end] = i + 1 < t->n ? '/' : '\0';
        at = end + 1;
    }
    return text;
}

/* NULL without an error: no label was ever among the ranks. */
static int plant(const medusa *m, ranking *k, char **text, spec_message *why) {
    specp_medusa_tree tree;
    double first = 0;
    for (size_t r = 0; r < k->ranks; r++) first += k->hits[r];
    if (!(first > 0)) return SPEC_OK;
    for (size_t i = 0; i < m->heads * k->ranks; i++)
        if (k->hits[i] > 0) k->hits[i] /= k->labels[i / k->ranks];
    int err = specp_medusa_tree_build(&tree, k->hits, (size_t)m->heads, k->ranks, (size_t)m->nodes, NULL,
                                      NULL, why);
    if (err) return err;
    *text = tree_text(&tree);
    specp_medusa_tree_release(&tree, NULL);
    return *text ? SPEC_OK : SPEC_ERR_NOMEM;
}

/* The best tree for the heads in the file, as held-out requests have it. */
static int calibrate(medusa *m, const char *path, char **text, spec_message *why) {
    const train_heads *h = &m->h;
    const specp_medusa_options o = {.hidden = h->info.dim,
                                    .vocab = h->info.vocab,
                                    .rows = ROWS,
                                    .isa = SPECP_ISA_ALL,
                                    .team = h->run.team};
    ranking k = {.ranks = h->info.vocab < RANKS ? h->info.vocab : RANKS};
    specp_medusa_heads *heads;
    int err = specp_medusa_heads_open(&heads, path, &o, NULL, why);
    if (err) return err;
    for (size_t i = 0; i < train_heads_held(h) && !err; i++) {
        err = take(m, TRAIN_PART_HELD, i, 1, why);
        if (!err) rank_labels(m, heads, &k);
    }
    specp_medusa_heads_free(heads);
    return err ? err : plant(m, &k, text, why);
}

static int keep(void *self, const char *path, spec_message *why) {
    medusa *m = self;
    char *text = NULL;
    int err = train_medusa_save(m->model, path, m->h.format, m->h.export_type, NULL, 0, why);
    if (!err && train_heads_held(&m->h)) err = calibrate(m, path, &text, why);
    const train_meta choices = {.key = "medusa_choices", .kind = SPEC_META_STRING, .s = text};
    if (!err && text)
        err = train_medusa_save(m->model, path, m->h.format, m->h.export_type, &choices, 1, why);
    free(text);
    return err;
}

/* ---- making ready -------------------------------------------------------- */

static int make_model(medusa *m, spec_message *why) {
    const train_heads *h = &m->h;
    const train_medusa_shape shape = {(size_t)m->heads, (size_t)m->layers, h->info.dim, h->info.vocab,
                                      m->lambda};
    m->max_rows = (size_t)(h->run.batch * (h->run.seq + m->heads + 1));
    int err = train_medusa_new(&m->model, &shape, m->max_rows, h->run.team, NULL, why);
    if (err) return err;
    m->hidden = specp_alloc(NULL, m->max_rows * h->info.dim, sizeof *m->hidden);
    m->labels = specp_alloc(NULL, m->max_rows, sizeof *m->labels);
    float *output = specp_alloc(NULL, h->info.vocab * h->info.dim, sizeof *output);
    if (output) {
        train_target_output(h->target, output);
        train_medusa_init(m->model, h->run.seed, output);
    }
    free(output);
    return m->hidden && m->labels && output ? SPEC_OK : SPEC_ERR_NOMEM;
}

static int train(medusa *m) {
    spec_message why = {""};
    int code = train_heads_open(&m->h);
    if (!code) code = train_heads_features(&m->h, (size_t)m->heads + 1, NULL, 0);
    if (code) return code;
    int err = make_model(m, &why);
    if (err) return train_heads_complain(err, &why);
    const train_setting setting[] = {train_setting_number("heads", m->heads),
                                     train_setting_number("layers", m->layers),
                                     train_setting_real("lambda", m->lambda)};
    const train_heads_kind kind = {.name = "medusa",
                                   .params = &m->model->p,
                                   .times = &m->model->times,
                                   .n_measures = (size_t)m->heads + 1,
                                   .measure = measure_names,
                                   .setting = setting,
                                   .n_settings = COUNT(setting),
                                   .take = take,
                                   .run = run,
                                   .keep = keep};
    return train_heads_go(&m->h, &kind, m);
}

static void release(medusa *m) {
    free(m->hidden);
    free(m->labels);
    train_medusa_free(m->model);
    train_heads_release(&m->h);
}

/* ---- the command --------------------------------------------------------- */

static int settle(const cli_command *c, medusa *m) {
    if (!(m->lambda > 0 && m->lambda <= 1))
        return cli_complain(c, "--lambda: expected more than 0, at most 1");
    return train_heads_check(c, &m->h);
}

int train_medusa_command(int argc, char **argv) {
    medusa m = {.h = TRAIN_HEADS_DEFAULTS, .heads = 3, .layers = 1, .nodes = 64, .lambda = 0.8};
    m.h.run.seq = 0;
    const cli_option option[] = {
        {0, "heads", "N", CLI_NUMBER, &m.heads, "tokens they look ahead (default 3)", 1, MAX_HEADS, NULL},
        {0, "layers", "N", CLI_NUMBER, &m.layers, "residual blocks of a head (default 1)", 0,
         SPECP_MEDUSA_MAX_LAYERS, NULL},
        {0, "lambda", "X", CLI_REAL, &m.lambda, "head k's loss counts X^k, k from 1 (default 0.8)", 0, 1,
         NULL},
        {0, "nodes", "N", CLI_NUMBER, &m.nodes,
         "of the tree that the file recommends, made from held-out requests (default 64)", 1,
         SPEC_TREE_MAX_NODES, NULL},
        TRAIN_HEADS_OPTIONS(m.h),
    };
    const cli_command c = {"train medusa",
                           "TRACE...",
                           "Trains Medusa heads for a model on its own answers, as 'specbench run --record'\n"
                           "writes them. The model stays as it is; head k learns which token comes k + 2\n"
                           "behind, from the hidden state that the model has of a token. Held-out requests\n"
                           "also say which tree of drafts is best.",
                           option,
                           COUNT(option),
                           "  specbench run -m en.gguf -p ask.jsonl -d none --temp 1 --record told.jsonl\n"
                           "  specbench train medusa -m en.gguf told.jsonl -o medusa.gguf --type Q8_0\n"
                           "  specbench run -m en.gguf -p ask.jsonl -d medusa:medusa.gguf\n",
                           1,
                           10000,
                           "expected a trace of the model's answers"};
    int rc = cli_parse(&c, argc, argv, &m.h.traces), code = EXIT_USAGE;
    if (rc == CLI_RUN && settle(&c, &m) == CLI_RUN)
        code = train(&m);
    else if (rc == CLI_DONE)
        code = EXIT_DONE;
    release(&m);
    return code;
}
