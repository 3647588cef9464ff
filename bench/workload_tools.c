/* SPDX-License-Identifier: MIT */
/*
 * The kind "tools": an assistant that answers by calling tools, whose schemas
 * stand in the prompt. A session is a dialogue with one application:
 *
 *     request 1   prompt: schemas, user        response: a call
 *     request 2   prompt: the above, result    response: an answer to the user
 *     request 3   prompt: the above, user      response: a call ...
 *
 * so prompts grow and hold the earlier calls. Now and then a result is not what
 * was wanted and the assistant calls again with one argument changed, or a user
 * asks for two things at once and gets two calls.
 */
#include "workload_tools.h"

#include <string.h>

/* The session's state words. */
enum { TOOL, PHASE, RETRIES, CALLS };
enum { WANT_CALL, WANT_ANSWER };

/* ---- JSON ------------------------------------------------------------- */

static const char *separator(wl_call_style style) { return style == WL_CALL_DENSE ? "," : ", "; }
static const char *colon(wl_call_style style) { return style == WL_CALL_DENSE ? "\":" : "\": "; }

static void put_value(wl_buf *b, const wl_gen *g, const wl_field *f) {
    bool quoted = !strcmp(f->type, "string");
    wl_put(b, quoted ? "\"" : "");
    for (const char *c = wl_bound(g, f->name); *c; c++) {
        if (*c == '"') wl_put(b, "\\");
        wl_putn(b, c, 1);
    }
    wl_put(b, quoted ? "\"" : "");
}

/* The fields as an object, on one line or, with an indent, on several. */
static void put_object(wl_buf *b, const wl_gen *g, const wl_field *f, wl_call_style style,
                       const char *indent) {
    wl_put(b, "{");
    for (size_t i = 0; i < WL_MAX_FIELDS && f[i].name; i++) {
        if (i) wl_put(b, indent ? "," : separator(style));
        wl_put(b, indent ? indent : "");
        wl_put(b, "\"");
        wl_put(b, f[i].name);
        wl_put(b, colon(style));
        put_value(b, g, &f[i]);
    }
    wl_put(b, indent ? "\n  }" : "}");
}

static void put_call(wl_buf *b, const wl_gen *g, const wl_tool *t, wl_call_style style) {
    static const struct {
        const char *open, *middle, *indent, *close;
    } frame[] = {
        {"<tool_call>\n{\"name\": \"", "\", \"arguments\": ", NULL, "}\n</tool_call>"},
        {"```json\n{\n  \"tool\": \"", "\",\n  \"arguments\": ", "\n    ", "\n}\n```"},
        {"{\"call\":\"", "\",\"parameters\":", NULL, "}"},
    };
    wl_put(b, frame[style].open);
    wl_put(b, t->name);
    wl_put(b, frame[style].middle);
    put_object(b, g, t->in, style, frame[style].indent);
    wl_put(b, frame[style].close);
}

static void put_result(wl_buf *b, wl_gen *g, const wl_tool *t) {
    wl_put(b, t->rows > 1 ? "{\"results\": [" : "");
    for (uint32_t r = 0; r < t->rows; r++) {
        for (size_t i = 0; i < WL_MAX_FIELDS && t->out[i].name; i++)
            wl_bind(g, t->out[i].name, t->out[i].value);
        wl_put(b, r ? ", " : "");
        put_object(b, g, t->out, WL_CALL_TAGGED, NULL);
    }
    wl_put(b, t->rows > 1 ? "]}" : "");
}

/* ---- the prompt ------------------------------------------------------- */

static void put_schema(wl_buf *b, const wl_tool *t) {
    wl_put(b, "{\"name\": \"");
    wl_put(b, t->name);
    wl_put(b, "\", \"description\": \"");
    wl_put(b, t->about);
    wl_put(b, "\", \"parameters\": {\"type\": \"object\", \"properties\": {");
    for (size_t i = 0; i < WL_MAX_FIELDS && t->in[i].name; i++) {
        wl_put(b, i ? ", \"" : "\"");
        wl_put(b, t->in[i].name);
        wl_put(b, "\": {\"type\": \"");
        wl_put(b, t->in[i].type);
        wl_put(b, "\", \"description\": \"");
        wl_put(b, t->in[i].about);
        wl_put(b, "\"}");
    }
    wl_put(b, "}}}\n");
}

static size_t count_tools(const wl_application *a) {
    size_t n = 0;
    while (n < WL_MAX_TOOLS && a->tool[n].name) n++;
    return n;
}

static void tools_open(wl_session *s) {
    s->app = wl_skewed(&s->gen.rng, (uint32_t)wl_n_applications, 2);
    const wl_application *a = &wl_applications[s->app];
    s->group = a->name;
    s->turns_left = 2 + 2 * wl_below(&s->gen.rng, 4);
    for (size_t i = 0; i < WL_MAX_FIELDS && a->fact[i].name; i++)
        wl_bind(&s->gen, a->fact[i].name, a->fact[i].value);
    wl_put(&s->history, "<|system|>\n");
    wl_put(&s->history, a->system);
    wl_put(&s->history, "\n<tools>\n");
    for (size_t i = 0; i < count_tools(a); i++) put_schema(&s->history, &a->tool[i]);
    wl_put(&s->history, "</tools>\n");
}

/* ---- turns ------------------------------------------------------------ */

static void bind_arguments(wl_gen *g, const wl_tool *t) {
    for (size_t i = 0; i < WL_MAX_FIELDS && t->in[i].name; i++) wl_bind(g, t->in[i].name, t->in[i].value);
}

/* Writes the call with the present arguments to s->work. */
static void compose_call(wl_session *s, const wl_tool *t) {
    wl_clear(&s->work);
    put_call(&s->work, &s->gen, t, wl_applications[s->app].style);
}

static void put_work(wl_session *s, wl_buf *response) { wl_putn(response, wl_str(&s->work), s->work.n); }

/* Draws arguments again, one at a time, until the call in s->work is another
 * than `before`; false if that does not happen. */
static bool redraw(wl_session *s, const wl_tool *t, const wl_buf *response, size_t before) {
    uint32_t n = 0, tries = 0;
    while (n < WL_MAX_FIELDS && t->in[n].name) n++;
    do {
        const wl_field *f = &t->in[wl_below(&s->gen.rng, n)];
        wl_bind(&s->gen, "argument", f->name);
        wl_bind(&s->gen, f->name, f->value);
        compose_call(s, t);
    } while (!strcmp(wl_str(&s->work), wl_str(response) + before) && ++tries < 8);
    return tries < 8;
}

/* A second call beside the first, which begins at `before`. */
static bool say_second_call(wl_session *s, const wl_tool *t, wl_buf *response, size_t before) {
    if (!redraw(s, t, response, before)) return false;
    wl_say(&s->gen, &s->history, " And the same with {$argument} ");
    wl_put(&s->history, wl_bound(&s->gen, wl_bound(&s->gen, "argument")));
    wl_put(&s->history, ".");
    wl_put(response, "\n");
    put_work(s, response);
    return true;
}

/* The user asks for a tool; the response calls it. */
static void say_call(wl_session *s, wl_buf *response) {
    const wl_application *a = &wl_applications[s->app];
    s->state[TOOL] = wl_skewed(&s->gen.rng, (uint32_t)count_tools(a), 3);
    s->state[CALLS] = 1;
    const wl_tool *t = &a->tool[s->state[TOOL]];
    bind_arguments(&s->gen, t);
    wl_put(&s->history, "<|user|>\n");
    wl_say_one(&s->gen, &s->history, t->ask);
    if (a->thought_one_in && wl_chance(&s->gen.rng, a->thought_one_in))
        wl_say(&s->gen, response, "{thought}\n");
    size_t before = response->n;
    compose_call(s, t);
    put_work(s, response);
    if (wl_chance(&s->gen.rng, 3) && say_second_call(s, t, response, before)) s->state[CALLS] = 2;
    s->state[PHASE] = WANT_ANSWER;
}

/* Draws one argument again and says so. s->work still holds the failed call. */
static void say_retry(wl_session *s, const wl_tool *t, wl_buf *response) {
    wl_copy(response, &s->work);
    bool other = redraw(s, t, response, 0);
    wl_clear(response);
    wl_say(&s->gen, response, other ? "{retry}\n" : "Once more, then.\n");
    put_work(s, response);
    s->state[RETRIES]++;
}

/* The tool has answered; the response tells the user, or calls once more. */
static void say_answer(wl_session *s, wl_buf *response) {
    const wl_tool *t = &wl_applications[s->app].tool[s->state[TOOL]];
    bool again = !s->state[RETRIES] && s->state[CALLS] == 1 && wl_chance(&s->gen.rng, 8);
    wl_put(&s->history, "<|tool|>\n");
    if (again) {
        wl_say(&s->gen, &s->history, "{\"error\": \"{failure}\"}");
        say_retry(s, t, response);
        return;
    }
    for (uint32_t i = 0; i < s->state[CALLS]; i++) {
        wl_put(&s->history, i ? "\n" : "");
        put_result(&s->history, &s->gen, t);
    }
    wl_say_one(&s->gen, response, t->reply);
    s->state[PHASE] = WANT_CALL;
    s->state[RETRIES] = 0;
}

static void tools_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    if (s->state[PHASE] == WANT_CALL)
        say_call(s, response);
    else
        say_answer(s, response);
    wl_put(&s->history, "\n<|assistant|>\n");
    wl_copy(prompt, &s->history);
    wl_putn(&s->history, wl_str(response), response->n);
    wl_put(&s->history, "\n");
}

const wl_kind wl_kind_tools = {
    .name = "tools",
    .about = "tool calls in JSON against schemas in the prompt, and answers from their results",
    .rules = &wl_tool_rules,
    .n_live = 5,
    .open = tools_open,
    .turn = tools_turn,
};
