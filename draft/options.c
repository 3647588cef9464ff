/* SPDX-License-Identifier: MIT */
/*
 * The options of the built-in drafters, key=value,key=value, and the account of
 * memory that they keep.
 *
 * Numbers are read here and not by strtod, whose decimal point depends on the
 * locale of the host program.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "draft_internal.h"

/* A part of the text, not ended by a zero. For "%.*s" it is cut at 80 bytes. */
typedef struct word {
    const char *at;
    size_t len;
} word;

#define SHOW(w) (int)((w).len < 80 ? (w).len : 80), (w).at

static bool word_is(word w, const char *s) { return strlen(s) == w.len && memcmp(w.at, s, w.len) == 0; }

/* ---- numbers ----------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* [-]digits as a whole; numbers beyond 18 digits are refused. */
static bool read_int(word w, int64_t *out) {
    size_t i = 0;
    bool negative = w.len && w.at[0] == '-';
    if (negative) i++;
    if (i == w.len || w.len - i > 18) return false;
    int64_t v = 0;
    for (; i < w.len; i++) {
        if (!is_digit(w.at[i])) return false;
        v = v * 10 + (w.at[i] - '0');
    }
    *out = negative ? -v : v;
    return true;
}

/* Reads digits from *i on into the mantissa; those beyond 18 only count. */
static int read_digits(word w, size_t *i, int64_t *mantissa, int *dropped) {
    int n = 0;
    for (; *i < w.len && is_digit(w.at[*i]); (*i)++, n++) {
        if (*mantissa < 100000000000000000)
            *mantissa = *mantissa * 10 + (w.at[*i] - '0');
        else
            (*dropped)++;
    }
    return n;
}

/* v * 10^exponent, without the maths library. */
static double scale(double v, int64_t exponent) {
    double power = 1;
    for (int64_t i = exponent < 0 ? -exponent : exponent; i > 0 && power <= DBL_MAX; i--) power *= 10;
    return exponent < 0 ? v / power : v * power;
}

/* [+-]digits as a whole: what follows the e. */
static bool read_exponent(word w, int64_t *out) {
    bool negative = w.len && w.at[0] == '-';
    if (negative || (w.len && w.at[0] == '+')) w = (word){w.at + 1, w.len - 1};
    if (!w.len || w.len > 4 || !is_digit(w.at[0]) || !read_int(w, out)) return false;
    if (negative) *out = -*out;
    return true;
}

/* [-]digits[.digits][e[+-]digits] as a whole, at most 64 characters. */
static bool read_real(word w, double *out) {
    size_t i = w.len && w.at[0] == '-';
    int64_t mantissa = 0, exponent = 0;
    int dropped = 0, fraction = 0;
    if (w.len > 64) return false;
    int whole = read_digits(w, &i, &mantissa, &dropped);
    if (i < w.len && w.at[i] == '.') {
        i++;
        fraction = read_digits(w, &i, &mantissa, &dropped);
    }
    if (whole + fraction == 0) return false;
    if (i < w.len) {
        word rest = {w.at + i + 1, w.len - i - 1};
        if ((w.at[i] != 'e' && w.at[i] != 'E') || !read_exponent(rest, &exponent)) return false;
    }
    double v = scale((double)mantissa, exponent + dropped - fraction);
    *out = w.at[0] == '-' ? -v : v;
    return isfinite(v);
}

/* ---- one value --------------------------------------------------------- */

/* What the parser is at, for the messages. */
typedef struct place {
    const char *drafter;
    const specp_option *option;
    word value;
    spec_message *why;
} place;

static int bad_value(const place *p, const char *expected) {
    return specp_fail(p->why, SPEC_ERR_INVALID, "drafter %s: option %s: '%.*s' is not %s", p->drafter,
                      p->option->key, SHOW(p->value), expected);
}

static int not_in_range(const place *p) {
    const specp_option *o = p->option;
    char expected[96];
    if (o->type == SPECP_OPT_INT)
        snprintf(expected, sizeof expected, "a whole number from %" PRId64 " to %" PRId64, (int64_t)o->min,
                 (int64_t)o->max);
    else
        snprintf(expected, sizeof expected, "a number from %.15g to %.15g", o->min, o->max);
    return bad_value(p, expected);
}

static int set_int(const place *p, int64_t *target) {
    int64_t v;
    if (!read_int(p->value, &v) || (double)v < p->option->min || (double)v > p->option->max)
        return not_in_range(p);
    *target = v;
    return SPEC_OK;
}

static int set_real(const place *p, double *target) {
    double v;
    if (!read_real(p->value, &v) || v < p->option->min || v > p->option->max) return not_in_range(p);
    *target = v;
    return SPEC_OK;
}

static int set_bool(const place *p, bool *target) {
    if (!word_is(p->value, "0") && !word_is(p->value, "1")) return bad_value(p, "0 or 1");
    *target = p->value.at[0] == '1';
    return SPEC_OK;
}

/* Appends ", s" or "s" to a list in a buffer, as far as there is room. */
static void list_add(char *list, size_t size, const char *s) {
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", s);
}

static int set_word(const place *p, int *target) {
    char names[300] = "", expected[320];
    for (int i = 0; p->option->words[i]; i++) {
        if (word_is(p->value, p->option->words[i])) {
            *target = i;
            return SPEC_OK;
        }
        list_add(names, sizeof names, p->option->words[i]);
    }
    snprintf(expected, sizeof expected, "one of %s", names);
    return bad_value(p, expected);
}

static int set_text(const place *p, char *target) {
    if (!p->value.len || p->value.len >= p->option->size) {
        char expected[64];
        snprintf(expected, sizeof expected, "a text of 1 to %zu bytes", p->option->size - 1);
        return bad_value(p, expected);
    }
    memcpy(target, p->value.at, p->value.len);
    target[p->value.len] = 0;
    return SPEC_OK;
}

static int set_value(const place *p, void *values) {
    void *target = (char *)values + p->option->offset;
    switch (p->option->type) {
    case SPECP_OPT_INT: return set_int(p, target);
    case SPECP_OPT_REAL: return set_real(p, target);
    case SPECP_OPT_BOOL: return set_bool(p, target);
    case SPECP_OPT_WORD: return set_word(p, target);
    case SPECP_OPT_TEXT: return set_text(p, target);
    }
    return SPEC_ERR_INVALID;
}

/* ---- the list ---------------------------------------------------------- */

static size_t find_key(word key, const specp_option *table, size_t n) {
    size_t i = 0;
    while (i < n && !word_is(key, table[i].key)) i++;
    return i;
}

static int unknown_key(const char *drafter, word key, const specp_option *table, size_t n,
                       spec_message *why) {
    char keys[300] = "";
    for (size_t i = 0; i < n; i++) list_add(keys, sizeof keys, table[i].key);
    if (!n)
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: it has no options, but '%.*s' was given",
                          drafter, SHOW(key));
    return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: there is no option '%.*s', expected one of %s",
                      drafter, SHOW(key), keys);
}

int specp_options_parse(const char *drafter, const char *text, const specp_option *table, size_t n,
                        void *values, spec_message *why) {
    uint64_t seen = 0;
    const char *at = text && *text ? text : NULL;
    while (at) {
        const char *comma = strchr(at, ',');
        word item = {at, comma ? (size_t)(comma - at) : strlen(at)};
        const char *equals = memchr(item.at, '=', item.len);
        if (!equals)
            return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': expected key=value", drafter,
                              SHOW(item));
        word key = {item.at, (size_t)(equals - item.at)};
        size_t k = find_key(key, table, n);
        if (k == n) return unknown_key(drafter, key, table, n, why);
        if (seen >> k & 1)
            return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: option %s is given twice", drafter,
                              table[k].key);
        seen |= (uint64_t)1 << k;
        place p = {drafter, &table[k], {equals + 1, item.len - key.len - 1}, why};
        int err = set_value(&p, values);
        if (err) return err;
        at = comma ? comma + 1 : NULL;
    }
    return SPEC_OK;
}

/* ---- a file before the list --------------------------------------------- */

/* What has a '=' is an option, unless it begins with a folder: ./a=b. */
static bool is_option(word item) {
    const char *equals = memchr(item.at, '=', item.len);
    return equals && !memchr(item.at, '/', (size_t)(equals - item.at));
}

int specp_options_file(const char *drafter, const char *text, char *file, size_t size, const char **rest,
                       spec_message *why) {
    const char *comma = text ? strchr(text, ',') : NULL;
    word item = {text ? text : "", 0};
    item.len = comma ? (size_t)(comma - text) : strlen(item.at);
    if (!item.len || is_option(item))
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: expected a file first: %s:FILE,key=value",
                          drafter, drafter);
    if (item.len >= size)
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s...': the path is longer than %zu bytes",
                          drafter, SHOW(item), size - 1);
    memcpy(file, item.at, item.len);
    file[item.len] = '\0';
    *rest = comma ? comma + 1 : "";
    if (comma && !**rest)
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '': expected key=value", drafter);
    return SPEC_OK;
}

/* ---- account of memory ------------------------------------------------- */

static void *account_fn(void *user, void *ptr, size_t old_size, size_t new_size) {
    specp_account *a = user;
    void *p = NULL;
    if (!new_size)
        specp_release(&a->inner, ptr, old_size, 1);
    else if (!ptr)
        p = specp_alloc(&a->inner, new_size, 1);
    else
        p = specp_resize(&a->inner, ptr, old_size, new_size, 1);
    /* Modulo 2^64 a negative difference adds up as it should. */
    if (p || !new_size)
        atomic_fetch_add_explicit(&a->bytes, (uint64_t)new_size - old_size, memory_order_relaxed);
    return p;
}

spec_allocator specp_account_init(specp_account *a, const spec_allocator *inner) {
    a->inner = inner ? *inner : (spec_allocator){0};
    atomic_init(&a->bytes, 0);
    return (spec_allocator){account_fn, a};
}

uint64_t specp_account_bytes(specp_account *a) {
    return atomic_load_explicit(&a->bytes, memory_order_relaxed);
}
