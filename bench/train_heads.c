/* SPDX-License-Identifier: MIT */
/*
 * A frozen target and recorded requests. A request is one window, from its beginning on,
 * so that the target sees what it saw when it answered; a longer one is cut. Then every window's labels
 * are its response, and the last one's row is in the window too.
 */
#include "train_heads.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "trace.h"

#define DEFAULT_SEQ  1024
#define HELD_WINDOWS 64

int train_heads_complain(int err, const spec_message *why) {
    bench_complain("%s", why->text[0] ? why->text : spec_strerror(err));
    return err == SPEC_ERR_NOMEM ? EXIT_CHECK : EXIT_USAGE;
}

/* ---- options ------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int check_format(const cli_command *c, train_heads *h) {
    bool gguf = ends_with(h->run.output, ".gguf");
    if (!gguf && !ends_with(h->run.output, ".safetensors"))
        return cli_complain(c, "-o: expected a name with .gguf or .safetensors at its end, found %s",
                            h->run.output);
    h->format = gguf ? SPEC_FORMAT_GGUF : SPEC_FORMAT_SAFETENSORS;
    const char *type = h->type ? h->type : "F16";
    if (spec_type_find(type, &h->export_type) || h->export_type > SPEC_TYPE_Q6_K)
        return cli_complain(c,
                            "--type: expected one of F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, "
                            "found '%s'",
                            type);
    if (!gguf && spec_type_block(h->export_type) > 1)
        return cli_complain(c, "--type %s: only a .gguf can have it, not %s", type, h->run.output);
    return CLI_RUN;
}

/* What is written must not be what is read. */
static int check_inputs(const cli_command *c, const train_heads *h) {
    const char *const option[] = {"-o", "--checkpoint", "--log", "--dump"};
    const char *const output[] = {h->run.output, h->run.checkpoint, h->run.log, h->dump};
    for (size_t i = 0; i < 4; i++)
        if (cli_check_output(c, option[i], output[i], h->traces.item, h->traces.n) != CLI_RUN ||
            cli_check_output(c, option[i], output[i], &h->model.path, 1) != CLI_RUN)
            return CLI_BAD;
    return CLI_RUN;
}

int train_heads_check(const cli_command *c, train_heads *h) {
    if (!h->run.output) return cli_complain(c, "expected -o FILE, what to write");
    if (check_format(c, h) != CLI_RUN || check_inputs(c, h) != CLI_RUN) return CLI_BAD;
    if (train_run_check(c, &h->run) != CLI_RUN) return CLI_BAD;
    const char *const outputs[] = {h->run.output, h->run.checkpoint, h->run.log};
    if (cli_check_output(c, "--dump", h->dump, outputs, 3) != CLI_RUN) return CLI_BAD;
    h->model.threads = h->run.threads;
    return model_options_check(c, &h->model);
}

/* ---- traces -------------------------------------------------------------- */

static int check_tokens(const train_heads *h, const char *path, size_t i, const spec_token *token, size_t n,
                        spec_message *why) {
    for (size_t k = 0; k < n; k++)
        if (token[k] < 0 || (size_t)token[k] >= h->info.vocab)
            return specp_fail(
                why, SPEC_ERR_INVALID,
                "%s: request %zu has token %d, of another model's vocabulary: %s has %zu tokens", path, i + 1,
                (int)token[k], h->model.path, h->info.vocab);
    return SPEC_OK;
}

/* Head 0 reads the token two before a label, so the first two tokens are none. */
static int add_request(train_heads *h, const trace_request *q, spec_token *both) {
    size_t n = q->n_prompt + q->n_response, from = q->n_prompt < 2 ? 2 : q->n_prompt;
    if (n > h->run.seq) {
        n = (size_t)h->run.seq;
        h->n_cut++;
    }
    if (n <= from) {
        h->n_short++;
        return SPEC_OK;
    }
    size_t prompt = q->n_prompt < n ? q->n_prompt : n;
    memcpy(both, q->prompt, prompt * sizeof *both);
    memcpy(both + prompt, q->response, (n - prompt) * sizeof *both);
    for (size_t i = from; i < n; i++) h->count[both[i]]++;
    return train_data_add(h->data, both, n, from);
}

static int read_trace(train_heads *h, const char *path, spec_token *both, spec_message *why) {
    trace t = {0};
    int err = trace_load(&t, path, h->skip_bad, why);
    if (err) return err;
    for (size_t i = 0; i < t.n && !err; i++) {
        const trace_request *q = &t.req[i];
        err = check_tokens(h, path, i, q->prompt, q->n_prompt, why);
        if (!err) err = check_tokens(h, path, i, q->response, q->n_response, why);
        if (!err) err = add_request(h, q, both);
    }
    if (t.n_bad) bench_complain("%s: %zu faulty lines left out, the first: %s", path, t.n_bad, t.first_bad);
    trace_free(&t);
    return err;
}

static int read_traces(train_heads *h, spec_message *why) {
    size_t seq = (size_t)h->run.seq;
    const train_data_options o = {
        .seq = seq, .seed = h->run.seed, .held_out = (uint32_t)h->run.held_out, .apart = true};
    int err = train_data_new(&h->data, &o, NULL, why);
    if (err) return err;
    h->token = specp_alloc(NULL, seq, sizeof *h->token);
    h->label = specp_alloc(NULL, seq, sizeof *h->label);
    h->count = specp_calloc(NULL, h->info.vocab, sizeof *h->count);
    if (!h->token || !h->label || !h->count) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < h->traces.n && !err; i++) err = read_trace(h, h->traces.item[i], h->token, why);
    return err;
}

static int settle_seq(train_heads *h) {
    uint64_t context = h->info.context;
    if (!h->run.seq) h->run.seq = context < DEFAULT_SEQ ? context : DEFAULT_SEQ;
    if (h->run.seq <= context) return EXIT_DONE;
    bench_complain("--seq %llu: %s has a context of %llu tokens", (unsigned long long)h->run.seq,
                   h->model.path, (unsigned long long)context);
    return EXIT_USAGE;
}

int train_heads_open(train_heads *h) {
    spec_message why = {""};
    int code = model_open(&h->target, &h->model, h->run.quiet);
    if (code) return code;
    h->info.size = sizeof h->info;
    spec_target_get_info(h->target, &h->info);
    code = settle_seq(h);
    if (code) return code;
    h->target_hash = train_target_hash(h->target);
    int err = read_traces(h, &why);
    if (err) return train_heads_complain(err, &why);
    return train_run_plan(&h->run, train_data_windows(h->data, TRAIN_PART_LEARN));
}

void train_heads_release(train_heads *h) {
    free(h->token);
    free(h->label);
    free(h->count);
    train_features_free(h->features);
    train_data_free(h->data);
    spec_target_free(h->target);
    train_run_release(&h->run);
    cli_list_free(&h->traces);
}

/* ---- windows ------------------------------------------------------------- */

train_window train_heads_window(train_heads *h, train_part_kind part, uint64_t i) {
    size_t seq = (size_t)h->run.seq;
    train_window w = {.n = 0};
    train_data_window(h->data, part, i, h->token, h->label);
    for (size_t r = seq; r-- > 1;) { /* from what follows a row to the row itself */
        h->label[r] = h->label[r - 1];
        if (h->label[r] == TRAIN_IGNORED) continue;
        if (!w.n) w.n = r + 1;
        w.label = r;
    }
    h->label[0] = TRAIN_IGNORED;
    w.from = w.label > h->lead ? w.label - h->lead : 0;
    return w;
}

size_t train_heads_held(const train_heads *h) {
    size_t n = train_data_windows(h->data, TRAIN_PART_HELD);
    return n < HELD_WINDOWS ? n : HELD_WINDOWS;
}

/* ---- features ------------------------------------------------------------ */

typedef struct dumping {
    train_heads *h;
    size_t held, all;
    bench_line line;
} dumping;

/* First those that are asked for again and again. */
static size_t window_to_dump(void *user, size_t i, const spec_token **tokens, size_t *first) {
    dumping *d = user;
    train_part_kind part = i < d->held ? TRAIN_PART_HELD : TRAIN_PART_LEARN;
    train_window w = train_heads_window(d->h, part, i < d->held ? i : i - d->held);
    bench_line_print(&d->line, "%.50s: window %zu of %zu", d->h->dump, i + 1, d->all);
    *tokens = d->h->token;
    *first = w.from;
    return w.n;
}

static int use_dump(train_heads *h, spec_message *why) {
    dumping d = {.h = h, .held = train_heads_held(h), .line = {.wanted = !h->run.quiet}};
    d.all = d.held + train_data_windows(h->data, TRAIN_PART_LEARN);
    const uint64_t of[] = {train_data_hash(h->data), h->run.seq, h->lead};
    const train_dump_source source = {.n = d.all,
                                      .window = window_to_dump,
                                      .user = &d,
                                      .data = specp_mix64(specp_mix64(of[0] + of[1]) + of[2]),
                                      .limit = h->dump_limit * 1000000};
    int err = SPEC_OK;
    if (access(h->dump, F_OK) != 0) err = train_features_dump(h->features, h->dump, &source, why);
    bench_line_clear(&d.line);
    return err ? err : train_features_use(h->features, h->dump, source.data, why);
}

int train_heads_features(train_heads *h, size_t lead, const int32_t *tap, size_t n_taps) {
    const train_features_options o = {(size_t)h->run.seq, n_taps, tap};
    spec_message why = {""};
    h->lead = lead;
    int err = train_features_new(&h->features, h->target, &o, NULL, &why);
    if (!err && h->dump) err = use_dump(h, &why);
    return err ? train_heads_complain(err, &why) : EXIT_DONE;
}

/* ---- the task ------------------------------------------------------------ */

static int run_batch(void *self, uint64_t i, train_measures *m, spec_message *why) {
    train_heads *h = self;
    const train_heads_kind *k = h->kind;
    uint64_t start = bench_now_ns();
    int err = k->take(h->self, TRAIN_PART_LEARN, i * h->run.batch, (size_t)h->run.batch, why);
    h->part_ns[0] += bench_now_ns() - start;
    if (!err) err = k->run(h->self, true, m, why);
    memcpy(h->part_ns + 1, k->times->ns, sizeof k->times->ns);
    memcpy(h->part_flop + 1, k->times->flop, sizeof k->times->flop);
    return err;
}

static int validate(void *self, train_measures *m, spec_message *why) {
    train_heads *h = self;
    const train_heads_kind *k = h->kind;
    train_times kept = *k->times; /* of learning alone */
    size_t all = train_heads_held(h), batch = (size_t)h->run.batch;
    int err = SPEC_OK;
    for (size_t i = 0; i < all && !err; i += batch) {
        err = k->take(h->self, TRAIN_PART_HELD, i, all - i < batch ? all - i : batch, why);
        if (!err) err = k->run(h->self, false, m, why);
    }
    *k->times = kept;
    return err;
}

static int keep(void *self, const char *path, spec_message *why) {
    const train_heads *h = self;
    return h->kind->keep(h->self, path, why);
}

/* ---- a run --------------------------------------------------------------- */

/* Better said now than after the training. */
static int check_type(const train_heads *h, const train_params *p) {
    size_t block = spec_type_block(h->export_type);
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        if (v->n_dims == 2 && v->cols % block) {
            bench_complain("--type %s: rows of %s have %zu numbers, no multiple of %zu",
                           spec_type_name(h->export_type), v->name, v->cols, block);
            return EXIT_USAGE;
        }
    }
    return EXIT_DONE;
}

/* The target on its own output, held out: no draft of its next token can do better on average. */
static int describe_target(train_heads *h) {
    train_loss loss = {0};
    spec_message why = {""};
    int err = SPEC_OK;
    for (size_t i = 0; i < train_heads_held(h) && !err; i++) {
        size_t n = train_heads_window(h, TRAIN_PART_HELD, i).n;
        memmove(h->label, h->label + 1, (n - 1) * sizeof *h->label); /* what follows a row, again */
        err = train_features_loss(h->features, h->token, h->label, n - 1, &loss, &why);
    }
    if (err) return train_heads_complain(err, &why);
    printf("the target itself, on what is held out: loss %.4f, accuracy %.1f%%\n", loss.sum / (double)loss.n,
           100.0 * (double)loss.correct / (double)loss.n);
    return EXIT_DONE;
}

static int describe(train_heads *h, const train_params *p) {
    if (h->run.quiet) return EXIT_DONE;
    printf("%s requests with %s tokens, %s held out; %s parameters, %s steps of %s windows, %u threads\n",
           fmt_count(train_data_documents(h->data, TRAIN_PART_LEARN)).text,
           fmt_count(train_data_tokens(h->data, TRAIN_PART_LEARN)).text,
           fmt_count(train_data_documents(h->data, TRAIN_PART_HELD)).text, fmt_count(p->n).text,
           fmt_count(h->run.steps).text, fmt_count(h->run.accum * h->run.batch).text,
           (unsigned)h->run.threads);
    if (h->n_cut || h->n_short)
        printf("%zu requests longer than %llu tokens were cut, %zu without a response to learn left out\n",
               h->n_cut, (unsigned long long)h->run.seq, h->n_short);
    return train_heads_held(h) ? describe_target(h) : EXIT_DONE;
}

static train_setting setting_text(const char *name, const char *text) {
    train_setting s = {.name = name};
    snprintf(s.value, sizeof s.value, "%s", text);
    return s;
}

int train_heads_go(train_heads *h, const train_heads_kind *kind, void *self) {
    int code = check_type(h, kind->params);
    if (!code) code = describe(h, kind->params);
    if (code) return code;
    const train_setting own[] = {setting_text("kind", kind->name),
                                 train_setting_number("data", train_data_hash(h->data)),
                                 train_setting_number("target", h->target_hash),
                                 setting_text("matmul", h->model.matmul ? h->model.matmul : "exact"),
                                 train_setting_number("dump-limit", h->dump ? h->dump_limit : 0)};
    size_t n = sizeof own / sizeof *own;
    train_setting *all = specp_alloc(NULL, n + kind->n_settings, sizeof *all);
    if (!all) return train_heads_complain(SPEC_ERR_NOMEM, &(spec_message){""});
    memcpy(all, own, sizeof own);
    memcpy(all + n, kind->setting, kind->n_settings * sizeof *all);
    h->kind = kind;
    h->self = self;
    h->part[0] = "features";
    memcpy(h->part + 1, train_time_name, sizeof train_time_name);
    const train_task task = {.self = h,
                             .params = kind->params,
                             .n_measures = kind->n_measures,
                             .measure = kind->measure,
                             .n_parts = TRAIN_HEADS_PARTS,
                             .part = h->part,
                             .part_ns = h->part_ns,
                             .part_flop = h->part_flop,
                             .batch = run_batch,
                             .validate = train_heads_held(h) ? validate : NULL};
    const train_kind run = {kind->name, all, n + kind->n_settings, keep};
    code = train_run_go(&h->run, &task, &run);
    free(all);
    return code;
}
