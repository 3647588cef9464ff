/* SPDX-License-Identifier: MIT */
/*
 * JSON lines.
 *
 *     file -> lines of at most MAX_LINE bytes -> jansson -> the caller's object()
 *
 * A line is read whole and parsed at once, so the cost is linear in the file
 * and the memory that of the longest line. Every fault of a line becomes one
 * sentence "FILE:LINE: what was wrong; what was expected"; skip_bad decides
 * whether it ends the reading or is counted.
 */
#include "jsonl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* A line of token ids this long holds some five million of them. jansson needs
 * about ten bytes a byte, so the limit also bounds memory. */
#define MAX_LINE ((size_t)32 << 20)

/* ---- faults -------------------------------------------------------------- */

int jsonl_fault(const jsonl *r, const char *format, ...) {
    char what[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s:%zu: %s", r->path, r->line, what);
}

const char *jsonl_type(const json_t *v) {
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

/* ---- fields -------------------------------------------------------------- */

static int token_fault(const jsonl *r, const char *field, size_t i, const json_t *v) {
    if (json_is_integer(v))
        return jsonl_fault(r, "\"%s\"[%zu] is %lld; expected a token id, 0 to 2147483647", field, i,
                           (long long)json_integer_value(v));
    return jsonl_fault(r, "\"%s\"[%zu] is %s; expected a token id, an integer from 0 to 2147483647", field, i,
                       jsonl_type(v));
}

int jsonl_tokens(const jsonl *r, const json_t *line, const char *field, spec_token **out, size_t *n) {
    const json_t *list = json_object_get(line, field);
    if (!list || !json_is_array(list))
        return jsonl_fault(r, "\"%s\" is %s; expected an array of token ids", field,
                           list ? jsonl_type(list) : "missing");
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

int jsonl_name(const jsonl *r, const json_t *line, const char *field, char **out) {
    const json_t *v = json_object_get(line, field);
    if (!v || json_is_null(v))
        *out = bench_copy_text("", 0);
    else if (json_is_string(v))
        *out = bench_copy_text(json_string_value(v), json_string_length(v));
    else if (json_is_integer(v))
        *out = bench_format("%lld", (long long)json_integer_value(v));
    else
        return jsonl_fault(r, "\"%s\" is %s; expected a string", field, jsonl_type(v));
    return *out ? SPEC_OK : SPEC_ERR_NOMEM;
}

/* ---- one line ------------------------------------------------------------ */

static const char *syntax_kind(const json_error_t *e) {
    switch (json_error_code(e)) {
    case json_error_premature_end_of_input: return "the line is cut off";
    case json_error_numeric_overflow: return "a number is too large";
    case json_error_invalid_utf8: return "not valid UTF-8";
    default: return "not valid JSON";
    }
}

static int syntax_fault(const jsonl *r, const json_error_t *e) {
    char text[JSON_ERROR_TEXT_LENGTH];
    size_t n = 0;
    /* jansson quotes the line, which may hold anything: keep it off the terminal. */
    for (const char *p = e->text; *p && n + 1 < sizeof text; p++)
        text[n++] = *p >= ' ' && *p < 127 ? *p : '?';
    text[n] = '\0';
    return jsonl_fault(r, "%s (%s, byte %d); expected %s", syntax_kind(e), text,
                       e->position > 0 ? e->position : 1, r->expected);
}

static int parse_line(jsonl *r, const char *text, size_t n) {
    json_error_t e;
    if (memchr(text, '\0', n)) return jsonl_fault(r, "the line holds a NUL byte; expected %s", r->expected);
    json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!line) return json_error_code(&e) == json_error_out_of_memory ? SPEC_ERR_NOMEM : syntax_fault(r, &e);
    int rc = json_is_object(line)
                 ? r->object(r, line)
                 : jsonl_fault(r, "the line is %s; expected %s", jsonl_type(line), r->expected);
    json_decref(line);
    return rc;
}

/* Counts a fault under skip_bad and carries on; otherwise hands it on. */
static int after_fault(jsonl *r, int rc) {
    if (rc != SPEC_ERR_CORRUPT || !r->skip_bad) return rc;
    if (r->n_bad++ == 0) r->first_bad = bench_copy_text(r->why->text, strlen(r->why->text));
    r->why->text[0] = '\0';
    return SPEC_OK;
}

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

static int line_too_long(jsonl *r) {
    return after_fault(
        r, jsonl_fault(r, "the line is longer than %zu MiB; expected one request a line", MAX_LINE >> 20));
}

/* One line without its newline. A BOM may open the file; to JSON a CR is space. */
static int take_line(jsonl *r, const char *text, size_t n) {
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
static int drain(jsonl *r, line_buffer *b, size_t fresh) {
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

static int read_lines(jsonl *r, FILE *f) {
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
                 ? specp_fail(r->why, SPEC_ERR_IO, "%s: is a directory; expected a %s file (.jsonl)", r->path,
                              r->kind)
                 : specp_fail(r->why, SPEC_ERR_IO, "%s: cannot read: %s", r->path, strerror(errno));
    if (rc == SPEC_OK && b.used && !b.dropping) rc = take_line(r, b.buf, b.used);
    free(b.buf);
    return rc;
}

static int split_memory(jsonl *r, const char *text, size_t n) {
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

char *jsonl_stem(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t n = strlen(base);
    if (n > 6 && strcmp(base + n - 6, ".jsonl") == 0) n -= 6;
    return bench_copy_text(base, n);
}

static int finish(jsonl *r, int rc) {
    if (rc == SPEC_OK && r->n_bad && !r->first_bad) rc = SPEC_ERR_NOMEM;
    if (rc == SPEC_ERR_NOMEM) specp_fail(r->why, rc, "%s: out of memory", r->path);
    if (rc == SPEC_OK) return rc;
    free(r->first_bad);
    r->first_bad = NULL;
    return rc;
}

int jsonl_parse(jsonl *r, const char *text, size_t n) { return finish(r, split_memory(r, text, n)); }

int jsonl_load(jsonl *r) {
    FILE *f = fopen(r->path, "rb");
    if (!f)
        return specp_fail(r->why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO,
                          "%s: cannot open: %s; expected a %s file (.jsonl)", r->path, strerror(errno),
                          r->kind);
    int rc = finish(r, read_lines(r, f));
    fclose(f);
    return rc;
}
