/* SPDX-License-Identifier: MIT */
/*
 * Trace files: one JSON object a line (docs/FORMATS.md).
 *
 *     file -> lines of at most MAX_LINE bytes -> jansson -> request
 *
 * A line is read whole and parsed at once, so the cost is linear in the file
 * and the memory that of the longest line. Every fault of a line becomes one
 * sentence "FILE:LINE: what was wrong; what was expected"; the caller's skip_bad
 * decides whether it ends the reading or is counted.
 */
#include "trace.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* A line of token ids this long holds some five million of them. jansson needs
 * about ten bytes a byte, so the limit also bounds memory. */
#define MAX_LINE ((size_t)32 << 20)

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

/* ---- one line ------------------------------------------------------------ */

typedef struct reader {
    trace *t;
    const char *path; /* as the user wrote it, for messages */
    size_t line;      /* of the file, from 1 */
    bool skip_bad;
    spec_message *why;
} reader;

#define LINE_EXPECTED                                                                                        \
    "expected one JSON object a line, {\"id\",\"group\",\"prompt\":[ids],\"response\":[ids]}"

/* "FILE:LINE: " + what; SPEC_ERR_CORRUPT. */
static int line_fault(const reader *r, const char *what) {
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s:%zu: %s", r->path, r->line, what);
}

static const char *type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a fractional number";
    case JSON_TRUE:
    case JSON_FALSE: return "a truth value";
    default: return "null";
    }
}

static int token_fault(const reader *r, const char *field, size_t i, const json_t *v) {
    char what[160];
    if (json_is_integer(v))
        snprintf(what, sizeof what, "\"%s\"[%zu] is %lld; expected a token id, 0 to 2147483647", field, i,
                 (long long)json_integer_value(v));
    else
        snprintf(what, sizeof what, "\"%s\"[%zu] is %s; expected a token id, an integer from 0 to 2147483647",
                 field, i, type_name(v));
    return line_fault(r, what);
}

/* The array `field` of the object; *out is the caller's to free. */
static int read_tokens(const reader *r, const json_t *line, const char *field, spec_token **out, size_t *n) {
    char what[160];
    const json_t *list = json_object_get(line, field);
    if (!list || !json_is_array(list)) {
        snprintf(what, sizeof what, "\"%s\" is %s; expected an array of token ids", field,
                 list ? type_name(list) : "missing");
        return line_fault(r, what);
    }
    *n = json_array_size(list);
    *out = specp_alloc(NULL, *n ? *n : 1, sizeof **out);
    if (!*out) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX) return token_fault(r, field, i, v);
        (*out)[i] = (spec_token)id;
    }
    return SPEC_OK;
}

/* A string or an integer, or "" when there is none. */
static int read_name(const reader *r, const json_t *line, const char *field, char **out) {
    char what[160];
    const json_t *v = json_object_get(line, field);
    if (!v || json_is_null(v)) {
        *out = bench_copy_text("", 0);
    } else if (json_is_string(v)) {
        *out = bench_copy_text(json_string_value(v), json_string_length(v));
    } else if (json_is_integer(v)) {
        *out = bench_format("%lld", (long long)json_integer_value(v));
    } else {
        snprintf(what, sizeof what, "\"%s\" is %s; expected a string", field, type_name(v));
        return line_fault(r, what);
    }
    return *out ? SPEC_OK : SPEC_ERR_NOMEM;
}

static const char *syntax_kind(const json_error_t *e) {
    switch (json_error_code(e)) {
    case json_error_premature_end_of_input: return "the line is cut off";
    case json_error_numeric_overflow: return "a number is too large";
    case json_error_invalid_utf8: return "not valid UTF-8";
    default: return "not valid JSON";
    }
}

static int syntax_fault(const reader *r, const json_error_t *e) {
    char what[400], text[JSON_ERROR_TEXT_LENGTH];
    size_t n = 0;
    /* jansson quotes the line, which may hold anything: keep it off the terminal. */
    for (const char *p = e->text; *p && n + 1 < sizeof text; p++)
        text[n++] = *p >= ' ' && *p < 127 ? *p : '?';
    text[n] = '\0';
    snprintf(what, sizeof what, "%s (%s, byte %d); " LINE_EXPECTED, syntax_kind(e), text,
             e->position > 0 ? e->position : 1);
    return line_fault(r, what);
}

/* A line of a prompt file (`turns` as text, as in Spec-Bench): nothing was recorded. */
static bool is_prompt_alone(const json_t *line) {
    return json_is_array(json_object_get(line, "turns")) && !json_object_get(line, "prompt") &&
           !json_object_get(line, "response");
}

static int read_request(const reader *r, const json_t *line, trace_request *q) {
    if (is_prompt_alone(line))
        return specp_fail(r->why, SPEC_ERR_UNSUPPORTED,
                          "%s: holds prompts (\"turns\") without recorded responses, expected a trace",
                          r->path);
    int rc = read_name(r, line, "id", &q->id);
    if (rc == SPEC_OK) rc = read_name(r, line, "group", &q->group);
    if (rc == SPEC_OK) rc = read_tokens(r, line, "prompt", &q->prompt, &q->n_prompt);
    if (rc == SPEC_OK) rc = read_tokens(r, line, "response", &q->response, &q->n_response);
    return rc;
}

static int parse_object(const reader *r, const json_t *line) {
    trace_request q = {0};
    int rc = read_request(r, line, &q);
    if (rc == SPEC_OK && q.n_response == 0) {
        r->t->n_empty++;
        request_free(&q);
        return SPEC_OK;
    }
    if (rc == SPEC_OK) rc = push(r->t, &q);
    if (rc != SPEC_OK) request_free(&q);
    return rc;
}

static int parse_line(const reader *r, const char *text, size_t n) {
    json_error_t e;
    if (memchr(text, '\0', n)) return line_fault(r, "the line holds a NUL byte; " LINE_EXPECTED);
    json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!line) return json_error_code(&e) == json_error_out_of_memory ? SPEC_ERR_NOMEM : syntax_fault(r, &e);
    int rc = json_is_object(line) ? parse_object(r, line) : SPEC_ERR_CORRUPT;
    if (!json_is_object(line)) {
        char what[200];
        snprintf(what, sizeof what, "the line is %s; " LINE_EXPECTED, type_name(line));
        line_fault(r, what);
    }
    json_decref(line);
    return rc;
}

/* Counts a fault under skip_bad and carries on; otherwise hands it on. */
static int after_fault(reader *r, int rc) {
    if (rc != SPEC_ERR_CORRUPT || !r->skip_bad) return rc;
    if (r->t->n_bad++ == 0) r->t->first_bad = bench_copy_text(r->why->text, strlen(r->why->text));
    r->why->text[0] = '\0';
    return SPEC_OK;
}

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

static int line_too_long(reader *r) {
    char what[120];
    snprintf(what, sizeof what, "the line is longer than %zu MiB; expected one request a line",
             MAX_LINE >> 20);
    return after_fault(r, line_fault(r, what));
}

/* One line without its newline. A BOM may open the file; to JSON a CR is space. */
static int take_line(reader *r, const char *text, size_t n) {
    r->line++;
    if (n > MAX_LINE) return line_too_long(r);
    if (r->line == 1 && n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n -= 3;
    }
    if (is_blank(text, n)) return SPEC_OK;
    return after_fault(r, parse_line(r, text, n));
}

/* ---- lines of a file ----------------------------------------------------- */

/*
 * The bytes that wait to become lines. With `dropping`, the rest of a line that
 * was too long is thrown away up to its newline.
 *
 *     buf   [ start of a line that is not complete | free ... ]
 *            0                                  used        cap
 */
typedef struct line_buffer {
    char *buf;
    size_t used, cap;
    bool dropping;
} line_buffer;

/* Takes all complete lines out of the buffer. */
static int drain(reader *r, line_buffer *b, size_t fresh) {
    size_t start = 0, from = fresh; /* bytes before `fresh` hold no newline */
    char *end;
    while ((end = memchr(b->buf + from, '\n', b->used - from))) {
        size_t stop = (size_t)(end - b->buf);
        int rc = b->dropping ? SPEC_OK : take_line(r, b->buf + start, stop - start);
        if (rc != SPEC_OK) return rc;
        b->dropping = false;
        start = from = stop + 1;
    }
    if (b->dropping) start = b->used;
    memmove(b->buf, b->buf + start, b->used - start);
    b->used -= start;
    if (b->used <= MAX_LINE) return SPEC_OK;
    b->dropping = true;
    b->used = 0;
    r->line++;
    return line_too_long(r);
}

static int read_lines(reader *r, FILE *f) {
    enum { BLOCK = 1 << 18 };
    line_buffer b = {0};
    int rc = SPEC_OK;
    while (rc == SPEC_OK) {
        char *grown = bench_grow(b.buf, &b.cap, b.used + BLOCK, 1);
        if (!grown) {
            rc = SPEC_ERR_NOMEM;
            break;
        }
        b.buf = grown;
        errno = 0;
        size_t fresh = b.used, n = fread(b.buf + b.used, 1, BLOCK, f);
        b.used += n;
        if (n == 0) break;
        rc = drain(r, &b, fresh);
    }
    if (rc == SPEC_OK && ferror(f))
        rc = errno == EISDIR
                 ? specp_fail(r->why, SPEC_ERR_IO, "%s: is a directory; expected a trace file (.jsonl)",
                              r->path)
                 : specp_fail(r->why, SPEC_ERR_IO, "%s: cannot read: %s", r->path, strerror(errno));
    if (rc == SPEC_OK && b.used && !b.dropping) rc = take_line(r, b.buf, b.used);
    free(b.buf);
    return rc;
}

static int split_memory(reader *r, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        int rc = take_line(r, text + at, len);
        if (rc != SPEC_OK) return rc;
        at += len + 1;
    }
    return SPEC_OK;
}

/* ---- opening ------------------------------------------------------------- */

/* The file's name without directories and .jsonl. */
static char *workload_name(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t n = strlen(base);
    if (n > 6 && strcmp(base + n - 6, ".jsonl") == 0) n -= 6;
    return bench_copy_text(base, n);
}

static int finish(reader *r, int rc) {
    if (rc == SPEC_OK && r->t->n_bad && !r->t->first_bad) rc = SPEC_ERR_NOMEM;
    if (rc == SPEC_ERR_NOMEM) specp_fail(r->why, rc, "%s: out of memory", r->path);
    if (rc != SPEC_OK) trace_free(r->t);
    return rc;
}

int trace_parse(trace *out, const char *name, const char *text, size_t n, bool skip_bad, spec_message *why) {
    spec_message spare = {""};
    reader r = {.t = out, .path = name, .skip_bad = skip_bad, .why = why ? why : &spare};
    memset(out, 0, sizeof *out);
    out->name = workload_name(name);
    return finish(&r, out->name ? split_memory(&r, text, n) : SPEC_ERR_NOMEM);
}

int trace_load(trace *out, const char *path, bool skip_bad, spec_message *why) {
    spec_message spare = {""};
    reader r = {.t = out, .path = path, .skip_bad = skip_bad, .why = why ? why : &spare};
    memset(out, 0, sizeof *out);
    FILE *f = fopen(path, "rb");
    if (!f)
        return specp_fail(why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO,
                          "%s: cannot open: %s; expected a trace file (.jsonl)", path, strerror(errno));
    out->name = workload_name(path);
    int rc = finish(&r, out->name ? read_lines(&r, f) : SPEC_ERR_NOMEM);
    fclose(f);
    return rc;
}
