/* SPDX-License-Identifier: MIT */
/*
 * The kind "edits": a source file and an instruction in the prompt, the file
 * after the change in the response. A session makes one to four changes to the
 * same file; the next prompt holds the file as the last response left it.
 *
 *     head of the file        imports, constants, record type
 *     (empty line)
 *     function                begins at a line that starts with the opener
 *     (empty line)            and ends before the next empty line
 *     function ...
 *
 * The file is text in s->work, and edits are splices of it.
 */
#include "workload_files.h"

#include <string.h>

#define STREAM 2u /* of the world */

/* The session's state words. */
enum { USED, N_FUNCTIONS }; /* bit set of function templates, how many of the language */

/* ---- text ------------------------------------------------------------- */

static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Puts `to` wherever `from` stands as a whole name. */
static void replace_name(wl_buf *b, const char *from, const char *to) {
    size_t n = strlen(from), m = strlen(to);
    for (size_t at = 0; at + n <= b->n && !b->env->err; at++) {
        if (memcmp(b->text + at, from, n)) continue;
        if ((at && in_name(b->text[at - 1])) || in_name(b->text[at + n])) continue;
        wl_splice(b, at, n, to);
        at += m - 1;
    }
}

/* Where a string begins at or after `from`, or the end. */
static size_t find(const wl_buf *b, size_t from, const char *what) {
    const char *p = from < b->n ? strstr(b->text + from, what) : NULL;
    return p ? (size_t)(p - b->text) : b->n;
}

static size_t end_of_line(const wl_buf *b, size_t at) {
    size_t end = find(b, at, "\n");
    return end < b->n ? end + 1 : end;
}

static size_t start_of_line(const wl_buf *b, size_t at) {
    while (at && b->text[at - 1] != '\n') at--;
    return at;
}

/* ---- functions of the file -------------------------------------------- */

typedef struct span {
    size_t from, to; /* to: just past the newline of the last line */
} span;

static const wl_language *language(const wl_session *s) { return wl_repositories[s->app].language; }

/* Where the first function at or after a place begins, or the end. */
static size_t find_opener(const wl_session *s, size_t from) {
    size_t at = find(&s->work, from, language(s)->opener);
    while (at && at < s->work.n && s->work.text[at - 1] != '\n')
        at = find(&s->work, at + 1, language(s)->opener);
    return at;
}

/* Function number i of the file, or an empty span. */
static span find_function(const wl_session *s, uint32_t i) {
    span f = {0, 0};
    for (;; i--) {
        f.from = find_opener(s, f.to);
        size_t blank = find(&s->work, f.from, "\n\n");
        f.to = blank < s->work.n ? blank + 1 : blank;
        if (!i || f.from == s->work.n) return f;
    }
}

static uint32_t count_functions(const wl_session *s) {
    uint32_t n = 0;
    for (span f = find_function(s, 0); f.from < f.to; f = find_function(s, n)) n++;
    return n;
}

/* Binds the name that stands at a place of the file. */
static void bind_part(wl_session *s, const char *to, size_t from) {
    char name[64];
    size_t n = 0;
    if (s->env->err) return;
    while (n + 1 < sizeof name && in_name(s->work.text[from + n])) name[n] = s->work.text[from + n], n++;
    name[n] = 0;
    wl_bind(&s->gen, to, name);
}

/* Draws a function and binds its name and its first argument. */
static span draw_function(wl_session *s) {
    span f = find_function(s, wl_below(&s->gen.rng, count_functions(s)));
    size_t name = f.from + strlen(language(s)->opener);
    bind_part(s, "function", name);
    bind_part(s, "argument", find(&s->work, name, "(") + 1);
    return f;
}

/* ---- building a file -------------------------------------------------- */

static void add_function(wl_gen *g, wl_buf *b, const wl_language *l, uint32_t i) {
    wl_put(b, "\n");
    wl_say(g, b, l->function[i]);
}

/* Draws a function template that the file does not have; N_FUNCTIONS if none. */
static uint32_t draw_unused(wl_rng *r, uint32_t used, uint32_t n) {
    uint32_t free = 0, i = 0;
    for (uint32_t k = 0; k < n; k++) free += !(used >> k & 1);
    if (!free) return n;
    uint32_t pick = wl_below(r, free);
    for (;; i++)
        if (!(used >> i & 1) && !pick--) return i;
}

/* The file number `file` of a repository. Its names come from the world's
 * stream, so that every session finds the same file. */
static void build_file(wl_session *s, uint32_t file) {
    static const char *const names[][2] = {
        {"f1", "{number_field}"},
        {"f2", "{text_field}"},
        {"f3", "mean_{number_field}|{number_field}_limit|max_{number_field}"},
        {"f4", "{text_field}_code|{text_field}_name"},
        {"c1", "{limit_name}"},
        {"c2", "{rate_name}"}};
    const wl_language *l = language(s);
    wl_rng own = s->gen.rng;
    s->gen.rng = wl_stream(WL_WORLD, STREAM, s->app * 100 + file);
    const char *entity = wl_repositories[s->app].entities;
    for (uint32_t i = 0; i < file; i++) entity += strcspn(entity, "|") + 1;
    wl_clear(&s->work);
    wl_putn(&s->work, entity, strcspn(entity, "|"));
    wl_bind(&s->gen, "e", wl_str(&s->work));
    wl_bind(&s->gen, "es", "{$e.s}");
    for (size_t i = 0; i < WL_COUNT(names); i++) wl_bind(&s->gen, names[i][0], names[i][1]);
    wl_clear(&s->work);
    wl_say(&s->gen, &s->work, l->head);
    uint32_t n = 0;
    while (n < WL_MAX_FUNCTIONS && l->function[n]) n++;
    s->state[N_FUNCTIONS] = n;
    for (uint32_t k = 3 + wl_below(&s->gen.rng, 3); k; k--) {
        uint32_t i = draw_unused(&s->gen.rng, s->state[USED], n);
        s->state[USED] |= 1u << i;
        add_function(&s->gen, &s->work, l, i);
    }
    s->gen.rng = own;
}

static void edits_open(wl_session *s) {
    s->app = wl_skewed(&s->gen.rng, (uint32_t)wl_n_repositories, 2);
    s->group = wl_repositories[s->app].name;
    s->turns_left = 1 + wl_below(&s->gen.rng, 4);
    build_file(s, wl_below(&s->gen.rng, 4));
}

/* ---- edits ------------------------------------------------------------ */

/* Each makes a change in s->work, says the instruction to `ask`, and returns
 * the function that changed, empty when it is more than one. */
typedef span (*edit)(wl_session *s, wl_buf *ask);

static const span everywhere = {0, 0};

static span edit_rename(wl_session *s, wl_buf *ask) {
    static const struct {
        const char *name, *from, *to;
    } names[] = {
        {"f1", "{$f1}", "{new_prefix}_{$f1}"},  {"f2", "{$f2}", "{new_prefix}_{$f2}"},
        {"f3", "{$f3}", "{new_prefix}_{$f3}"},  {"f4", "{$f4}", "{new_prefix}_{$f4}"},
        {"c1", "{$c1}", "{limit_name}_{#2-9}"},
    };
    uint32_t i = wl_below(&s->gen.rng, WL_COUNT(names));
    wl_bind(&s->gen, "from", names[i].from);
    wl_bind(&s->gen, "to", names[i].to);
    replace_name(&s->work, wl_bound(&s->gen, "from"), wl_bound(&s->gen, "to"));
    wl_bind(&s->gen, names[i].name, "{$to}");
    wl_say_one(
        &s->gen, ask,
        "Rename {$from} to {$to} everywhere in this file.|Please rename {$from}: it should be called {$to}.");
    return everywhere;
}

static span edit_constant(wl_session *s, wl_buf *ask) {
    wl_bind(&s->gen, "to", "{#2-99}{#10-99}");
    size_t at = find(&s->work, 0, wl_bound(&s->gen, "c1"));
    at = find(&s->work, at, "= ") + 2;
    size_t n = 0;
    while (at + n < s->work.n && in_name(s->work.text[at + n])) n++;
    wl_splice(&s->work, at, n, wl_bound(&s->gen, "to"));
    wl_say_one(&s->gen, ask, "Set {$c1} to {$to}.|{$c1} is too small, make it {$to}.");
    return everywhere;
}

/* Inserts lines and returns the function as it is then. */
static span insert(wl_session *s, span f, size_t at, const char *lines) {
    wl_bind(&s->gen, "lines", lines);
    const char *text = wl_bound(&s->gen, "lines");
    wl_splice(&s->work, at, 0, text);
    if (at == f.from) f.from += strlen(text);
    f.to += strlen(text);
    return f;
}

static span edit_guard(wl_session *s, wl_buf *ask) {
    span f = draw_function(s);
    wl_say_one(&s->gen, ask,
               "{$function} should fail early when {$argument} is empty.|Check {$argument} at the start of "
               "{$function}.");
    return insert(s, f, end_of_line(&s->work, f.from), language(s)->guard);
}

static span edit_comment(wl_session *s, wl_buf *ask) {
    span f = draw_function(s);
    bool inside = language(s)->comment_inside;
    wl_say_one(&s->gen, ask,
               "Say in a comment what {$function} relies on.|Document {$function} in one line.");
    span changed = insert(s, f, inside ? end_of_line(&s->work, f.from) : f.from, language(s)->comment);
    if (!inside) changed.from = f.from;
    return changed;
}

static span edit_log(wl_session *s, wl_buf *ask) {
    span f = draw_function(s);
    size_t at = f.from;
    for (size_t next = find(&s->work, at, "return "); next < f.to; next = find(&s->work, next + 1, "return "))
        at = next;
    at = start_of_line(&s->work, at);
    if (at == f.from) at = end_of_line(&s->work, f.from);
    wl_bind(&s->gen, "level", "info|debug|error");
    wl_say_one(&s->gen, ask,
               "Log at {$level} level before {$function} returns.|Add a log line at the end of {$function}, "
               "level {$level}.");
    return insert(s, f, at, language(s)->log);
}

static span edit_add(wl_session *s, wl_buf *ask) {
    uint32_t i = draw_unused(&s->gen.rng, s->state[USED], s->state[N_FUNCTIONS]);
    if (i == s->state[N_FUNCTIONS]) return edit_constant(s, ask);
    s->state[USED] |= 1u << i;
    size_t at = s->work.n + 1;
    add_function(&s->gen, &s->work, language(s), i);
    bind_part(s, "function", at + strlen(language(s)->opener));
    wl_say_one(&s->gen, ask,
               "Add a function {$function} at the end, in the style of the others.|We also need {$function}; "
               "put it last.");
    return everywhere;
}

static span edit_remove(wl_session *s, wl_buf *ask) {
    if (count_functions(s) < 4) return edit_add(s, ask);
    span f = draw_function(s);
    while (f.from > 1 && s->work.text[f.from - 2] != '\n') f.from = start_of_line(&s->work, f.from - 1);
    wl_splice(&s->work, f.from - 1, f.to - f.from + 1, "");
    wl_say_one(&s->gen, ask, "Nothing calls {$function} any more, remove it.|Delete {$function}.");
    return everywhere;
}

static const edit edits[] = {edit_rename,  edit_guard,    edit_log,   edit_add,
                             edit_comment, edit_constant, edit_remove};

/* ---- turns ------------------------------------------------------------ */

static void put_fenced(wl_buf *b, const wl_language *l, const char *text, size_t n) {
    wl_put(b, "```");
    wl_put(b, l->fence);
    wl_put(b, "\n");
    wl_putn(b, text, n);
    wl_put(b, "```\n");
}

static void put_prompt_head(wl_session *s, wl_buf *prompt, bool part) {
    const wl_language *l = language(s);
    wl_put(prompt, "<|system|>\nYou edit source files. ");
    wl_put(prompt, part ? "Return only the function that changes" : "Return the whole file after the change");
    wl_put(prompt, ", in one code block.\n<|user|>\n");
    wl_put(prompt, s->group);
    wl_say(&s->gen, prompt, "/src/{$e}");
    wl_put(prompt, l->suffix);
    wl_put(prompt, ":\n");
    put_fenced(prompt, l, wl_str(&s->work), s->work.n);
}

static void edits_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    bool part = wl_chance(&s->gen.rng, 5);
    uint32_t which = part ? 1 + wl_below(&s->gen.rng, 2) : wl_skewed(&s->gen.rng, WL_COUNT(edits), 3);
    put_prompt_head(s, prompt, part);
    span f = edits[which](s, prompt);
    if (s->env->err) return;
    wl_put(prompt, "\n<|assistant|>\n");
    wl_say(&s->gen, response, part ? "{done_part}" : "{done}");
    if (response->n) wl_put(response, "\n");
    if (part)
        put_fenced(response, language(s), s->work.text + f.from, f.to - f.from);
    else
        put_fenced(response, language(s), wl_str(&s->work), s->work.n);
    wl_say(&s->gen, response, "{aside}");
}

const wl_kind wl_kind_edits = {
    .name = "edits",
    .about = "changes to a source file in the prompt; the response repeats most of it",
    .rules = &wl_file_rules,
    .n_live = 4,
    .open = edits_open,
    .turn = edits_turn,
};
