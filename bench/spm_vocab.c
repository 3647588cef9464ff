/* SPDX-License-Identifier: MIT */
/*
 * Reading a .vocab, writing the metadata. The file, an id a line:
 *
 *     <unk>   0       what merging never makes has the score 0: <unk>, <s>, </s>, <pad>, control and
 *     <s>     0       user-defined symbols, bytes
 *     </s>    0
 *     <0x00>  0
 *     ...
 *     _t      -0      what it makes has -0, -1, -2, ... in the order in which it was learnt,
 *     he      -1      characters last
 *     ...
 *
 * Other kinds of models have logarithms of probabilities there, and are refused by that.
 */
#include "spm_vocab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"
#include "tokenizer_text.h"

#define MOST_BYTES ((size_t)1 << 28) /* of a file */

/* ---- life ---------------------------------------------------------------- */

int spm_vocab_new(spm_vocab *out, size_t n, size_t n_text, const spec_allocator *alloc) {
    spm_vocab v = {.n = n, .n_text = n_text, .unknown = -1, .bos = -1, .eos = -1};
    if (alloc) v.alloc = *alloc;
    v.piece = specp_calloc(alloc, n, sizeof *v.piece);
    v.length = specp_calloc(alloc, n, sizeof *v.length);
    v.score = specp_calloc(alloc, n, sizeof *v.score);
    v.kind = specp_calloc(alloc, n, sizeof *v.kind);
    if (n_text) v.text = specp_calloc(alloc, n_text, 1);
    if (v.piece && v.length && v.score && v.kind && (v.text || !n_text)) {
        *out = v;
        return SPEC_OK;
    }
    spm_vocab_release(&v);
    return SPEC_ERR_NOMEM;
}

void spm_vocab_release(spm_vocab *v) {
    spec_allocator alloc = v->alloc;
    specp_release(&alloc, v->piece, v->n, sizeof *v->piece);
    specp_release(&alloc, v->length, v->n, sizeof *v->length);
    specp_release(&alloc, v->score, v->n, sizeof *v->score);
    specp_release(&alloc, v->kind, v->n, sizeof *v->kind);
    specp_release(&alloc, v->text, v->n_text, 1);
    *v = (spm_vocab){0};
}

/* ---- reading ------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    char *text; /* (n of cap) the file */
    size_t n, cap;
    spm_vocab v;
    size_t n_merged; /* pieces with a score */
    size_t n_bytes;
    spec_message *why;
} reader;

static int no_memory(const reader *r) {
    return specp_fail(r->why, SPEC_ERR_NOMEM, "%s: out of memory", r->path);
}

typedef struct shown {
    char text[80];
} shown;

static shown show(const char *s, size_t n) {
    shown x = {""};
    specp_tokenizer_show(s, n, x.text, sizeof x.text);
    return x;
}

static int read_file(reader *r, FILE *f, const spec_allocator *alloc) {
    size_t got;
    do {
        if (r->n == r->cap) {
            size_t cap = r->cap ? 2 * r->cap : (size_t)1 << 16;
            if (cap > MOST_BYTES)
                return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: %zu bytes are no vocabulary", r->path, r->n);
            char *grown = specp_resize(alloc, r->text, r->cap, cap, 1);
            if (!grown) return no_memory(r);
            r->text = grown;
            r->cap = cap;
        }
        errno = 0;
        got = fread(r->text + r->n, 1, r->cap - r->n, f);
        r->n += got;
    } while (got);
    if (!ferror(f)) return SPEC_OK;
    return specp_fail(r->why, SPEC_ERR_IO, "%s: cannot read: %s", r->path, strerror(errno));
}

/* The line that begins at *at, without its end; *at goes behind that. */
static const char *next_line(const reader *r, size_t *at, size_t *n) {
    const char *line = r->text + *at, *end = memchr(line, '\n', r->n - *at);
    *n = end ? (size_t)(end - line) : r->n - *at;
    *at += *n + 1;
    return line;
}

/* -3.14159, -1e+06 */
static bool is_fraction(const char *s, size_t n) {
    size_t point = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        point += s[i] == '.' || s[i] == 'e';
        rest += (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '+';
    }
    return point && point + rest == n;
}

/* The score of line `line`, n characters: *merged if it is one that merging gives. */
static int read_score(reader *r, size_t line, const char *s, size_t n, bool *merged) {
    char want[32];
    size_t n_want = (size_t)snprintf(want, sizeof want, "-%zu", r->n_merged);
    *merged = n == n_want && memcmp(s, want, n) == 0;
    if (*merged || (n == 1 && *s == '0')) return SPEC_OK;
    if (is_fraction(s, n))
        return specp_fail(r->why, SPEC_ERR_UNSUPPORTED,
                          "%s:%zu: the score is %s; expected a vocabulary of spm_train --model_type=bpe, "
                          "whose scores are 0, -1, -2, ...",
                          r->path, line, show(s, n).text);
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s:%zu: the score is \"%s\", expected %s or 0", r->path,
                      line, show(s, n).text, want);
}

static bool is(const spm_vocab *v, size_t i, const char *s, size_t n) {
    return v->length[i] == n && memcmp(v->piece[i], s, n) == 0;
}

static bool is_byte(const spm_vocab *v, size_t i) {
    char name[8];
    int byte = specp_byte_of_name(v->piece[i], v->length[i]);
    return byte >= 0 && is(v, i, name, (size_t)snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte));
}

/* A piece that merging does not make. */
static void take_special(reader *r, size_t i) {
    spm_vocab *v = &r->v;
    bool bos = is(v, i, "<s>", 3), eos = is(v, i, "</s>", 4), unknown = is(v, i, "<unk>", 5);
    v->kind[i] = unknown                              ? SPEC_TOKEN_UNKNOWN
                 : bos || eos || is(v, i, "<pad>", 5) ? SPEC_TOKEN_CONTROL
                 : is_byte(v, i)                      ? SPEC_TOKEN_BYTE
                                                      : SPEC_TOKEN_USER;
    if (bos) v->bos = (spec_token)i;
    if (eos) v->eos = (spec_token)i;
    if (unknown) v->unknown = (spec_token)i;
    r->n_bytes += v->kind[i] == SPEC_TOKEN_BYTE;
}

static bool is_utf8(const char *s, size_t n) {
    size_t len = 1;
    for (; n && len; s += len, n -= len) len = specp_utf8_length(s, n);
    return len != 0;
}

static int read_line(reader *r, size_t i, const char *line, size_t n) {
    size_t tab = n;
    bool merged;
    while (tab > 0 && line[tab - 1] != '\t') tab--; /* the last one: a tab may be a piece */
    if (tab < 2 || !is_utf8(line, tab - 1))
        return specp_fail(r->why, SPEC_ERR_CORRUPT,
                          "%s:%zu: expected a piece in UTF-8, a tab and a score, found \"%s\"", r->path,
                          i + 1, show(line, n).text);
    int rc = read_score(r, i + 1, line + tab, n - tab, &merged);
    if (rc != SPEC_OK) return rc;
    r->v.piece[i] = line;
    r->v.length[i] = tab - 1;
    if (!merged) {
        take_special(r, i);
        return SPEC_OK;
    }
    r->v.kind[i] = SPEC_TOKEN_NORMAL;
    r->v.score[i] = -(float)r->n_merged++;
    return SPEC_OK;
}

static int read_lines(reader *r, const spec_allocator *alloc) {
    size_t n = 0, len, at = 0;
    for (size_t i = 0; i < r->n; i++) n += r->text[i] == '\n' || i + 1 == r->n;
    if (n == 0 || n > SPECP_MAX_TOKENS)
        return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: %zu lines, expected 1 to %zu", r->path, n,
                          SPECP_MAX_TOKENS);
    if (spm_vocab_new(&r->v, n, 0, alloc)) return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        const char *line = next_line(r, &at, &len);
        int rc = read_line(r, i, line, len);
        if (rc != SPEC_OK) return rc;
    }
    return SPEC_OK;
}

/* ---- the whole ----------------------------------------------------------- */

typedef struct entry {
    const char *s;
    size_t n, line;
} entry;

static int compare(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int check_distinct(const reader *r) {
    const spm_vocab *v = &r->v;
    int rc = SPEC_OK;
    entry *e = specp_alloc(&v->alloc, v->n, sizeof *e);
    if (!e) return no_memory(r);
    for (size_t i = 0; i < v->n; i++) e[i] = (entry){v->piece[i], v->length[i], i + 1};
    qsort(e, v->n, sizeof *e, compare);
    for (size_t i = 1; i < v->n && rc == SPEC_OK; i++)
        if (e[i].n == e[i - 1].n && memcmp(e[i].s, e[i - 1].s, e[i].n) == 0)
            rc = specp_fail(r->why, SPEC_ERR_CORRUPT, "%s:%zu: \"%s\" is the piece of line %zu too", r->path,
                            e[i].line, show(e[i].s, e[i].n).text, e[i - 1].line);
    specp_release(&v->alloc, e, v->n, sizeof *e);
    return rc;
}

static int mark_control(reader *r, const char *names) {
    spm_vocab *v = &r->v;
    for (size_t n; *names; names += n + (names[n] == ',')) {
        size_t i = 0;
        n = strcspn(names, ",");
        while (i < v->n && !(v->kind[i] == SPEC_TOKEN_USER && is(v, i, names, n))) i++;
        if (i == v->n)
            return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: there is no control symbol \"%s\"", r->path,
                              show(names, n).text);
        v->kind[i] = SPEC_TOKEN_CONTROL;
    }
    return SPEC_OK;
}

static int check_special(const reader *r) {
    if (r->v.unknown < 0)
        return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: expected a line \"<unk>\", a tab and 0", r->path);
    if (r->n_bytes == 0 || r->n_bytes == 256) return SPEC_OK;
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: %zu bytes <0x..>, expected 256 or none", r->path,
                      r->n_bytes);
}

int spm_vocab_load(spm_vocab *out, const char *path, const spm_vocab_options *options,
                   const spec_allocator *alloc, spec_message *why) {
    reader r = {.path = path, .why = why};
    FILE *f = fopen(path, "rb");
    if (!f)
        return specp_fail(why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO, "%s: cannot open: %s",
                          path, strerror(errno));
    int rc = read_file(&r, f, alloc);
    fclose(f);
    if (rc == SPEC_OK) rc = read_lines(&r, alloc);
    if (rc == SPEC_OK) rc = check_distinct(&r);
    if (rc == SPEC_OK) rc = check_special(&r);
    if (rc == SPEC_OK && options && options->control) rc = mark_control(&r, options->control);
    if (rc != SPEC_OK) {
        specp_release(alloc, r.text, r.cap, 1);
        spm_vocab_release(&r.v);
        return rc;
    }
    *out = r.v;
    out->text = r.text;
    out->n_text = r.cap;
    out->no_dummy_prefix = options && options->no_dummy_prefix;
    return SPEC_OK;
}

/* ---- writing ------------------------------------------------------------- */

/* "None" is the largest 32-bit number: without a key, readers take 0, 1 and 2. */
static int write_id(spec_writer *w, const char *key, spec_token id) {
    return spec_writer_meta_uint(w, key, id < 0 ? UINT32_MAX : (uint64_t)id);
}

int spm_vocab_write(spec_writer *w, const spm_vocab *v) {
    int rc = spec_writer_meta_string(w, "tokenizer.ggml.model", "llama", 5);
    if (rc == SPEC_OK) rc = spec_writer_meta_strings(w, "tokenizer.ggml.tokens", v->piece, v->length, v->n);
    if (rc == SPEC_OK) rc = spec_writer_meta_floats(w, "tokenizer.ggml.scores", v->score, v->n);
    if (rc == SPEC_OK) rc = spec_writer_meta_ints(w, "tokenizer.ggml.token_type", v->kind, v->n);
    if (rc == SPEC_OK) rc = write_id(w, "tokenizer.ggml.unknown_token_id", v->unknown);
    if (rc == SPEC_OK) rc = write_id(w, "tokenizer.ggml.bos_token_id", v->bos);
    if (rc == SPEC_OK) rc = write_id(w, "tokenizer.ggml.eos_token_id", v->eos);
    if (rc == SPEC_OK) rc = spec_writer_meta_bool(w, "tokenizer.ggml.add_bos_token", v->bos >= 0);
    if (rc == SPEC_OK && v->no_dummy_prefix)
        rc = spec_writer_meta_bool(w, "tokenizer.ggml.add_space_prefix", 0);
    return rc;
}

int spm_vocab_save(const spm_vocab *v, const char *path, spec_message *why) {
    spec_writer *w;
    int rc = spec_writer_new(&w, path, SPEC_FORMAT_GGUF, &v->alloc, why);
    if (rc != SPEC_OK) return rc;
    rc = spec_writer_meta_string(w, "general.architecture", "llama", 5);
    if (rc == SPEC_OK) rc = spm_vocab_write(w, v);
    if (rc == SPEC_OK) return spec_writer_finish(w, why);
    spec_writer_abandon(w);
    return specp_fail(why, rc, "%s: %s", path, spec_strerror(rc));
}
