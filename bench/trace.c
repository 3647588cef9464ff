/* SPDX-License-Identifier: MIT */
/* Trace files: one JSON object a line (docs/FORMATS.md). */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

#include "jsonl.h"
#include "util.h"

/* ---- the in-memory form -------------------------------------------------- */

static void request_free(trace_request *r) {
    free(r->id);
    free(r->group);
    free(r->prompt);
    free(r->response);
}

void trace_free(trace *t) {
    for (size_t i = 0; i < t->n; i++) request_free(&t->req[i]);
    free(t->req);
    free(t->name);
    free(t->first_bad);
    memset(t, 0, sizeof *t);
}

/* Takes what *r holds on success. */
static int push(trace *t, const trace_request *r) {
    trace_request *grown = bench_grow(t->req, &t->cap, t->n + 1, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    t->req = grown;
    t->req[t->n++] = *r;
    return SPEC_OK;
}

static spec_token *copy_tokens(const spec_token *tok, size_t n) {
    spec_token *p = specp_alloc(NULL, n ? n : 1, sizeof *p);
    if (p && n) memcpy(p, tok, n * sizeof *p);
    return p;
}

int trace_add(trace *t, const char *id, const char *group, const spec_token *prompt, size_t n_prompt,
              const spec_token *response, size_t n_response) {
    trace_request r = {.id = bench_copy_text(id, strlen(id)),
                       .group = bench_copy_text(group, strlen(group)),
                       .prompt = copy_tokens(prompt, n_prompt),
                       .n_prompt = n_prompt,
                       .response = copy_tokens(response, n_response),
                       .n_response = n_response};
    if (r.id && r.group && r.prompt && r.response && push(t, &r) == SPEC_OK) return SPEC_OK;
    request_free(&r);
    return SPEC_ERR_NOMEM;
}

void trace_shuffle(trace *t, unsigned long long seed) {
    bench_rng rng = {.state = seed};
    for (size_t i = t->n; i > 1; i--) {
        size_t j = bench_rng_next(&rng) % i;
        trace_request swap = t->req[i - 1];
        t->req[i - 1] = t->req[j];
        t->req[j] = swap;
    }
}

/* ---- reading ------------------------------------------------------------- */

/* A line of a prompt file (`turns` as text, as in Spec-Bench): nothing was recorded. */
static bool is_prompt_alone(const json_t *line) {
    return json_is_array(json_object_get(line, "turns")) && !json_object_get(line, "prompt") &&
           !json_object_get(line, "response");
}

/* The limit that the recorded run had, or 0. */
static int read_limit(const jsonl *r, const json_t *line, size_t *out) {
    const json_t *v = json_object_get(line, "max_new_tokens");
    if (!v || json_is_null(v)) return SPEC_OK;
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    if (n < 0) return jsonl_fault(r, "\"max_new_tokens\" is no number of tokens; expected an integer from 0");
    *out = (size_t)n;
    return SPEC_OK;
}

static int check_limit(const jsonl *r, const trace_request *q) {
    if (!q->max_new_tokens || q->n_response <= q->max_new_tokens) return SPEC_OK;
    return jsonl_fault(r, "\"response\" has %zu tokens; expected at most \"max_new_tokens\", %zu",
                       q->n_response, q->max_new_tokens);
}

static int read_request(const jsonl *r, const json_t *line, trace_request *q) {
    if (is_prompt_alone(line))
        return specp_fail(r->why, SPEC_ERR_UNSUPPORTED,
                          "%s: holds prompts (\"turns\") without recorded responses, expected a trace",
                          r->path);
    int rc = jsonl_name(r, line, "id", &q->id);
    if (rc == SPEC_OK) rc = jsonl_name(r, line, "group", &q->group);
    if (rc == SPEC_OK) rc = jsonl_tokens(r, line, "prompt", &q->prompt, &q->n_prompt);
    if (rc == SPEC_OK) rc = jsonl_tokens(r, line, "response", &q->response, &q->n_response);
    if (rc == SPEC_OK) rc = read_limit(r, line, &q->max_new_tokens);
    if (rc == SPEC_OK) rc = check_limit(r, q);
    return rc;
}

static int take_object(jsonl *r, const json_t *line) {
    trace *t = r->user;
    trace_request q = {0};
    int rc = read_request(r, line, &q);
    if (rc == SPEC_OK && q.n_response == 0) {
        t->n_empty++;
        request_free(&q);
        return SPEC_OK;
    }
    if (rc == SPEC_OK) rc = push(t, &q);
    if (rc != SPEC_OK) request_free(&q);
    return rc;
}

static jsonl reader(trace *t, const char *path, bool skip_bad, spec_message *why) {
    memset(t, 0, sizeof *t);
    t->name = jsonl_stem(path);
    return (jsonl){.path = path,
                   .kind = "trace",
                   .expected =
                       "one JSON object a line, {\"id\",\"group\",\"prompt\":[ids],\"response\":[ids]}",
                   .skip_bad = skip_bad,
                   .object = take_object,
                   .user = t,
                   .why = why};
}

static int finish(trace *t, const jsonl *r, int rc) {
    t->n_bad = r->n_bad;
    t->first_bad = r->first_bad;
    if (rc == SPEC_OK && !t->name) rc = specp_fail(r->why, SPEC_ERR_NOMEM, "%s: out of memory", r->path);
    if (rc != SPEC_OK) trace_free(t);
    return rc;
}

int trace_parse(trace *out, const char *name, const char *text, size_t n, bool skip_bad, spec_message *why) {
    spec_message spare = {""};
    jsonl r = reader(out, name, skip_bad, why ? why : &spare);
    return finish(out, &r, jsonl_parse(&r, text, n));
}

int trace_load(trace *out, const char *path, bool skip_bad, spec_message *why) {
    spec_message spare = {""};
    jsonl r = reader(out, path, skip_bad, why ? why : &spare);
    return finish(out, &r, jsonl_load(&r));
}

/* ---- writing ------------------------------------------------------------- */

static json_t *ids(const spec_token *token, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_integer(token[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

int trace_write(FILE *f, const trace_request *q) {
    json_t *line = json_pack("{s:s, s:s, s:o, s:o, s:I}", "id", q->id, "group", q->group, "prompt",
                             ids(q->prompt, q->n_prompt), "response", ids(q->response, q->n_response),
                             "max_new_tokens", (json_int_t)q->max_new_tokens);
    int rc = line ? json_dumpf(line, f, JSON_COMPACT) : -1;
    json_decref(line);
    return rc || fputc('\n', f) == EOF;
}
