/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the trace reader. Whatever the bytes:
 *
 *   - strict and lenient (skip_bad) reading agree: where strict succeeds, lenient
 *     gives the same; where it fails, lenient succeeds and has counted the fault
 *   - what came out is sound, and no more than the lines that went in
 *   - written down again and read, it is the same
 *   - a message names the file and a line that there is
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "trace.h"

#define REQUIRE(x)                                                                                           \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static size_t count_lines(const char *text, size_t n) {
    size_t lines = n && text[n - 1] != '\n';
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    return lines;
}

static void require_place(const char *message, size_t lines) {
    REQUIRE(strncmp(message, "fuzz.jsonl:", 11) == 0);
    size_t line = strtoull(message + 11, NULL, 10);
    REQUIRE(line >= 1 && line <= lines);
    REQUIRE(strstr(message, "expected"));
    for (const char *p = message; *p; p++) REQUIRE(*p >= ' ' && *p < 127);
}

static void require_sound(const trace *t, size_t lines) {
    REQUIRE(strcmp(t->name, "fuzz") == 0);
    REQUIRE(t->n + t->n_empty + t->n_bad <= lines);
    REQUIRE(!t->first_bad == !t->n_bad);
    if (t->first_bad) require_place(t->first_bad, lines);
    for (size_t i = 0; i < t->n; i++) {
        const trace_request *q = &t->req[i];
        REQUIRE(q->id && q->group && q->n_response);
        for (size_t k = 0; k < q->n_prompt; k++) REQUIRE(q->prompt[k] >= 0);
        for (size_t k = 0; k < q->n_response; k++) REQUIRE(q->response[k] >= 0);
    }
}

static void require_equal(const trace *a, const trace *b) {
    REQUIRE(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        const trace_request *p = &a->req[i], *q = &b->req[i];
        REQUIRE(strcmp(p->id, q->id) == 0 && strcmp(p->group, q->group) == 0);
        REQUIRE(p->n_prompt == q->n_prompt && p->n_response == q->n_response);
        for (size_t k = 0; k < p->n_prompt; k++) REQUIRE(p->prompt[k] == q->prompt[k]);
        for (size_t k = 0; k < p->n_response; k++) REQUIRE(p->response[k] == q->response[k]);
    }
}

static json_t *token_list(const spec_token *tok, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(tok[i]));
    return list;
}

static void write_request(FILE *f, const trace_request *q) {
    json_t *o = json_object();
    json_object_set_new(o, "id", json_string(q->id));
    json_object_set_new(o, "group", json_string(q->group));
    json_object_set_new(o, "prompt", token_list(q->prompt, q->n_prompt));
    json_object_set_new(o, "response", token_list(q->response, q->n_response));
    REQUIRE(json_dumpf(o, f, JSON_COMPACT) == 0);
    fputc('\n', f);
    json_decref(o);
}

static void require_round_trip(const trace *t) {
    char *text = NULL;
    size_t n = 0;
    trace again;
    FILE *f = open_memstream(&text, &n);
    REQUIRE(f);
    for (size_t i = 0; i < t->n; i++) write_request(f, &t->req[i]);
    fclose(f);
    REQUIRE(trace_parse(&again, "fuzz.jsonl", text, n, false, NULL) == SPEC_OK);
    REQUIRE(again.n_empty == 0);
    require_equal(t, &again);
    trace_free(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    size_t lines = count_lines(text, size);
    trace strict, lenient;
    spec_message why = {""};
    int rc = trace_parse(&strict, "fuzz.jsonl", text, size, false, &why);
    REQUIRE(rc == SPEC_OK || rc == SPEC_ERR_CORRUPT);
    REQUIRE(trace_parse(&lenient, "fuzz.jsonl", text, size, true, NULL) == SPEC_OK);
    require_sound(&lenient, lines);
    REQUIRE((rc == SPEC_OK) == (lenient.n_bad == 0));
    if (rc == SPEC_OK) {
        require_sound(&strict, lines);
        require_equal(&strict, &lenient);
    } else {
        REQUIRE(!strict.req && !strict.name && !strict.first_bad);
        require_place(why.text, lines);
        REQUIRE(strcmp(why.text, lenient.first_bad) == 0);
    }
    require_round_trip(&lenient);
    trace_free(&lenient);
    trace_free(&strict);
    return 0;
}
