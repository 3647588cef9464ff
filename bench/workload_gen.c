/* SPDX-License-Identifier: MIT */
/*
 * Random numbers, text buffers and template expansion for the demo workload.
 *
 * A grammar is compiled once:
 *
 *     rules    sorted by name   | np | sentence | verb | ...
 *                                  |
 *                                  v first, n
 *     choices  | the {noun} | {a} {adj} {noun} | ...      text, length, and the
 *                                                         sum of weights so far
 *
 * A choice is drawn by binary search in those sums. Everything is integer
 * arithmetic on fixed-width types, so the text depends on the seed alone.
 */
#include "workload_gen.h"

#include <string.h>

#include "specp.h"

/* ---- random numbers --------------------------------------------------- */

#define GOLDEN 0x9e3779b97f4a7c15u

wl_rng wl_stream(uint64_t seed, uint64_t kind, uint64_t number) {
    wl_rng r = {specp_mix64(specp_mix64(specp_mix64(seed) ^ kind) ^ number)};
    return r;
}

uint64_t wl_next(wl_rng *r) {
    uint64_t x = specp_mix64(r->state);
    r->state += GOLDEN;
    return x;
}

uint32_t wl_below(wl_rng *r, uint32_t n) { return (uint32_t)(((wl_next(r) >> 32) * n) >> 32); }

bool wl_chance(wl_rng *r, uint32_t one_in) { return wl_below(r, one_in) == 0; }

#define WEIGHT_ONE (1u << 20)

static uint32_t weight(uint32_t rank, uint32_t skew) { return skew ? WEIGHT_ONE / (rank + skew) : 1; }

uint32_t wl_skewed(wl_rng *r, uint32_t n, uint32_t skew) {
    uint32_t total = 0, sum = 0, i = 0;
    for (uint32_t k = 0; k < n; k++) total += weight(k, skew);
    uint32_t x = wl_below(r, total);
    while ((sum += weight(i, skew)) <= x) i++;
    return i;
}

/* ---- the grammar ------------------------------------------------------ */

typedef struct wl_choice {
    const char *text;
    size_t n;
    uint32_t upto; /* sum of the weights of this choice and those before it */
} wl_choice;

typedef struct wl_compiled {
    const char *name;
    size_t first, n;
} wl_compiled;

struct wl_grammar {
    const spec_allocator *alloc;
    wl_compiled *rule;
    wl_choice *choice;
    size_t n_rules, n_choices;
};

static size_t count_choices(const char *body) {
    size_t n = 1;
    for (; *body; body++) n += *body == '|';
    return n;
}

static void compile_choices(wl_choice *out, const wl_rule *r) {
    uint32_t sum = 0, rank = 0;
    const char *at = r->body;
    for (;; at++, out++) {
        size_t n = strcspn(at, "|");
        sum += weight(rank++, r->skew);
        out->text = at, out->n = n, out->upto = sum;
        at += n;
        if (!*at) return;
    }
}

/* Keeps the rules sorted. There are a few hundred, so insertion is enough. */
static void insert_rule(wl_grammar *g, wl_compiled r) {
    size_t i = g->n_rules++;
    for (; i && strcmp(g->rule[i - 1].name, r.name) > 0; i--) g->rule[i] = g->rule[i - 1];
    g->rule[i] = r;
}

static void compile_table(wl_grammar *g, const wl_rule_table *t, size_t *first) {
    for (size_t i = 0; i < t->n; i++) {
        wl_compiled c = {t->rule[i].name, *first, count_choices(t->rule[i].body)};
        compile_choices(g->choice + c.first, &t->rule[i]);
        insert_rule(g, c);
        *first += c.n;
    }
}

int wl_grammar_new(wl_grammar **out, const wl_rule_table *table, size_t n_tables,
                   const spec_allocator *alloc) {
    size_t n_rules = 0, n_choices = 0, first = 0;
    for (size_t i = 0; i < n_tables; i++) {
        n_rules += table[i].n;
        for (size_t k = 0; k < table[i].n; k++) n_choices += count_choices(table[i].rule[k].body);
    }
    wl_grammar *g = specp_calloc(alloc, 1, sizeof *g);
    if (!g) return SPEC_ERR_NOMEM;
    g->alloc = alloc;
    g->n_choices = n_choices;
    g->choice = specp_alloc(alloc, n_choices, sizeof *g->choice);
    g->rule = specp_alloc(alloc, n_rules, sizeof *g->rule);
    if (!g->choice || !g->rule) {
        specp_release(alloc, g->rule, n_rules, sizeof *g->rule);
        g->rule = NULL;
        wl_grammar_free(g);
        return SPEC_ERR_NOMEM;
    }
    for (size_t i = 0; i < n_tables; i++) compile_table(g, &table[i], &first);
    *out = g;
    return SPEC_OK;
}

void wl_grammar_free(wl_grammar *g) {
    if (!g) return;
    specp_release(g->alloc, g->rule, g->n_rules, sizeof *g->rule);
    specp_release(g->alloc, g->choice, g->n_choices, sizeof *g->choice);
    specp_release(g->alloc, g, 1, sizeof *g);
}

static int compare_name(const char *name, const char *text, size_t n) {
    int d = strncmp(name, text, n);
    return d ? d : name[n] != 0;
}

static const wl_compiled *find_rule(const wl_grammar *g, const char *name, size_t n) {
    size_t lo = 0, hi = g->n_rules;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = compare_name(g->rule[mid].name, name, n);
        if (!d) return &g->rule[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static const wl_choice *draw(const wl_grammar *g, const wl_compiled *r, wl_rng *rng, int depth) {
    const wl_choice *c = g->choice + r->first;
    if (depth > WL_DEEP) return c;
    uint32_t x = wl_below(rng, c[r->n - 1].upto);
    size_t lo = 0, hi = r->n - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c[mid].upto <= x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return c + lo;
}

/* ---- text ------------------------------------------------------------- */

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static char to_lower(char c) { return is_upper(c) ? (char)(c + ('a' - 'A')) : c; }
static bool is_vowel(char c) { return c && strchr("aeiou", c); }

void wl_buf_init(wl_buf *b, wl_env *env) {
    memset(b, 0, sizeof *b);
    b->env = env;
}

void wl_buf_free(wl_buf *b) {
    if (b->env) specp_release(b->env->alloc, b->text, b->cap, 1);
    wl_buf_init(b, b->env);
}

void wl_clear(wl_buf *b) { b->n = b->article = 0; }

const char *wl_str(const wl_buf *b) { return b->n ? b->text : ""; }

/* Room for `more` bytes and a NUL. */
static bool reserve(wl_buf *b, size_t more) {
    if (b->env->err) return false;
    size_t want = b->n + more + 1;
    if (want <= b->cap) return true;
    size_t cap = want + want / 2 + 64;
    char *p = specp_resize(b->env->alloc, b->text, b->cap, cap, 1);
    if (!p) {
        b->env->err = SPEC_ERR_NOMEM;
        return false;
    }
    b->text = p, b->cap = cap;
    return true;
}

static void append(wl_buf *b, const char *s, size_t n) {
    if (!n || !reserve(b, n)) return;
    memcpy(b->text + b->n, s, n);
    b->n += n;
    b->text[b->n] = 0;
}

/* Whether "an" goes before the word, by its spelling. Enough for the words
 * that the templates use. */
static bool wants_an(const char *s, size_t n) {
    static const char *const consonants[] = {"uni", "us", "one", "eu"}, *const silent[] = {"hones", "hour"};
    char w[6] = {0};
    for (size_t i = 0; i < n && i < 5; i++) w[i] = to_lower(s[i]);
    for (size_t i = 0; i < WL_COUNT(consonants); i++)
        if (!strncmp(w, consonants[i], strlen(consonants[i]))) return false;
    for (size_t i = 0; i < WL_COUNT(silent); i++)
        if (!strncmp(w, silent[i], strlen(silent[i]))) return true;
    return is_vowel(w[0]);
}

void wl_putn(wl_buf *b, const char *s, size_t n) {
    size_t word = 0;
    while (word < n && s[word] == ' ') word++;
    if (b->article && word < n) {
        if (wants_an(s + word, n - word)) wl_splice(b, b->article, 0, "n");
        b->article = 0;
    }
    append(b, s, n);
}

void wl_put(wl_buf *b, const char *s) { wl_putn(b, s, strlen(s)); }

void wl_num(wl_buf *b, uint64_t x) {
    char digits[24];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + x % 10);
    while (x /= 10);
    wl_putn(b, digits + at, sizeof digits - at);
}

void wl_copy(wl_buf *to, const wl_buf *from) {
    wl_clear(to);
    wl_putn(to, wl_str(from), from->n);
}

void wl_splice(wl_buf *b, size_t at, size_t cut, const char *s) {
    size_t n = strlen(s);
    if (!reserve(b, n)) return;
    if (at > b->n || cut > b->n - at) {
        b->env->err = SPEC_ERR_INVALID;
        return;
    }
    memmove(b->text + at + n, b->text + at + cut, b->n - at - cut);
    memcpy(b->text + at, s, n);
    b->n = b->n - cut + n;
    b->text[b->n] = 0;
}

/* ---- inflection ------------------------------------------------------- */

static char last(const wl_buf *b, size_t from, size_t back) {
    return b->n >= from + back ? b->text[b->n - back] : 0;
}

/* city -> citi, so that -es and -ed can follow; false for play. */
static bool soften_y(wl_buf *b, size_t from) {
    if (last(b, from, 1) != 'y' || is_vowel(last(b, from, 2))) return false;
    b->text[b->n - 1] = 'i';
    return true;
}

static void inflect_s(wl_buf *b, size_t from) {
    char c = last(b, from, 1), before = last(b, from, 2);
    bool hiss = c == 's' || c == 'x' || c == 'z' || (c == 'h' && (before == 'c' || before == 's'));
    if (hiss || soften_y(b, from)) append(b, "e", 1);
    append(b, "s", 1);
}

static void inflect_ed(wl_buf *b, size_t from) {
    if (last(b, from, 1) == 'e')
        append(b, "d", 1);
    else {
        soften_y(b, from);
        append(b, "ed", 2);
    }
}

static void inflect_ing(wl_buf *b, size_t from) {
    if (last(b, from, 1) == 'e' && last(b, from, 2) != 'e') b->n--;
    append(b, "ing", 3);
}

void wl_inflect(wl_buf *b, size_t from, char how) {
    if (b->env->err || b->n == from) return;
    if (how == 's') inflect_s(b, from);
    if (how == 'e') inflect_ed(b, from);
    if (how == 'i') inflect_ing(b, from);
}

/* ---- templates -------------------------------------------------------- */

typedef struct slot {
    bool capital;
    char sigil; /* '$', '#' or 0 */
    const char *name;
    size_t n_name;
    char inflection; /* 's', 'e'd, 'i'ng or 0 */
    size_t length;   /* of the whole slot with its braces; 0 = not a slot */
} slot;

static slot parse_slot(const char *s, size_t n) {
    slot out = {0};
    size_t i = 1;
    if (i < n && s[i] == '^') out.capital = true, i++;
    if (i < n && (s[i] == '$' || s[i] == '#')) out.sigil = s[i++];
    size_t from = i;
    while (i < n && (is_lower(s[i]) || (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || s[i] == '-')) i++;
    out.name = s + from, out.n_name = i - from;
    if (i + 1 < n && s[i] == '.' && out.n_name) {
        out.inflection = s[i + 1];
        while (i < n && s[i] != '}') i++;
    }
    bool named = out.n_name && (out.sigil || is_lower(*out.name));
    if (named && i < n && s[i] == '}') out.length = i + 1;
    return out;
}

static size_t find_binding(const wl_gen *g, const char *name, size_t n) {
    size_t i = 0;
    while (i < g->n_bound && compare_name(g->name[i], name, n)) i++;
    return i;
}

static uint32_t number(const char **s) {
    uint32_t x = 0;
    while (**s >= '0' && **s <= '9') x = x * 10 + (uint32_t)(*(*s)++ - '0');
    return x;
}

static void say_range(wl_gen *g, wl_buf *b, const char *s) {
    uint32_t lo = number(&s), hi = 0;
    s += *s == '-';
    hi = number(&s);
    if (hi < lo)
        g->env->err = SPEC_ERR_INVALID;
    else
        wl_num(b, lo + wl_below(&g->rng, hi - lo + 1));
}

static void expand(wl_gen *g, wl_buf *b, const char *s, size_t n, int depth);

static void say_rule(wl_gen *g, wl_buf *b, const slot *s, int depth) {
    const wl_compiled *r = find_rule(g->env->grammar, s->name, s->n_name);
    if (!r) {
        g->env->err = SPEC_ERR_NOT_FOUND;
        return;
    }
    const wl_choice *c = draw(g->env->grammar, r, &g->rng, depth);
    expand(g, b, c->text, c->n, depth + 1);
}

static void say_bound(wl_gen *g, wl_buf *b, const slot *s) {
    size_t i = find_binding(g, s->name, s->n_name);
    if (i == g->n_bound)
        g->env->err = SPEC_ERR_NOT_FOUND;
    else
        wl_putn(b, wl_str(&g->value[i]), g->value[i].n);
}

static void say_slot(wl_gen *g, wl_buf *b, const slot *s, int depth) {
    size_t from = b->n;
    if (s->sigil == '#')
        say_range(g, b, s->name);
    else if (s->sigil)
        say_bound(g, b, s);
    else if (s->n_name == 1 && *s->name == 'a') {
        wl_put(b, "a");
        b->article = b->n;
    } else
        say_rule(g, b, s, depth);
    wl_inflect(b, from, s->inflection);
    if (s->capital && b->n > from && is_lower(b->text[from])) b->text[from] += 'A' - 'a';
}

static void expand(wl_gen *g, wl_buf *b, const char *s, size_t n, int depth) {
    size_t from = 0, i = 0;
    while (i < n && !g->env->err) {
        slot found = {0};
        if (s[i] == '{') found = parse_slot(s + i, n - i);
        if (!found.length) {
            i++;
            continue;
        }
        wl_putn(b, s + from, i - from);
        say_slot(g, b, &found, depth);
        from = i += found.length;
    }
    wl_putn(b, s + from, n - from);
}

void wl_say(wl_gen *g, wl_buf *b, const char *template) { expand(g, b, template, strlen(template), 0); }

void wl_say_one(wl_gen *g, wl_buf *b, const char *list) {
    uint32_t pick = wl_below(&g->rng, (uint32_t)count_choices(list));
    for (; pick; pick--) list += strcspn(list, "|") + 1;
    expand(g, b, list, strcspn(list, "|"), 0);
}

/* ---- generators ------------------------------------------------------- */

void wl_gen_init(wl_gen *g, wl_env *env, wl_rng rng) {
    memset(g, 0, sizeof *g);
    g->env = env;
    g->rng = rng;
    for (size_t i = 0; i < WL_BINDINGS; i++) wl_buf_init(&g->value[i], env);
    wl_buf_init(&g->scratch, env);
}

void wl_gen_free(wl_gen *g) {
    for (size_t i = 0; i < WL_BINDINGS; i++) wl_buf_free(&g->value[i]);
    wl_buf_free(&g->scratch);
}

/* By way of the scratch buffer, for the template may use the old value. */
void wl_bind(wl_gen *g, const char *name, const char *template) {
    size_t n = strlen(name), i = find_binding(g, name, n);
    if (i == WL_BINDINGS || n >= WL_NAME_MAX) {
        g->env->err = SPEC_ERR_FULL;
        return;
    }
    wl_clear(&g->scratch);
    wl_say_one(g, &g->scratch, template);
    if (i == g->n_bound) {
        memcpy(g->name[i], name, n + 1);
        g->n_bound++;
    }
    wl_copy(&g->value[i], &g->scratch);
}

const char *wl_bound(const wl_gen *g, const char *name) {
    size_t i = find_binding(g, name, strlen(name));
    return i < g->n_bound ? wl_str(&g->value[i]) : "";
}

/* ---- checking --------------------------------------------------------- */

static bool undefined_in(const wl_grammar *g, const wl_choice *c, slot *found) {
    for (size_t i = 0; i < c->n; i++) {
        if (c->text[i] != '{') continue;
        *found = parse_slot(c->text + i, c->n - i);
        bool article = found->n_name == 1 && *found->name == 'a';
        if (found->length && !found->sigil && !article && !find_rule(g, found->name, found->n_name))
            return true;
    }
    return false;
}

const char *wl_grammar_undefined(const wl_grammar *g, char *room, size_t n_room) {
    slot s = {0};
    for (size_t i = 0; i < g->n_choices; i++) {
        if (!undefined_in(g, &g->choice[i], &s)) continue;
        size_t n = s.n_name < n_room - 1 ? s.n_name : n_room - 1;
        memcpy(room, s.name, n);
        room[n] = 0;
        return room;
    }
    return NULL;
}
