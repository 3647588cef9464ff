/* SPDX-License-Identifier: MIT */
/*
 * chat_template.c - conversations as text: a row of strings for each family.
 *
 *   [begin] [system: before, after]  ([user: before, after]  [answer: before, after])...  [open]
 *
 * In families without system messages the system's text stands within the first user message:
 *
 *   [user before] [system before] system [system after] text [user after]
 */
#include "spec_chat.h"

#include <string.h>

#include "specp.h"

/* Strings may be NULL: nothing. */
typedef struct around {
    const char *before, *after;
} around;

typedef struct family {
    const char *name, *begin;
    around system, user, answer;
    const char *again; /* before every user message but the first */
    const char *open;  /* begins an answer */
    bool within_user;  /* the system's text */
    bool trim;         /* white space around messages is removed */
} family;

static const family families[SPEC_CHATS] = {
    [SPEC_CHAT_NONE] = {.name = "none"},
    [SPEC_CHAT_CHATML] = {.name = "chatml",
                          .system = {"<|im_start|>system\n", "<|im_end|>\n"},
                          .user = {"<|im_start|>user\n", "<|im_end|>\n"},
                          .answer = {"<|im_start|>assistant\n", "<|im_end|>\n"},
                          .open = "<|im_start|>assistant\n"},
    [SPEC_CHAT_LLAMA2] = {.name = "llama2",
                          .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
                          .user = {"[INST] ", " [/INST]"},
                          .answer = {" ", " </s>"},
                          .again = "<s>",
                          .within_user = true,
                          .trim = true},
    [SPEC_CHAT_LLAMA3] = {.name = "llama3",
                          .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
                          .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
                          .answer = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
                          .open = "<|start_header_id|>assistant<|end_header_id|>\n\n",
                          .trim = true},
    [SPEC_CHAT_MISTRAL] = {.name = "mistral",
                           .system = {NULL, "\n\n"},
                           .user = {"[INST] ", " [/INST]"},
                           .answer = {" ", "</s>"},
                           .within_user = true},
    [SPEC_CHAT_MISTRAL_V3] = {.name = "mistral-v3",
                              .system = {NULL, "\n\n"},
                              .user = {"[INST] ", "[/INST]"},
                              .answer = {" ", "</s>"},
                              .within_user = true},
    [SPEC_CHAT_MISTRAL_V7] = {.name = "mistral-v7",
                              .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
                              .user = {"[INST] ", "[/INST]"},
                              .answer = {" ", "</s>"}},
    [SPEC_CHAT_TEKKEN] = {.name = "tekken",
                          .system = {NULL, "\n\n"},
                          .user = {"[INST]", "[/INST]"},
                          .answer = {NULL, "</s>"},
                          .within_user = true},
    [SPEC_CHAT_GEMMA] = {.name = "gemma",
                         .system = {NULL, "\n\n"},
                         .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
                         .answer = {"<start_of_turn>model\n", "<end_of_turn>\n"},
                         .open = "<start_of_turn>model\n",
                         .within_user = true,
                         .trim = true},
    [SPEC_CHAT_ZEPHYR] = {.name = "zephyr",
                          .system = {"<|system|>\n", "</s>\n"},
                          .user = {"<|user|>\n", "</s>\n"},
                          .answer = {"<|assistant|>\n", "</s>\n"},
                          .open = "<|assistant|>\n"},
    [SPEC_CHAT_TULU] = {.name = "tulu",
                        .system = {"<|system|>\n", "\n"},
                        .user = {"<|user|>\n", "\n"},
                        .answer = {"<|assistant|>\n", "</s>\n"},
                        .open = "<|assistant|>\n"},
    [SPEC_CHAT_OLMO2] = {.name = "olmo2",
                         .begin = "<|endoftext|>",
                         .system = {"<|system|>\n", "\n"},
                         .user = {"<|user|>\n", "\n"},
                         .answer = {"<|assistant|>\n", "<|endoftext|>\n"},
                         .open = "<|assistant|>\n"},
    [SPEC_CHAT_PHI3] = {.name = "phi3",
                        .system = {"<|system|>\n", "<|end|>\n"},
                        .user = {"<|user|>\n", "<|end|>\n"},
                        .answer = {"<|assistant|>\n", "<|end|>\n"},
                        .open = "<|assistant|>\n"},
    [SPEC_CHAT_VICUNA] = {.name = "vicuna",
                          .system = {NULL, " "},
                          .user = {"USER: ", " "},
                          .answer = {"ASSISTANT: ", "</s>"},
                          .open = "ASSISTANT:"},
    [SPEC_CHAT_ALPACA] = {.name = "alpaca",
                          .system = {NULL, "\n\n"},
                          .user = {"### Instruction:\n", "\n\n"},
                          .answer = {"### Response:\n", "\n\n"},
                          .open = "### Response:\n"},
};

/* ---- by name, and by a template's markers --------------------------------------------- */

static bool is_chat(spec_chat chat) { return (unsigned)chat < SPEC_CHATS; }

const char *spec_chat_name(spec_chat chat) { return is_chat(chat) ? families[chat].name : NULL; }

int spec_chat_find(const char *name, spec_chat *out) {
    if (!name || !out) return SPEC_ERR_INVALID;
    for (int i = 0; i < SPEC_CHATS; i++) {
        if (strcmp(families[i].name, name) != 0) continue;
        *out = (spec_chat)i;
        return SPEC_OK;
    }
    return SPEC_ERR_NOT_FOUND;
}

/* Where `what` is in s, or NULL. */
static const char *find_text(const char *s, size_t n, const char *what) {
    size_t len = strlen(what);
    for (size_t i = 0; len <= n && i <= n - len; i++)
        if (s[i] == what[0] && memcmp(s + i, what, len) == 0) return s + i;
    return NULL;
}

typedef struct clue {
    spec_chat chat;
    const char *has[2]; /* all of them, NULL: no more */
} clue;

/* The first that fits counts: the special ones of a kin before the plain one. */
static const clue clues[] = {
    {SPEC_CHAT_CHATML, {"<|im_start|>", NULL}},     {SPEC_CHAT_LLAMA3, {"<|start_header_id|>", "<|eot_id|>"}},
    {SPEC_CHAT_GEMMA, {"<start_of_turn>", NULL}},   {SPEC_CHAT_MISTRAL_V7, {"[SYSTEM_PROMPT]", "[INST]"}},
    {SPEC_CHAT_LLAMA2, {"[INST]", "<<SYS>>"}},      {SPEC_CHAT_MISTRAL, {"[INST] ", " [/INST]"}},
    {SPEC_CHAT_MISTRAL_V3, {"[INST] ", "[/INST]"}}, {SPEC_CHAT_TEKKEN, {"[INST]", "[/INST]"}},
    {SPEC_CHAT_PHI3, {"<|assistant|>", "<|end|>"}}, {SPEC_CHAT_ALPACA, {"### Instruction:", "### Response:"}},
    {SPEC_CHAT_VICUNA, {"USER: ", "ASSISTANT:"}},
};

/* Zephyr, Tulu and OLMo 2 have the same markers. After a user's message comes the end of sequence
 * in the first, and OLMo's begins with the begin-of-sequence token. */
static spec_chat detect_user_marker(const char *s, size_t n, const char *user) {
    size_t left = n - (size_t)(user - s);
    const char *end = find_text(user, left, "%}"), *other = find_text(user, left, "}}");
    if (!end || (other && other < end)) end = other;
    size_t len = end ? (size_t)(end - user) : left;
    if (find_text(user, len, "eos_token")) return SPEC_CHAT_ZEPHYR;
    return find_text(s, (size_t)(user - s), "bos_token") ? SPEC_CHAT_OLMO2 : SPEC_CHAT_TULU;
}

int spec_chat_detect(const char *jinja, size_t n, spec_chat *out) {
    if (!jinja || !out) return SPEC_ERR_INVALID;
    for (size_t i = 0; i < sizeof clues / sizeof *clues; i++) {
        const clue *c = &clues[i];
        if (!find_text(jinja, n, c->has[0]) || (c->has[1] && !find_text(jinja, n, c->has[1]))) continue;
        *out = c->chat;
        return SPEC_OK;
    }
    const char *user = find_text(jinja, n, "<|user|>");
    if (!user || !find_text(jinja, n, "<|assistant|>")) return SPEC_ERR_NOT_FOUND;
    *out = detect_user_marker(jinja, n, user);
    return SPEC_OK;
}

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct page {
    char *out;
    size_t cap, n;
} page;

static void put(page *p, const char *s, size_t n) {
    if (n && p->n < p->cap) memcpy(p->out + p->n, s, n < p->cap - p->n ? n : p->cap - p->n);
    p->n += n;
}

static void put_text(page *p, const char *s) {
    if (s) put(p, s, strlen(s));
}

static bool is_white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void put_message(page *p, const family *f, const spec_chat_message *m) {
    size_t from = 0, to = m->n;
    while (f->trim && from < to && is_white(m->content[from])) from++;
    while (f->trim && to > from && is_white(m->content[to - 1])) to--;
    if (to > from) put(p, m->content + from, to - from);
}

static void put_around(page *p, const family *f, const around *a, const spec_chat_message *m) {
    put_text(p, a->before);
    put_message(p, f, m);
    put_text(p, a->after);
}

typedef enum role { SYSTEM, USER, ASSISTANT, NO_ROLE } role;

static role role_of(const spec_chat_message *m) {
    static const char *const names[] = {"system", "user", "assistant"};
    for (int i = 0; m->role && i < NO_ROLE; i++)
        if (strcmp(m->role, names[i]) == 0) return (role)i;
    return NO_ROLE;
}

static int check_messages(const family *f, const spec_chat_message *m, size_t n, spec_message *why) {
    for (size_t i = 0; i < n; i++) {
        role r = role_of(&m[i]);
        if (r == NO_ROLE)
            return specp_fail(why, SPEC_ERR_INVALID,
                              "message %zu: the role \"%.60s\" is not system, user or assistant", i,
                              m[i].role ? m[i].role : "");
        if (m[i].n && !m[i].content)
            return specp_fail(why, SPEC_ERR_INVALID, "message %zu has no content", i);
        if (r == SYSTEM && i > 0)
            return specp_fail(why, SPEC_ERR_INVALID, "message %zu: only the first one may be the system's",
                              i);
        if (i == 1 && r != USER && f->within_user && role_of(&m[0]) == SYSTEM)
            return specp_fail(why, SPEC_ERR_INVALID,
                              "message 1: after the system's a user message was expected");
    }
    return SPEC_OK;
}

static void put_messages(page *p, const family *f, const spec_chat_message *m, size_t n) {
    const spec_chat_message *within = NULL;
    bool again = false;
    for (size_t i = 0; i < n; i++) {
        role r = role_of(&m[i]);
        if (r == SYSTEM && f->within_user) {
            within = &m[i];
        } else if (r == SYSTEM) {
            put_around(p, f, &f->system, &m[i]);
        } else if (r == ASSISTANT) {
            put_around(p, f, &f->answer, &m[i]);
        } else {
            if (again) put_text(p, f->again);
            put_text(p, f->user.before);
            if (within) put_around(p, f, &f->system, within);
            put_message(p, f, &m[i]);
            put_text(p, f->user.after);
            within = NULL;
            again = true;
        }
    }
}

int spec_chat_apply(spec_chat chat, const spec_chat_message *messages, size_t n_messages, unsigned flags,
                    char *out, size_t cap, size_t *n_bytes, spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!n_bytes || (n_messages && !messages) || (cap && !out))
        return specp_fail(why, SPEC_ERR_INVALID, "an argument is missing");
    *n_bytes = 0;
    if (!is_chat(chat)) return specp_fail(why, SPEC_ERR_INVALID, "there is no chat template %d", (int)chat);
    if (flags & ~(unsigned)SPEC_CHAT_GENERATE)
        return specp_fail(why, SPEC_ERR_INVALID, "flags %#x: there are no such", flags);
    const family *f = &families[chat];
    int err = check_messages(f, messages, n_messages, why);
    if (err) return err;
    page p = {out, cap, 0};
    put_text(&p, f->begin);
    put_messages(&p, f, messages, n_messages);
    if (flags & SPEC_CHAT_GENERATE) put_text(&p, f->open);
    *n_bytes = p.n;
    return p.n > cap ? specp_fail(why, SPEC_ERR_FULL, "%zu bytes, room for %zu", p.n, cap) : SPEC_OK;
}
