/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_pattern.c - cuts a text into words by regular expressions (PCRE2).
 *
 *   stage 0:  \p{N}+              a12b | c        12 matches; "a" and "bc" lie between
 *   stage 1:  gpt-2's pattern     each of "a", "12", "bc" is cut again, on its own
 *
 * Bytes that are not UTF-8 are cut off first; they are words, and no pattern sees them.
 *
 * The library's own patterns are compiled to machine code where PCRE2 can, and none of them
 * needs more than a few steps a byte. A pattern from a file may need any number. So it is
 * interpreted, and tried at one place at a time with a limit on its steps, that is
 * raised as long as the text's whole allowance lasts. A step may be a long one ("a*+"), which
 * nobody counts, so there is a limit on the thread's processor time as well, far beyond what
 * the published patterns need.
 *
 * What patterns mean: PCRE2's \s has one character more than Unicode's white space, the Mongolian
 * vowel separator, so \s and \S are written out. ^ and $ are those of
 * Ruby in patterns from files, where they were written for Oniguruma: of lines.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>
#include <time.h>

#include "tokenizer.h"
#include "tokenizer_text.h"

#define WHITE "\\t-\\r\\x20\\x85\\p{Z}"

/* ---- memory: PCRE2 does not say sizes when it frees ----------------------------------- */

typedef union header {
    size_t size;
    max_align_t align;
} header;

static void *regex_alloc(size_t n, void *user) {
    header *h = n <= SIZE_MAX - sizeof *h ? specp_alloc(user, n + sizeof *h, 1) : NULL;
    if (!h) return NULL;
    h->size = n + sizeof *h;
    return h + 1;
}

static void regex_free(void *p, void *user) {
    header *h = p;
    if (h) specp_release(user, h - 1, h[-1].size, 1);
}

/* ---- compiling ------------------------------------------------------------------------- */

typedef struct writer {
    char *out; /* two bytes of a pattern become at most sizeof WHITE + 2 */
    size_t n;
} writer;

static void write_text(writer *w, const char *s, size_t n) {
    memcpy(w->out + w->n, s, n);
    w->n += n;
}

static void write_escape(writer *w, const char *p, bool in_class) {
    if (p[1] == 's' && in_class) {
        write_text(w, WHITE, sizeof WHITE - 1);
    } else if (p[1] == 's') {
        write_text(w, "[" WHITE "]", sizeof WHITE + 1);
    } else if (p[1] == 'S' && !in_class) {
        write_text(w, "[^" WHITE "]", sizeof WHITE + 2);
    } else {
        write_text(w, p, 2);
    }
}

/* Copies a pattern, \s and \S written out; in a class \S stays as it is. False: it has what Oniguruma
 * understands and PCRE2 takes for something else: a class in a class, or &&; or PCRE2's (*...). */
static bool write_pattern(writer *w, const char *p, size_t n) {
    bool in_class = false;
    if (n >= 2 && p[0] == '(' && p[1] == '*') return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\' && i + 1 < n) {
            write_escape(w, p + i, in_class);
            i++;
            continue;
        }
        if (in_class && (p[i] == '[' || (p[i] == '&' && i + 1 < n && p[i + 1] == '&'))) return false;
        if (p[i] == '[') {
            in_class = true;
            if (i + 1 < n && p[i + 1] == '^') write_text(w, p + i++, 1);
            if (i + 1 < n && p[i + 1] == ']') write_text(w, p + i++, 1); /* a first ] is a character */
        } else if (p[i] == ']') {
            in_class = false;
        }
        write_text(w, p + i, 1);
    }
    return true;
}

static int compile(spec_tokenizer *t, const writer *w, bool foreign, specp_stage *out, spec_message *why) {
    pcre2_compile_context *c = pcre2_compile_context_create(t->regex);
    if (!c) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    int code;
    PCRE2_SIZE at;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
    if (foreign) options |= PCRE2_MULTILINE;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)w->out, w->n, options, &code, &at, c);
    pcre2_compile_context_free(c);
    if (!re && code == PCRE2_ERROR_HEAP_FAILED) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    if (!re) {
        PCRE2_UCHAR text[120];
        char shown[160];
        if (pcre2_get_error_message(code, text, sizeof text) < 0) text[0] = 0;
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "the pattern \"%s\": %s",
                          specp_tokenizer_show(w->out, w->n, shown, sizeof shown), (char *)text);
    }
    if (!foreign) pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* without it: interpreted */
    *out = (specp_stage){re, foreign};
    return SPEC_OK;
}

int specp_pattern_add(spec_tokenizer *t, const char *pattern, size_t n, bool foreign, spec_message *why) {
    if (n == 0 || n > SPECP_MAX_PATTERN || t->n_stages == SPECP_MAX_STAGES)
        return specp_fail(why, SPEC_ERR_UNSUPPORTED,
                          "%zu patterns, one of %zu bytes: at most %d, of 1 to %d bytes", t->n_stages + 1, n,
                          SPECP_MAX_STAGES, SPECP_MAX_PATTERN);
    if (!t->regex) t->regex = pcre2_general_context_create(regex_alloc, regex_free, &t->alloc);
    size_t cap = n * sizeof WHITE;
    writer w = {t->regex ? specp_alloc(&t->alloc, cap, 1) : NULL, 0};
    if (!w.out) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    char shown[200];
    int err = write_pattern(&w, pattern, n)
                  ? compile(t, &w, foreign, &t->stage[t->n_stages], why)
                  : specp_fail(why, SPEC_ERR_UNSUPPORTED,
                               "the pattern \"%s\": classes within classes, && and (* are not supported",
                               specp_tokenizer_show(pattern, n, shown, sizeof shown));
    specp_release(&t->alloc, w.out, cap, 1);
    t->n_stages += !err;
    return err;
}

void specp_pattern_release(spec_tokenizer *t) {
    for (size_t i = 0; i < t->n_stages; i++) pcre2_code_free(t->stage[i].code);
    pcre2_general_context_free(t->regex);
}

/* ---- matching ------------------------------------------------------------------------------ */

#define STEPS_FIRST    100 /* the first limit at a place */
#define STEPS_A_BYTE   64  /* of a text, with a pattern from a file */
#define STEPS_AT_LEAST 1000000
#define NS_A_BYTE      4000
#define NS_AT_LEAST    1000000000
#define HEAP_KIB       (256u << 10)

typedef struct cutter {
    const spec_tokenizer *t;
    pcre2_match_data *match[SPECP_MAX_STAGES];
    pcre2_match_context *limit;
    uint64_t steps;        /* that are left */
    uint64_t tries, until; /* of the clock */
    const char *text;
    size_t base;
    specp_word_fn *fn;
    void *user;
    spec_message *why;
} cutter;

static int too_long(const cutter *c, size_t stage, const char *at) {
    return specp_fail(c->why, SPEC_ERR_UNSUPPORTED,
                      "byte %zu of the text: the pre-tokenizer's pattern %zu takes too long",
                      c->base + (size_t)(at - c->text), stage);
}

/* One match at a place, or anywhere after it: 1, 0 or an error of PCRE2. */
static int match_once(cutter *c, size_t stage, const char *text, size_t n, size_t at, uint32_t steps,
                      uint32_t options) {
    pcre2_set_match_limit(c->limit, steps);
    int rc = pcre2_match(c->t->stage[stage].code, (PCRE2_SPTR)text, n, at,
                         PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | options, c->match[stage], c->limit);
    return rc > 0 ? 1 : rc == PCRE2_ERROR_NOMATCH ? 0 : rc;
}

static uint64_t thread_ns(void) {
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)
               ? 0
               : (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A try of a counted pattern at a place, with the limit raised while it is too low. */
static int try_counted(cutter *c, size_t stage, const char *text, size_t n, size_t at) {
    for (uint64_t limit = STEPS_FIRST;; limit *= 4) {
        if (limit > c->steps || limit > UINT32_MAX) return PCRE2_ERROR_MATCHLIMIT;
        int rc = match_once(c, stage, text, n, at, (uint32_t)limit, PCRE2_ANCHORED);
        bool more = rc == PCRE2_ERROR_MATCHLIMIT;
        c->steps -= more ? limit : 1;
        if ((more || ++c->tries % 64 == 0) && thread_ns() > c->until) return PCRE2_ERROR_MATCHLIMIT;
        if (!more) return rc;
    }
}

/* The first match of a counted pattern at or after `at`. */
static int match_counted(cutter *c, size_t stage, const char *text, size_t n, size_t at) {
    int rc = 0;
    for (; at < n && rc == 0; at += specp_utf8_length(text + at, n - at))
        rc = try_counted(c, stage, text, n, at);
    return rc;
}

/* The first match at or after `at`: from..to. SPEC_ERR_NOT_FOUND: none. */
static int next_match(cutter *c, size_t stage, const char *text, size_t n, size_t at, size_t *from,
                      size_t *to) {
    int rc = c->t->stage[stage].counted ? match_counted(c, stage, text, n, at)
                                        : match_once(c, stage, text, n, at, UINT32_MAX, 0);
    if (rc == 0) return SPEC_ERR_NOT_FOUND;
    if (rc == PCRE2_ERROR_NOMEMORY) return specp_fail(c->why, SPEC_ERR_NOMEM, "out of memory");
    if (rc < 0) return too_long(c, stage, text + at);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(c->match[stage]);
    *from = o[0];
    *to = o[1];
    return SPEC_OK;
}

static int cut(cutter *c, size_t stage, const char *text, size_t n) {
    if (n == 0) return SPEC_OK;
    if (stage == c->t->n_stages) return c->fn(c->user, text, n);
    for (size_t at = 0; at < n;) {
        size_t from = n, to = n;
        int err = next_match(c, stage, text, n, at, &from, &to);
        if (err && err != SPEC_ERR_NOT_FOUND) return err;
        if (from < at || to < from) return too_long(c, stage, text + at); /* \K can do that */
        if ((err = cut(c, stage + 1, text + at, from - at)) != 0) return err;
        if ((err = cut(c, stage + 1, text + from, to - from)) != 0) return err;
        at = to;
    }
    return SPEC_OK;
}

/* Valid stretches are cut, the others are words. */
static int cut_valid(cutter *c, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t from = at, len;
        while (at < n && (len = specp_utf8_length(text + at, n - at)) != 0) at += len;
        int err = cut(c, 0, text + from, at - from);
        if (err) return err;
        from = at;
        while (at < n && specp_utf8_length(text + at, n - at) == 0) at++;
        if (at > from && (err = c->fn(c->user, text + from, at - from)) != 0) return err;
    }
    return SPEC_OK;
}

int specp_pattern_cut(const spec_tokenizer *t, const char *text, size_t n, size_t base, specp_word_fn *fn,
                      void *user, spec_message *why) {
    if (t->n_stages == 0) return fn(user, text, n);
    cutter c = {.t = t, .text = text, .base = base, .fn = fn, .user = user, .why = why};
    c.steps = STEPS_AT_LEAST + (uint64_t)STEPS_A_BYTE * n;
    c.until = thread_ns() + NS_AT_LEAST + (uint64_t)NS_A_BYTE * n;
    int err = SPEC_ERR_NOMEM;
    c.limit = pcre2_match_context_create(t->regex);
    if (c.limit) {
        pcre2_set_heap_limit(c.limit, HEAP_KIB);
        err = SPEC_OK;
    }
    for (size_t i = 0; i < t->n_stages && !err; i++) {
        c.match[i] = pcre2_match_data_create(1, t->regex);
        if (!c.match[i]) err = SPEC_ERR_NOMEM;
    }
    err = err ? specp_fail(why, err, "out of memory") : cut_valid(&c, text, n);
    for (size_t i = 0; i < t->n_stages; i++) pcre2_match_data_free(c.match[i]);
    pcre2_match_context_free(c.limit);
    return err;
}
