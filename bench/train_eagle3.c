/* SPDX-License-Identifier: MIT */
/*
 * specbench train eagle3: an EAGLE-3 head for a target, from what it answered.
 *
 * A window is a sequence of the head's own, from the request's beginning on or from the last tokens of its
 * prompt on; a micro-batch is as long as its longest one, and zeros follow the others. What the
 * target says after the tokens before a label is to be learnt:
 *
 *     token   | a b c d e f . . |     labels d e f
 *     mask    | 0 1 1 1 0 0 0 0 |     row r: whether what comes after token r + 1 is a label
 */
#include <stdlib.h>
#include <string.h>

#include "eagle3_head.h"
#include "train_eagle3.h"
#include "train_heads.h"
#include "train_kinds.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define MAX_STEPS   12
#define DRAFT_VOCAB 32000

typedef struct eagle3 {
    train_heads h;
    const char *tap_list;
    uint64_t draft_vocab, steps, prompt, heads, kv_heads, head_dim, ff;
    double decay;
    int32_t layer[TRAIN_FEATURES_MAX_TAPS]; /* (n_taps) whose input is tapped */
    size_t n_taps;
    train_eagle3 *model;
    float *embedding, *output; /* (vocab, dim) the target's */
    float *taps, *hidden;      /* (batch * seq, n_taps * dim), (batch * seq, dim) */
    spec_token *tokens;        /* (batch * seq) */
    uint8_t *mask;             /* (batch * seq) */
    train_eagle3_batch batch;
} eagle3;

/* ---- the task ------------------------------------------------------------ */

static const char *const measure_names[] = {"loss", "loss_least", "acc0", "acc1", "acc2", "acc3",  "acc4",
                                            "acc5", "acc6",       "acc7", "acc8", "acc9", "acc10", "acc11"};

/* Window i as sequence `at` of sequences of h.run.seq. */
static int take_window(eagle3 *e, train_part_kind part, uint64_t i, size_t at, spec_message *why) {
    train_heads *h = &e->h;
    train_window w = train_heads_window(h, part, i);
    size_t seq = (size_t)h->run.seq, rows = w.n - w.from, dim = h->info.dim, width = e->n_taps * dim;
    float *taps = e->taps + at * seq * width, *hidden = e->hidden + at * seq * dim;
    for (size_t r = 0; r < seq; r++) {
        e->tokens[at * seq + r] = r < rows ? h->token[w.from + r] : 0;
        e->mask[at * seq + r] = w.from + r + 2 >= w.label && r + 2 < rows;
    }
    memset(taps + rows * width, 0, (seq - rows) * width * sizeof *taps);
    memset(hidden + rows * dim, 0, (seq - rows) * dim * sizeof *hidden);
    if (rows > e->batch.seq) e->batch.seq = rows;
    return train_features_run(h->features, h->token, w.n, w.from, taps, hidden, why);
}

/* Sequences move together, to the length of the longest. */
static void shorten(eagle3 *e) {
    size_t from = (size_t)e->h.run.seq, to = e->batch.seq, dim = e->h.info.dim, width = e->n_taps * dim;
    for (size_t s = 1; s < e->batch.n_seqs && to < from; s++) {
        memmove(e->tokens + s * to, e->tokens + s * from, to * sizeof *e->tokens);
        memmove(e->mask + s * to, e->mask + s * from, to * sizeof *e->mask);
        memmove(e->taps + s * to * width, e->taps + s * from * width, to * width * sizeof *e->taps);
        memmove(e->hidden + s * to * dim, e->hidden + s * from * dim, to * dim * sizeof *e->hidden);
    }
}

static int take(void *self, train_part_kind part, uint64_t first, size_t n, spec_message *why) {
    eagle3 *e = self;
    int err = SPEC_OK;
    e->batch.n_seqs = n;
    e->batch.seq = 0;
    for (size_t i = 0; i < n && !err; i++) err = take_window(e, part, first + i, i, why);
    shorten(e);
    return err;
}

/* Losses are told for each target, not for each row: rows are a matter of the prompts' lengths. */
static int run(void *self, bool learn, train_measures *measures, spec_message *why) {
    eagle3 *e = self;
    train_eagle3_sums sums = {0};
    double weight = 1.0, *sum = measures->sum;
    int err = train_eagle3_run(e->model, &e->batch, learn, &sums, why);
    for (size_t j = 0; j < e->steps; j++, weight *= e->decay) {
        sum[0] += weight * sums.step[j].sum;
        sum[1] += weight * sums.step[j].entropy;
        sum[2 + j] += (double)sums.step[j].correct;
        measures->weight[2 + j] += (double)sums.step[j].rows;
    }
    measures->weight[0] += (double)sums.step[0].rows;
    measures->weight[1] += (double)sums.step[0].rows;
    return err;
}

static int keep(void *self, const char *path, spec_message *why) {
    const eagle3 *e = self;
    return train_eagle3_save(e->model, path, e->h.format, e->h.export_type, e->layer, NULL, 0, why);
}

/* ---- making ready -------------------------------------------------------- */

/* The paper's layers, or for a model with few one that is low, one in the middle, one high. */
static void default_taps(eagle3 *e, size_t layers) {
    bool many = layers >= 12;
    const size_t wanted[] = {many ? 2 : layers / 4, layers / 2, many ? layers - 3 : layers - 1};
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (!e->n_taps || e->layer[e->n_taps - 1] < (int32_t)wanted[i])
            e->layer[e->n_taps++] = (int32_t)wanted[i];
}

static int read_taps(eagle3 *e, size_t layers, spec_message *why) {
    const char *at = e->tap_list;
    if (!at) {
        default_taps(e, layers);
        return SPEC_OK;
    }
    for (;; at++) {
        char *end;
        unsigned long layer = strtoul(at, &end, 10);
        bool digit = *at >= '0' && *at <= '9';
        if (!digit || layer > layers || e->n_taps == COUNT(e->layer) || (*end && *end != ','))
            return specp_fail(
                why, SPEC_ERR_INVALID,
                "--taps: expected at most %zu numbers of layers, 0 to %zu, with commas between, "
                "found '%s'",
                COUNT(e->layer), layers, e->tap_list);
        e->layer[e->n_taps++] = (int32_t)layer;
        at = end;
        if (!*end) return SPEC_OK;
    }
}

static int make_features(eagle3 *e) {
    int32_t after[TRAIN_FEATURES_MAX_TAPS];
    for (size_t i = 0; i < e->n_taps; i++) after[i] = e->layer[i] ? e->layer[i] - 1 : -2;
    return train_heads_features(&e->h, (size_t)e->prompt, after, e->n_taps);
}

static int make_buffers(eagle3 *e) {
    const train_heads *h = &e->h;
    size_t rows = (size_t)(h->run.batch * h->run.seq), dim = h->info.dim, vocab = h->info.vocab;
    e->taps = specp_alloc(NULL, rows * e->n_taps * dim, sizeof *e->taps);
    e->hidden = specp_alloc(NULL, rows * dim, sizeof *e->hidden);
    e->tokens = specp_alloc(NULL, rows, sizeof *e->tokens);
    e->mask = specp_alloc(NULL, rows, sizeof *e->mask);
    e->embedding = specp_alloc(NULL, vocab * dim, sizeof *e->embedding);
    e->output = specp_alloc(NULL, vocab * dim, sizeof *e->output);
    if (!e->taps || !e->hidden || !e->tokens || !e->mask || !e->embedding || !e->output)
        return SPEC_ERR_NOMEM;
    train_target_embedding(h->target, e->embedding);
    train_target_output(h->target, e->output);
    e->batch = (train_eagle3_batch){
        .tokens = e->tokens, .taps = e->taps, .mask = e->mask, .hidden = e->hidden, .output = e->output};
    return SPEC_OK;
}

static train_eagle3_shape shape_of(const eagle3 *e) {
    const spec_target_info *i = &e->h.info;
    size_t heads = e->heads ? (size_t)e->heads : i->n_heads;
    return (train_eagle3_shape){.dim = i->dim,
                                .vocab = i->vocab,
                                .n_taps = e->n_taps,
                                .draft_vocab = (size_t)e->draft_vocab,
                                .n_heads = heads,
                                .n_kv_heads = e->kv_heads ? (size_t)e->kv_heads
                                              : e->heads  ? heads
                                                          : i->n_kv_heads,
                                .head_dim = e->head_dim ? (size_t)e->head_dim : i->head_dim,
                                .n_ff = e->ff ? (size_t)e->ff : i->n_ff,
                                .steps = (size_t)e->steps,
                                .decay = e->decay,
                                .rope_base = 1e4,
                                .eps = 1e-6f};
}

/* What the target does not allow. */
static int check_target(eagle3 *e, spec_message *why) {
    const train_heads *h = &e->h;
    size_t vocab = h->info.vocab;
    if (!train_target_plain_logits(h->target))
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "%s: its logits are capped, and no head learns those",
                          h->model.path);
    if (!e->draft_vocab) e->draft_vocab = vocab < DRAFT_VOCAB ? vocab : DRAFT_VOCAB;
    if (e->draft_vocab > vocab)
        return specp_fail(why, SPEC_ERR_INVALID, "--draft-vocab %llu: the target has %zu tokens",
                          (unsigned long long)e->draft_vocab, vocab);
    return read_taps(e, h->info.n_layers, why);
}

static int make_model(eagle3 *e, spec_message *why) {
    const train_heads *h = &e->h;
    size_t vocab = h->info.vocab, seq = (size_t)h->run.seq;
    int err = make_buffers(e);
    if (err) return err;
    train_eagle3_shape shape = shape_of(e);
    spec_token *kept = specp_alloc(NULL, shape.draft_vocab, sizeof *kept);
    if (!kept) return SPEC_ERR_NOMEM;
    train_draft_vocab(h->count, vocab, shape.draft_vocab, kept);
    err = train_eagle3_new(&e->model, &shape, kept, e->embedding, (size_t)h->run.batch * seq, seq,
                           h->run.team, NULL, why);
    free(kept);
    if (!err) train_eagle3_init(e->model, h->run.seed, e->output);
    return err;
}

static train_setting taps_setting(const eagle3 *e) {
    train_setting s = {.name = "taps"};
    size_t at = 0;
    for (size_t i = 0; i < e->n_taps && at < sizeof s.value; i++)
        at += (size_t)snprintf(s.value + at, sizeof s.value - at, "%s%d", i ? "," : "", (int)e->layer[i]);
    return s;
}

/* The share of tokens in responses that the head can draft at all. */
static void describe_vocab(const eagle3 *e) {
    const train_heads *h = &e->h;
    double all = 0, kept = 0;
    for (size_t i = 0; i < h->info.vocab; i++) {
        all += (double)h->count[i];
        if (e->model->t2d[i]) kept += (double)h->count[i];
    }
    printf("drafts %zu of %zu tokens, %.2f%% of the responses; reads the input of layers %s\n",
           e->model->shape.draft_vocab, h->info.vocab, 100.0 * kept / all, taps_setting(e).value);
}

static int train(eagle3 *e) {
    spec_message why = {""};
    int code = train_heads_open(&e->h);
    if (code) return code;
    int err = check_target(e, &why);
    if (err) return train_heads_complain(err, &why);
    code = make_features(e);
    if (code) return code;
    err = make_model(e, &why);
    if (err) return train_heads_complain(err, &why);
    if (!e->h.run.quiet) describe_vocab(e);
    const train_eagle3_shape *s = &e->model->shape;
    const train_setting setting[] = {taps_setting(e),
                                     train_setting_number("prompt", e->prompt),
                                     train_setting_number("draft-vocab", s->draft_vocab),
                                     train_setting_number("ttt-steps", s->steps),
                                     train_setting_real("decay", s->decay),
                                     train_setting_number("heads", s->n_heads),
                                     train_setting_number("kv-heads", s->n_kv_heads),
                                     train_setting_number("head-dim", s->head_dim),
                                     train_setting_number("ff", s->n_ff)};
    const train_heads_kind kind = {.name = "eagle3",
                                   .params = &e->model->p,
                                   .times = &e->model->times,
                                   .n_measures = 2 + (size_t)e->steps,
                                   .measure = measure_names,
                                   .setting = setting,
                                   .n_settings = COUNT(setting),
                                   .take = take,
                                   .run = run,
                                   .keep = keep};
    return train_heads_go(&e->h, &kind, e);
}

static void release(eagle3 *e) {
    free(e->taps);
    free(e->hidden);
    free(e->tokens);
    free(e->mask);
    train_eagle3_free(e->model);
    free(e->embedding);
    free(e->output);
    train_heads_release(&e->h);
}

/* ---- the command --------------------------------------------------------- */

static int settle(const cli_command *c, eagle3 *e) {
    if (!(e->decay > 0 && e->decay <= 1)) return cli_complain(c, "--decay: expected more than 0, at most 1");
    return train_heads_check(c, &e->h);
}

int train_eagle3_command(int argc, char **argv) {
    eagle3 e = {.h = TRAIN_HEADS_DEFAULTS,
                .steps = TRAIN_EAGLE3_STEPS,
                .prompt = INT32_MAX,
                .decay = TRAIN_EAGLE3_DECAY};
    e.h.run.seq = 0;
    const cli_option option[] = {
        {0, "taps", "LIST", CLI_TEXT, &e.tap_list,
         "layers of the model whose input the head reads (default: of L layers 2,L/2,L-3; of fewer than 12 "
         "L/4,L/2,L-1)",
         0, 0, NULL},
        {0, "draft-vocab", "N", CLI_NUMBER, &e.draft_vocab,
         "only the N tokens most frequent in the responses can be drafted (default: all, at most 32000)", 1,
         INT32_MAX, NULL},
        {0, "ttt-steps", "N", CLI_NUMBER, &e.steps, "steps that the head runs on its own output (default 7)",
         1, MAX_STEPS, NULL},
        {0, "prompt", "N", CLI_NUMBER, &e.prompt,
         "tokens of a prompt, the last ones, that the head sees: fewer are faster (default: all)", 2,
         INT32_MAX, NULL},
        {0, "decay", "X", CLI_REAL, &e.decay, "step j's loss counts X^j, j from 0 (default 0.8)", 0, 1, NULL},
        {0, "ff", "N", CLI_NUMBER, &e.ff, "of the feed-forward part (default: as in the model)", 1, 1 << 20,
         NULL},
        {0, "heads", "N", CLI_NUMBER, &e.heads, "of attention (default: as in the model)", 1, 1024, NULL},
        {0, "kv-heads", "N", CLI_NUMBER, &e.kv_heads, "likewise; with --heads as many", 1, 1024, NULL},
        {0, "head-dim", "N", CLI_NUMBER, &e.head_dim, "likewise", 2, 4096, NULL},
        TRAIN_HEADS_OPTIONS(e.h),
    };
    const cli_command c = {
        "train eagle3",
        "TRACE...",
        "Trains an EAGLE-3 head for a model on its own answers, as written by\n"
        "'specbench run --record'. The model stays as it is. The head reads hidden states\n"
        "of some of its layers, and learns what the model says, running on its own output\n"
        "as it will when it drafts.",
        option,
        COUNT(option),
        "  specbench run -m en.gguf -p ask.jsonl -d none --temp 1 --record told.jsonl\n"
        "  specbench train eagle3 -m en.gguf told.jsonl -o eagle3.gguf --type Q8_0\n"
        "  specbench run -m en.gguf -p ask.jsonl -d eagle3:eagle3.gguf\n",
        1,
        10000,
        "expected a trace of the model's answers"};
    int rc = cli_parse(&c, argc, argv, &e.h.traces), code = EXIT_USAGE;
    if (rc == CLI_RUN && settle(&c, &e) == CLI_RUN)
        code = train(&e);
    else if (rc == CLI_DONE)
        code = EXIT_DONE;
    release(&e);
    return code;
}
