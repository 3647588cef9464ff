/* SPDX-License-Identifier: MIT */
/*
 * specbench train target: a small model of the llama architecture from text, or one
 * with random weights.
 *
 *     FILE... --vocabulary--> documents --> windows --batch--> train_llama_run
 */
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "model_export.h"
#include "random_shape.h"
#include "train_kinds.h"
#include "train_llama.h"
#include "train_random.h"
#include "train_run.h"
#include "train_text.h"

#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))
#define DEFAULT_SHAPE "dim=256,layers=8,heads=8,kv=4,hidden=512,tied=1"
#define HELD_WINDOWS  64 /* at most so many are validated on */
#define PARTS         (1 + TRAIN_TIMES)

typedef struct target {
    /* options */
    train_run run;
    const char *random, *arch, *type, *shape, *vocab, *control, *name, *license;
    bool no_prefix;
    cli_list text, operands;
    /* made from them */
    train_vocab words;
    train_data *data;
    random_shape sizes;
    spec_type export_type;
    train_llama *model;
    spec_token *token, *goal; /* (batch * seq) */
    const char *part[PARTS];
    uint64_t part_ns[PARTS];
    double part_flop[PARTS];
} target;

/* ---- the task ------------------------------------------------------------ */

static const char *const measure_names[] = {"loss", "accuracy"};

static void add_measures(train_measures *m, const train_loss *l) {
    m->sum[0] += l->sum;
    m->sum[1] += (double)l->correct;
    m->weight[0] += (double)l->n;
    m->weight[1] += (double)l->n;
}

/* Windows first .. first + n - 1. */
static void take_windows(target *t, train_part_kind part, uint64_t first, size_t n) {
    size_t seq = t->run.seq;
    for (size_t i = 0; i < n; i++)
        train_data_window(t->data, part, first + i, t->token + i * seq, t->goal + i * seq);
}

static int run_batch(void *self, uint64_t i, train_measures *m, spec_message *why) {
    target *t = self;
    const train_times *times = &t->model->times;
    train_loss loss = {0};
    uint64_t start = bench_now_ns();
    take_windows(t, TRAIN_PART_LEARN, i * t->run.batch, t->run.batch);
    t->part_ns[0] += bench_now_ns() - start;
    int err = train_llama_run(t->model, t->token, t->goal, t->run.batch, t->run.seq, true, &loss, why);
    memcpy(t->part_ns + 1, times->ns, sizeof times->ns);
    memcpy(t->part_flop + 1, times->flop, sizeof times->flop);
    add_measures(m, &loss);
    return err;
}

static int validate(void *self, train_measures *m, spec_message *why) {
    target *t = self;
    train_times kept = t->model->times; /* of learning alone */
    train_loss loss = {0};
    size_t all = train_data_windows(t->data, TRAIN_PART_HELD), batch = t->run.batch;
    int err = SPEC_OK;
    if (all > HELD_WINDOWS) all = HELD_WINDOWS;
    for (size_t i = 0; i < all && !err; i += batch) {
        size_t n = all - i < batch ? all - i : batch;
        take_windows(t, TRAIN_PART_HELD, i, n);
        err = train_llama_run(t->model, t->token, t->goal, n, t->run.seq, false, &loss, why);
    }
    t->model->times = kept;
    add_measures(m, &loss);
    return err;
}

static int keep(void *self, const char *path, spec_message *why) {
    target *t = self;
    const model_export e = {.model = t->model,
                            .vocab = t->words.file,
                            .spm = t->words.spm.n ? &t->words.spm : NULL,
                            .type = t->export_type,
                            .context = t->sizes.context,
                            .name = t->name,
                            .license = t->license};
    return model_export_write(path, &e, NULL, why);
}

/* ---- making ready -------------------------------------------------------- */

static int complain(int err, const spec_message *why) {
    bench_complain("%s", why->text[0] ? why->text : spec_strerror(err));
    return err == SPEC_ERR_NOMEM ? EXIT_CHECK : EXIT_USAGE;
}

static int read_text(target *t, spec_message *why) {
    const spm_vocab_options words = {.control = t->control, .no_dummy_prefix = t->no_prefix};
    const train_data_options o = {
        .seq = t->run.seq, .seed = t->run.seed, .held_out = (uint32_t)t->run.held_out};
    const cli_list *const lists[] = {&t->text, &t->operands};
    int err = train_vocab_open(&t->words, t->vocab, &words, why);
    if (!err) err = train_data_new(&t->data, &o, NULL, why);
    for (size_t l = 0; l < COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->n && !err; i++)
            err = train_text_add(t->data, &t->words, lists[l]->item[i], why);
    return err;
}

/* Every matrix must be whole blocks of the type: better said now than after the training. */
static int check_type(const target *t, spec_message *why) {
    size_t block = spec_type_block(t->export_type);
    for (size_t i = 0; i < t->model->p.n_views; i++) {
        const train_view *v = &t->model->p.view[i];
        if (v->n_dims == 2 && v->cols % block)
            return specp_fail(why, SPEC_ERR_INVALID,
                              "--type %s: rows of %s have %zu numbers, no multiple of %zu",
                              spec_type_name(t->export_type), v->name, v->cols, block);
    }
    return SPEC_OK;
}

static int make_model(target *t, spec_message *why) {
    const random_shape *z = &t->sizes;
    const train_llama_shape shape = {.vocab = t->words.info.n_tokens,
                                     .dim = z->dim,
                                     .n_layers = z->layers,
                                     .n_heads = z->heads,
                                     .n_kv_heads = z->kv,
                                     .head_dim = z->head_dim,
                                     .n_ff = z->hidden,
                                     .rope_base = 1e4,
                                     .eps = 1e-5f,
                                     .tied = z->tied != 0};
    size_t rows = t->run.batch * t->run.seq;
    int err = train_llama_new(&t->model, &shape, rows, t->run.seq, t->run.team, NULL, why);
    if (err) return err;
    train_llama_init(t->model, t->run.seed);
    t->part[0] = "data";
    memcpy(t->part + 1, train_time_name, sizeof train_time_name);
    t->token = specp_alloc(NULL, rows, sizeof *t->token);
    t->goal = specp_alloc(NULL, rows, sizeof *t->goal);
    return t->token && t->goal ? check_type(t, why) : SPEC_ERR_NOMEM;
}

static void describe(const target *t) {
    if (t->run.quiet) return;
    printf("%s documents with %s tokens, %s held out; %s parameters, %s steps of %s tokens, %u threads\n",
           fmt_count(train_data_documents(t->data, TRAIN_PART_LEARN)).text,
           fmt_count(train_data_tokens(t->data, TRAIN_PART_LEARN)).text,
           fmt_count(train_data_documents(t->data, TRAIN_PART_HELD)).text, fmt_count(t->model->p.n).text,
           fmt_count(t->run.steps).text, fmt_count(t->run.accum * t->run.batch * t->run.seq).text,
           (unsigned)t->run.threads);
}

static int train_on_text(target *t) {
    spec_message why = {""};
    int err = read_text(t, &why);
    if (err) return complain(err, &why);
    int code = train_run_plan(&t->run, train_data_windows(t->data, TRAIN_PART_LEARN));
    if (code) return code;
    err = make_model(t, &why);
    if (err) return complain(err, &why);
    describe(t);
    const random_shape *z = &t->sizes;
    const train_setting setting[] = {{"kind", "target"},
                                     train_setting_number("data", train_data_hash(t->data)),
                                     train_setting_number("vocabulary", t->words.info.hash),
                                     train_setting_number("dim", z->dim),
                                     train_setting_number("layers", z->layers),
                                     train_setting_number("heads", z->heads),
                                     train_setting_number("kv", z->kv),
                                     train_setting_number("head_dim", z->head_dim),
                                     train_setting_number("hidden", z->hidden),
                                     train_setting_number("tied", z->tied)};
    bool held = train_data_windows(t->data, TRAIN_PART_HELD) > 0;
    const train_task task = {.self = t,
                             .params = &t->model->p,
                             .n_measures = COUNT(measure_names),
                             .measure = measure_names,
                             .n_parts = PARTS,
                             .part = t->part,
                             .part_ns = t->part_ns,
                             .part_flop = t->part_flop,
                             .batch = run_batch,
                             .validate = held ? validate : NULL};
    const train_kind kind = {"target", setting, COUNT(setting), keep};
    return train_run_go(&t->run, &task, &kind);
}

static void release(target *t) {
    free(t->token);
    free(t->goal);
    train_llama_free(t->model);
    train_data_free(t->data);
    train_vocab_close(&t->words);
    train_run_release(&t->run);
    cli_list_free(&t->text);
    cli_list_free(&t->operands);
}

/* ---- the command --------------------------------------------------------- */

static int check_shape(const cli_command *c, target *t) {
    const random_arch *arch;
    spec_message why = {""};
    if (t->arch) return cli_complain(c, "--arch goes with --random: what is trained is a llama");
    if (random_shape_parse(&t->sizes, &arch, t->shape, "llama", &why)) return cli_complain(c, "%s", why.text);
    if (t->sizes.experts || t->sizes.window || strstr(t->shape, "vocab="))
        return cli_complain(c, "--shape: what is trained has no experts= and window=, and its vocab= is that "
                               "of --vocab");
    if (!strstr(t->shape, "context=")) t->sizes.context = t->run.seq;
    if (spec_type_find(t->type ? t->type : "F32", &t->export_type) || t->export_type > SPEC_TYPE_Q6_K)
        return cli_complain(c,
                            "--type: expected one of F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, "
                            "found '%s'",
                            t->type);
    return CLI_RUN;
}

/* What is written must not be what is read. */
static int check_inputs(const cli_command *c, const target *t) {
    const char *const option[] = {"-o", "--checkpoint", "--log"};
    const char *const output[] = {t->run.output, t->run.checkpoint, t->run.log};
    for (size_t i = 0; i < COUNT(output); i++)
        if (cli_check_output(c, option[i], output[i], t->text.item, t->text.n) != CLI_RUN ||
            cli_check_output(c, option[i], output[i], t->operands.item, t->operands.n) != CLI_RUN ||
            cli_check_output(c, option[i], output[i], &t->vocab, 1) != CLI_RUN)
            return CLI_BAD;
    return CLI_RUN;
}

static int settle(const cli_command *c, target *t) {
    if (!t->random && !t->text.n)
        return cli_complain(c, "expected --text FILE..., to train on, or --random SHAPE, for example "
                               "--random 110M");
    if (t->random && (t->text.n || t->operands.n))
        return cli_complain(c, "expected --text or --random, not both");
    if (!t->vocab) return cli_complain(c, "expected --vocab FILE, of the text's tokens");
    if (check_inputs(c, t) != CLI_RUN) return CLI_BAD;
    if (check_shape(c, t) != CLI_RUN) return CLI_BAD;
    return train_run_check(c, &t->run);
}

static int make_random(const cli_command *c, target *t) {
    train_random r = {.model = {.shape = t->random,
                                .arch = t->arch,
                                .type = t->type,
                                .seed = t->run.seed,
                                .threads = (unsigned)t->run.threads},
                      .output = t->run.output,
                      .quiet = t->run.quiet};
    return train_random_check(c, &r) == CLI_RUN ? train_random_go(&r) : EXIT_USAGE;
}

int train_target(int argc, char **argv) {
    target t = {.run = TRAIN_RUN_DEFAULTS, .shape = DEFAULT_SHAPE};
    const cli_option option[] = {
        {0, "text", "FILE", CLI_LIST, &t.text,
         "what to train on; further files may follow. Documents are separated by lines " TRAIN_TEXT_SEPARATOR,
         0, 0, NULL},
        {0, "vocab", "FILE", CLI_TEXT, &t.vocab,
         "a GGUF file with a vocabulary, or a .vocab of spm_train (BPE)", 0, 0, NULL},
        {0, "shape", "SHAPE", CLI_TEXT, &t.shape, "as for --random (default " DEFAULT_SHAPE ")", 0, 0, NULL},
        {0, "type", "TYPE", CLI_TEXT, &t.type,
         "of the weights in the file: " RANDOM_MODEL_TYPES " (default F32)", 0, 0, NULL},
        TRAIN_RUN_OPTIONS(t.run),
        {0, "name", "TEXT", CLI_TEXT, &t.name, "general.name of the file", 0, 0, NULL},
        {0, "license", "SPDX", CLI_TEXT, &t.license, "general.license of the file", 0, 0, NULL},
        {0, "control", "LIST", CLI_TEXT, &t.control, "of a .vocab: what spm_train had as --control_symbols",
         0, 0, NULL},
        {0, "no-dummy-prefix", NULL, CLI_FLAG, &t.no_prefix,
         "of a .vocab: spm_train had --add_dummy_prefix=false", 0, 0, NULL},
        {0, "random", "SHAPE", CLI_TEXT, &t.random,
         "no training: a name (" RANDOM_MODEL_SHAPES
         "), or a list of dim=, layers=, heads=, kv=, head_dim=, hidden=, vocab=, "
         "context=, experts=, used=, window=, tied=0|1, or a name and what is to be changed. Takes --type, "
         "--arch, --seed, --threads",
         0, 0, NULL},
        {0, "arch", "NAME", CLI_TEXT, &t.arch, "of --random: " RANDOM_MODEL_ARCHS " (default llama)", 0, 0,
         NULL},
    };
    const cli_command c = {
        "train target",
        "[FILE...]",
        "Trains a small target model of the llama architecture on text, and writes it as\n"
        "GGUF. It may be interrupted at any moment, and goes on with the same bits.\n"
        "With --random it makes one with random weights, with a vocabulary of its own so\n"
        "that text tokenises: to measure speed, which does not depend on what the weights\n"
        "are, and to check that speculation changes nothing, which must hold for any.\n"
        "Values of a shape that are not given are those of 'tiny'.",
        option,
        COUNT(option),
        "  specbench train target --text a.txt b.txt --vocab en.vocab -o en.gguf\n"
        "  specbench train target --random tiny -o tiny.gguf\n"
        "  specbench train target --random 1.1B --type Q8_0 -o 1b-q8.gguf\n"
        "  specbench train target --random 110M,layers=2 --arch qwen3 -o q.gguf\n",
        0,
        10000,
        NULL};
    int rc = cli_parse(&c, argc, argv, &t.operands), code = EXIT_USAGE;
    if (rc == CLI_RUN && t.random && !t.text.n && !t.operands.n)
        code = make_random(&c, &t);
    else if (rc == CLI_RUN && settle(&c, &t) == CLI_RUN)
        code = train_on_text(&t);
    else if (rc == CLI_DONE)
        code = EXIT_DONE;
    release(&t);
    return code;
}
