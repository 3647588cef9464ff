/* SPDX-License-Identifier: MIT */
/*
 * spec_chat.h - the text that a chat model was trained to continue, for the common
 * families of models, by name.
 *
 * A begin-of-sequence token is left to encoding (SPEC_ENCODE_ADD_SPECIAL) where the
 * family's tokenizers add one, and the markers are special tokens: encode the text with
 * SPEC_ENCODE_PARSE_SPECIAL. Then markers inside a message count too: do not
 * do so with text that you do not trust.
 */
#ifndef SPEC_CHAT_H
#define SPEC_CHAT_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spec_chat {
    SPEC_CHAT_NONE = 0,   /* "none": the messages' text, one after the other */
    SPEC_CHAT_CHATML,     /* "chatml": Qwen 2 to 3 and many fine-tuned models */
    SPEC_CHAT_LLAMA2,     /* "llama2" */
    SPEC_CHAT_LLAMA3,     /* "llama3": 3.0 to 3.3 */
    SPEC_CHAT_MISTRAL,    /* "mistral": v0.1 and v0.2, Mixtral */
    SPEC_CHAT_MISTRAL_V3, /* "mistral-v3" */
    SPEC_CHAT_MISTRAL_V7, /* "mistral-v7": system messages of their own */
    SPEC_CHAT_TEKKEN,     /* "tekken": Mistral Nemo */
    SPEC_CHAT_GEMMA,      /* "gemma": 1 to 3 */
    SPEC_CHAT_ZEPHYR,     /* "zephyr" */
    SPEC_CHAT_TULU,       /* "tulu" */
    SPEC_CHAT_OLMO2,      /* "olmo2": as tulu, after <|endoftext|> */
    SPEC_CHAT_PHI3,       /* "phi3" */
    SPEC_CHAT_VICUNA,     /* "vicuna" */
    SPEC_CHAT_ALPACA,     /* "alpaca" */
    SPEC_CHATS
} spec_chat;

/* "chatml"; NULL for what is no spec_chat. */
SPEC_API const char *spec_chat_name(spec_chat chat);
/* SPEC_ERR_NOT_FOUND: there is none of that name. */
SPEC_API int spec_chat_find(const char *name, spec_chat *out);
/* The family that a model file's template (Jinja, n bytes) belongs to, told by the markers in it.
 * SPEC_ERR_NOT_FOUND: none of those above. */
SPEC_API int spec_chat_detect(const char *jinja, size_t n, spec_chat *out);

typedef struct spec_chat_message {
    const char *role;    /* "system" (the first one only), "user", "assistant" */
    const char *content; /* n bytes */
    size_t n;
} spec_chat_message;

enum {
    SPEC_CHAT_GENERATE = 1, /* end with the beginning of an answer */
};

/*
 * Writes the conversation: the first cap bytes go to `out` (NULL with cap 0), *n_bytes is
 * how many there are; no 0 is added. Blanks around a message are removed where the family's
 * templates do so.
 * SPEC_ERR_FULL: more than cap. SPEC_ERR_INVALID: no such family, unknown flags, or a role (*why: which
 * message, and what was expected): *n_bytes is 0.
 */
SPEC_API SPEC_MUST_CHECK int spec_chat_apply(spec_chat chat, const spec_chat_message *messages,
                                             size_t n_messages, unsigned flags, char *out, size_t cap,
                                             size_t *n_bytes, spec_message *why);

#ifdef __cplusplus
}
#endif
#endif
