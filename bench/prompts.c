/* SPDX-License-Identifier: MIT */
/* Prompt files: one JSON object a line (docs/FORMATS.md). */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>

#include "jsonl.h"
#include "util.h"

/* ---- the in-memory form -------------------------------------------------- */

static void item_free(prompt *p) {
    for (size_t i = 0; i < p->n_turns; i++) free(p->turn[i]);
    free(p->turn);
    free(p->token);
    free(p->id);
    free(p->group);
}

void prompts_free(prompts *p) {
    for (size_t i = 0; i < p->n; i++) item_free(&p->item[i]);
    free(p->item);
    free(p->name);
    free(p->first_bad);
    memset(p, 0, sizeof *p);
}

void prompts_cut(prompts *p, size_t n) {
    while (p->n > n) item_free(&p->item[--p->n]);
}

size_t prompts_requests(const prompts *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += p->item[i].turn ? p->item[i].n_turns : 1;
    return n;
}

bool prompts_have_text(const prompts *p) {
    for (size_t i = 0; i < p->n; i++)
        if (p->item[i].turn) return true;
    return false;
}

int prompts_check_ids(const prompts *p, const char *path, size_t vocab, spec_message *why) {
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->item[i].n_tokens; k++)
            if ((size_t)p->item[i].token[k] >= vocab)
                return specp_fail(why, SPEC_ERR_INVALID,
                                  "%s: prompt %zu%s%s: token %d at %zu; expected ids below %zu, the model's "
                                  "vocabulary",
                                  path, i + 1, *p->item[i].id ? " " : "", p->item[i].id,
                                  (int)p->item[i].token[k], k, vocab);
    return SPEC_OK;
}

/* Takes what *q holds on success. */
static int push(prompts *p, const prompt *q) {
    prompt *grown = bench_grow(p->item, &p->cap, p->n + 1, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    p->item = grown;
    p->item[p->n++] = *q;
    return SPEC_OK;
}

static int copy_turn(prompt *q, const char *text) {
    q->turn = specp_calloc(NULL, 1, sizeof *q->turn);
    if (!q->turn) return SPEC_ERR_NOMEM;
    q->n_turns = 1;
    q->turn[0] = bench_copy_text(text, strlen(text));
    return q->turn[0] ? SPEC_OK : SPEC_ERR_NOMEM;
}

static int copy_tokens(prompt *q, const spec_token *token, size_t n) {
    q->token = specp_alloc(NULL, n ? n : 1, sizeof *token);
    if (!q->token) return SPEC_ERR_NOMEM;
    if (n) memcpy(q->token, token, n * sizeof *token);
    q->n_tokens = n;
    return SPEC_OK;
}

int prompts_add(prompts *p, const char *id, const char *group, const char *turn, const spec_token *token,
                size_t n_tokens) {
    if (!p->name && !(p->name = bench_copy_text("prompts", 7))) return SPEC_ERR_NOMEM;
    prompt q = {.id = bench_copy_text(id, strlen(id)), .group = bench_copy_text(group, strlen(group))};
    int rc = q.id && q.group ? SPEC_OK : SPEC_ERR_NOMEM;
    if (rc == SPEC_OK) rc = turn ? copy_turn(&q, turn) : copy_tokens(&q, token, n_tokens);
    if (rc == SPEC_OK) rc = push(p, &q);
    if (rc != SPEC_OK) item_free(&q);
    return rc;
}

/* ---- reading ------------------------------------------------------------- */

static int read_turns(const jsonl *r, const json_t *list, prompt *q) {
    size_t n = json_array_size(list);
    if (n == 0) return jsonl_fault(r, "\"turns\" is empty; expected at least one text");
    q->turn = specp_calloc(NULL, n, sizeof *q->turn);
    if (!q->turn) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v))
            return jsonl_fault(r, "\"turns\"[%zu] is %s; expected a text", i, jsonl_type(v));
        q->turn[i] = bench_copy_text(json_string_value(v), json_string_length(v));
        if (!q->turn[i]) return SPEC_ERR_NOMEM;
        q->n_turns++;
    }
    return SPEC_OK;
}

static int read_prompt(const jsonl *r, const json_t *line, prompt *q) {
    const json_t *turns = json_object_get(line, "turns"), *text = json_object_get(line, "prompt");
    if (turns && text) return jsonl_fault(r, "both \"turns\" and \"prompt\" are there; expected one of them");
    if (json_is_array(turns)) return read_turns(r, turns, q);
    if (json_is_string(text)) return copy_turn(q, json_string_value(text));
    if (json_is_array(text)) return jsonl_tokens(r, line, "prompt", &q->token, &q->n_tokens);
    const json_t *v = turns ? turns : text;
    if (v)
        return jsonl_fault(r, "\"%s\" is %s; expected %s", turns ? "turns" : "prompt", jsonl_type(v),
                           turns ? "an array of texts" : "a text or an array of token ids");
    return jsonl_fault(r, "no prompt; expected \"turns\":[texts], \"prompt\":text or \"prompt\":[ids]");
}

static int take_object(jsonl *r, const json_t *line) {
    prompts *p = r->user;
    prompt q = {0};
    int rc = jsonl_name(r, line, "id", &q.id);
    if (rc == SPEC_OK) rc = jsonl_name(r, line, "group", &q.group);
    if (rc == SPEC_OK) rc = read_prompt(r, line, &q);
    if (rc == SPEC_OK) rc = push(p, &q);
    if (rc != SPEC_OK) item_free(&q);
    return rc;
}

static jsonl reader(prompts *p, const char *path, bool skip_bad, spec_message *why) {
    memset(p, 0, sizeof *p);
    p->name = jsonl_stem(path);
    return (jsonl){.path = path,
                   .kind = "prompt",
                   .expected = "one JSON object a line, {\"turns\":[texts]} or {\"prompt\":text or [ids]}",
                   .skip_bad = skip_bad,
                   .object = take_object,
                   .user = p,
                   .why = why};
}

static int finish(prompts *p, const jsonl *r, int rc) {
    p->n_bad = r->n_bad;
    p->first_bad = r->first_bad;
    if (rc == SPEC_OK && !p->name) rc = specp_fail(r->why, SPEC_ERR_NOMEM, "%s: out of memory", r->path);
    if (rc != SPEC_OK) prompts_free(p);
    return rc;
}

int prompts_parse(prompts *out, const char *name, const char *text, size_t n, bool skip_bad,
                  spec_message *why) {
    spec_message spare = {""};
    jsonl r = reader(out, name, skip_bad, why ? why : &spare);
    return finish(out, &r, jsonl_parse(&r, text, n));
}

int prompts_load(prompts *out, const char *path, bool skip_bad, spec_message *why) {
    spec_message spare = {""};
    jsonl r = reader(out, path, skip_bad, why ? why : &spare);
    return finish(out, &r, jsonl_load(&r));
}
