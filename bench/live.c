/* SPDX-License-Identifier: MIT */
/*
 * A live session: load and check everything, decode, compare, record, show.
 *
 *     model, prompts, drafter names --> fine?
 *     a pass to warm up
 *     repetition 1..R:  engines side by side, a request each in turn
 *     outputs == plain's?   replay of the record == live?
 *     tables, then JSON: nothing is shown of a session that failed
 */
#include "live.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "jout.h"
#include "live_internal.h"
#include "tokenizer_text.h"
#include "util.h"

void live_init(live *s, const char *command) {
    memset(s, 0, sizeof *s);
    s->command = command;
    s->max_tokens = 128;
    s->budget = 16;
    s->batch = 1;
    s->seed = 1;
    s->calibration_skip = CALIBRATION_SKIP;
    s->repeat = 3;
    s->top_p = 1;
    s->penalty = 1;
}

void live_release(live *s) {
    for (size_t i = 0; i < s->n_runs; i++) {
        engine_release(&s->run[i].run);
        free(s->run[i].decode_ns);
        free(s->run[i].total_ns);
    }
    free(s->run);
    prompts_free(&s->prompts);
    spec_tokenizer_free(s->tokenizer);
    spec_target_free(s->target);
    cli_list_free(&s->drafters);
    cli_list_free(&s->stop);
    cost_model_free(&s->cost);
    memset(s, 0, sizeof *s);
}

/* ---- drafters ------------------------------------------------------------ */

int live_open_drafter(const live *s, const char *spec, spec_drafter **out) {
    spec_message why = {""};
    spec_lm target;
    spec_target_lm(s->target, &target);
    const spec_drafter_env env = {.size = sizeof env,
                                  .target = &target,
                                  .open_model = spec_target_open_lm,
                                  .threads = s->model.target.threads,
                                  .isa = s->model.target.isa};
    int rc = spec_drafter_open_env(out, spec, &env, NULL, &why);
    if (rc == SPEC_OK) return EXIT_DONE;
    bench_complain("-d %s: %s", spec, why.text[0] ? why.text : spec_strerror(rc));
    return model_exit_code(rc);
}

int live_open_proposer(const live *s, const char *spec, proposer *out) {
    spec_message why;
    int code = live_open_drafter(s, spec, &out->drafter);
    if (code != EXIT_DONE || !s->goodput) return code;
    int rc =
        proposer_under_policy(out, out->drafter, &s->cost, PROPOSER_COST_GRID, (uint32_t)s->budget, &why);
    if (rc == SPEC_OK) return EXIT_DONE;
    bench_complain("-d %s: %s", spec, why.text);
    proposer_free(out);
    return model_exit_code(rc);
}

/* Opens every drafter once, so that a wrong name is told before long work. */
static int check_drafters(const live *s) {
    int code = EXIT_DONE;
    for (size_t i = 0; i < s->drafters.n && code == EXIT_DONE; i++) {
        spec_drafter *d = NULL;
        code = live_open_drafter(s, s->drafters.item[i], &d);
        spec_drafter_free(d);
    }
    return code;
}

/* ---- running ------------------------------------------------------------- */

/* The engines of one repetition. */
typedef struct lap {
    live *s;
    size_t number;
    proposer *by;
    engine **engine;
    engine_run *run; /* where they write */
    spec_message why;
    bench_line line;
} lap;

static void progress(lap *r, size_t which, size_t done) {
    bench_line_print(&r->line, "%.24s: round %zu of %llu, %.30s, %zu of %zu requests", r->s->prompts.name,
                     r->number + 1, (unsigned long long)r->s->repeat, r->s->run[which].drafter, done,
                     prompts_requests(&r->s->prompts));
}

static int complain(lap *r, size_t which, int rc) {
    bench_line_clear(&r->line);
    bench_complain("%s: %s", r->s->run[which].drafter, r->why.text[0] ? r->why.text : spec_strerror(rc));
    return model_exit_code(rc);
}

static int open_one(lap *r, size_t i) {
    live *s = r->s;
    int code = i ? live_open_proposer(s, s->run[i].drafter, &r->by[i])
                 : live_open_drafter(s, "none", &r->by[0].drafter);
    if (code != EXIT_DONE) return code;
    spec_needs needs;
    spec_drafter_needs(r->by[i].drafter, &needs);
    s->run[i].sampled = needs.q_rows > 0 && s->temperature > 0;
    int rc = engine_open(&r->engine[i], &s->engine, &r->by[i], i ? &r->run[0] : NULL, &r->run[i], &r->why);
    return rc == SPEC_OK ? EXIT_DONE : complain(r, i, rc);
}

/* Decodes one request with engine i, or with batches all of them; `done` were before. */
static int advance(lap *r, size_t i, size_t done, bool *more) {
    bool whole_run = r->s->batch > 1;
    int rc = SPEC_OK;
    do {
        rc = engine_next(r->engine[i], more);
        done += *more;
        progress(r, i, done);
    } while (rc == SPEC_OK && *more && whole_run);
    return rc == SPEC_OK ? EXIT_DONE : complain(r, i, rc);
}

static int decode(lap *r) {
    bool more = true;
    size_t done = 0;
    int code = EXIT_DONE;
    for (; code == EXIT_DONE && more; done++) {
        bool any = false;
        for (size_t i = 0; i < r->s->n_runs && code == EXIT_DONE; i++) {
            code = advance(r, i, done, &more);
            any = any || more;
        }
        more = any && r->s->batch == 1;
    }
    return code;
}

static int close_all(lap *r, int code) {
    for (size_t i = 0; i < r->s->n_runs; i++) {
        if (engine_close(r->engine[i]) != SPEC_OK && code == EXIT_DONE) code = complain(r, i, SPEC_ERR_NOMEM);
        proposer_free(&r->by[i]);
    }
    bench_line_clear(&r->line);
    return code;
}

/* Every repetition must say what plain decoding said; the first one's accounts are kept. */
static void settle(lap *r, live_times *times) {
    live *s = r->s;
    engine_run *plain = r->number ? &s->run[0].run : &r->run[0];
    for (size_t i = 0; i < s->n_runs; i++) {
        live_run *l = &s->run[i];
        live_times_take(times, i, r->number, &r->run[i]);
        if (l->identical) l->identical = engine_same(plain, &r->run[i], &l->differs_response, &l->differs_at);
    }
    for (size_t i = 0; i < s->n_runs && r->number == 0; i++) {
        s->run[i].run = r->run[i];
        memset(&r->run[i], 0, sizeof r->run[i]);
    }
}

static int one_round(live *s, size_t number, live_times *times) {
    lap r = {.s = s, .number = number, .line = {.wanted = !s->quiet}};
    r.by = specp_calloc(NULL, s->n_runs, sizeof *r.by);
    r.engine = specp_calloc(NULL, s->n_runs, sizeof *r.engine);
    r.run = specp_calloc(NULL, s->n_runs, sizeof *r.run);
    int code = r.by && r.engine && r.run ? EXIT_DONE : EXIT_CHECK;
    if (code != EXIT_DONE) bench_complain("out of memory");
    for (size_t i = 0; i < s->n_runs && code == EXIT_DONE; i++) code = open_one(&r, i);
    if (code == EXIT_DONE) code = decode(&r);
    if (r.engine && r.by) code = close_all(&r, code);
    if (code == EXIT_DONE) settle(&r, times);
    for (size_t i = 0; r.run && i < s->n_runs; i++) engine_release(&r.run[i]);
    free(r.by);
    free(r.engine);
    free(r.run);
    return code;
}

/* A pass before all rounds: whoever is first would pay for the weights' first touch. */
static int warm_up(const live *s) {
    spec_message why = {""};
    spec_sequence *q = NULL;
    const spec_token first = 0;
    spec_forward_item item = {.tokens = &first, .n_tokens = 1};
    spec_forward_out out;
    int rc = spec_sequence_new(&q, s->target, 0);
    item.sequence = q;
    if (rc == SPEC_OK) rc = spec_target_forward(s->target, &item, 1, NULL, &out, &why);
    spec_sequence_free(q);
    if (rc != SPEC_OK) bench_complain("%s: %s", s->model.path, why.text[0] ? why.text : spec_strerror(rc));
    return model_exit_code(rc);
}

static int run_all(live *s) {
    live_times times = {0};
    s->n_runs = s->drafters.n + 1;
    s->run = specp_calloc(NULL, s->n_runs, sizeof *s->run);
    int code = s->run && live_times_init(&times, s) == SPEC_OK ? EXIT_DONE : EXIT_CHECK;
    if (!s->run) s->n_runs = 0;
    if (code != EXIT_DONE) bench_complain("out of memory");
    if (code == EXIT_DONE) code = warm_up(s);
    for (size_t i = 0; i < s->n_runs; i++) {
        s->run[i].drafter = i ? s->drafters.item[i - 1] : "plain";
        s->run[i].identical = true;
    }
    for (size_t k = 0; k < s->repeat && code == EXIT_DONE; k++) code = one_round(s, k, &times);
    if (code == EXIT_DONE && live_times_finish(&times, s) != SPEC_OK) {
        bench_complain("out of memory");
        code = EXIT_CHECK;
    }
    live_times_release(&times);
    return code;
}

/* ---- loading ------------------------------------------------------------- */

static int load_tokenizer(live *s) {
    spec_message why = {""};
    spec_target_info info = {.size = sizeof info};
    bool needed = prompts_have_text(&s->prompts) || s->stop.n;
    int rc = spec_tokenizer_open(&s->tokenizer, spec_target_tensors(s->target), NULL, &why);
    spec_target_get_info(s->target, &info);
    if (rc == SPEC_OK) rc = spec_tokenizer_fits(s->tokenizer, info.vocab, &why);
    if (rc == SPEC_OK || !needed) return EXIT_DONE;
    bench_complain("%s: text needs the model's tokenizer: %s", s->model.path, why.text);
    return model_exit_code(rc);
}

static int check_text(const char *text, spec_message *why) {
    size_t n = strlen(text), len;
    for (size_t at = 0; at < n; at += len)
        if (!(len = specp_utf8_length(text + at, n - at)))
            return specp_fail(why, SPEC_ERR_INVALID, "--prompt: byte %zu: expected UTF-8", at);
    return SPEC_OK;
}

static int load_prompts(live *s) {
    spec_message why = {""};
    int rc = SPEC_OK;
    if (s->prompt_file) rc = prompts_load(&s->prompts, s->prompt_file, s->skip_bad, &why);
    if (s->prompt_text) rc = check_text(s->prompt_text, &why);
    if (rc == SPEC_OK && s->prompt_text) rc = prompts_add(&s->prompts, "", "", s->prompt_text, NULL, 0);
    if (rc == SPEC_OK && s->limit) prompts_cut(&s->prompts, (size_t)s->limit);
    if (rc != SPEC_OK) {
        bench_complain("%s", why.text[0] ? why.text : spec_strerror(rc));
        return model_exit_code(rc);
    }
    if (s->prompts.n) return EXIT_DONE;
    bench_complain("%s: expected at least one prompt, found none", s->prompt_file);
    return EXIT_USAGE;
}

static int check_prompts(const live *s) {
    spec_message why;
    spec_target_info info = {.size = sizeof info};
    spec_target_get_info(s->target, &info);
    int rc = prompts_check_ids(&s->prompts, s->prompt_file, info.vocab, &why);
    if (rc != SPEC_OK) bench_complain("%s", why.text);
    return model_exit_code(rc);
}

static int find_chat(live *s, spec_chat *out) {
    spec_tokenizer_info info = {.size = sizeof info};
    *out = SPEC_CHAT_NONE;
    if (s->chat && strcmp(s->chat, "auto") != 0) return spec_chat_find(s->chat, out);
    if (s->chat && s->tokenizer && spec_tokenizer_get_info(s->tokenizer, &info) == SPEC_OK &&
        info.chat_template)
        return spec_chat_detect(info.chat_template, info.n_chat_template, out);
    return s->chat ? SPEC_ERR_NOT_FOUND : SPEC_OK;
}

static int settle_chat(live *s) {
    if (find_chat(s, &s->engine.chat) == SPEC_OK) return EXIT_DONE;
    bench_complain(strcmp(s->chat, "auto")
                       ? "--chat: there is no template '%s'; 'specbench run --help' lists them"
                       : "--chat %s: the model file has no template that is known; name one",
                   s->chat);
    return EXIT_USAGE;
}

static int settle_engine(live *s) {
    s->sampling = (spec_sampling){.size = sizeof s->sampling,
                                  .temperature = (float)s->temperature,
                                  .top_k = (uint32_t)s->top_k,
                                  .top_p = (float)s->top_p,
                                  .min_p = (float)s->min_p,
                                  .repetition_penalty = (float)s->penalty};
    s->engine.target = s->target;
    s->engine.tokenizer = s->tokenizer;
    s->engine.prompts = &s->prompts;
    s->engine.max_tokens = (size_t)s->max_tokens;
    s->engine.budget = (uint32_t)s->budget;
    s->engine.batch = (size_t)s->batch;
    s->engine.sampling = &s->sampling;
    s->engine.seed = s->seed;
    s->engine.calibration_skip = s->calibration_skip;
    s->engine.ignore_eos = s->ignore_eos;
    s->engine.stop = &s->stop;
    return settle_chat(s);
}

static int check_record(const live *s) {
    spec_message why;
    if (!s->record || bench_check_writable(s->record, &why) == SPEC_OK) return EXIT_DONE;
    bench_complain("--record: %s", why.text);
    return EXIT_USAGE;
}

static int load(live *s) {
    int code = jout_check(s->json);
    if (code == EXIT_DONE) code = check_record(s);
    if (code == EXIT_DONE && s->prompts.n == 0) code = load_prompts(s);
    if (code == EXIT_DONE) code = model_open(&s->target, &s->model, s->quiet);
    if (code == EXIT_DONE) code = check_prompts(s);
    if (code == EXIT_DONE) code = load_tokenizer(s);
    if (code == EXIT_DONE) code = check_drafters(s);
    return code == EXIT_DONE ? settle_engine(s) : code;
}

/* ---- the whole ----------------------------------------------------------- */

/* What must hold, or the exit status tells. The BLAS modes promise nothing. */
static int verdict(const live *s) {
    int code = EXIT_DONE;
    for (size_t i = 0; i < s->n_runs; i++) {
        const live_run *r = &s->run[i];
        const engine_response *at = &r->run.response[r->differs_response];
        if (!r->identical && !r->sampled && s->model.target.matmul == SPEC_MATMUL_EXACT) {
            bench_complain("%s: the output differs from plain decoding's, prompt %zu, token %zu", r->drafter,
                           at->prompt + 1, r->differs_at);
            code = EXIT_CHECK;
        }
        if (r->replay == LIVE_REPLAY_DIFFERS) {
            bench_complain("%s: replaying the record gives another acceptance than the live run: %s",
                           r->drafter, r->replay_note);
            code = EXIT_CHECK;
        }
    }
    return code;
}

static int check_answers(const live *s) {
    const engine_run *plain = &s->run[0].run;
    spec_target_info info = {.size = sizeof info};
    if (plain->m.total.out) return EXIT_DONE;
    spec_target_get_info(s->target, &info);
    bench_complain("%s: no prompt fits: expected at least 1 token and room for another in the context of %zu",
                   s->prompt_file ? s->prompt_file : "--prompt", info.context);
    return EXIT_USAGE;
}

int live_execute(live *s) {
    struct rusage usage;
    int code = load(s);
    if (code == EXIT_DONE) code = run_all(s);
    if (code == EXIT_DONE) code = check_answers(s);
    if (code == EXIT_DONE) code = live_record(s);
    if (code != EXIT_DONE) return code;
    if (getrusage(RUSAGE_SELF, &usage) == 0) s->peak_bytes = (size_t)usage.ru_maxrss * 1024;
    if (!s->quiet) report_live(s, jout_tables(s->json));
    model_warn_slower(s->target);
    code = jout_report(s->json, report_live_json, s);
    return code == EXIT_DONE ? verdict(s) : code;
}
