/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_load_json.c - Hugging Face's tokenizer.json, with a BPE model, and what the files
 * beside it say of special tokens:
 *
 *   tokenizer_config.json    bos_token, eos_token, add_bos_token, add_eos_token, chat_template
 *   chat_template.jinja      the template, where it is not in there
 *   config.json              bos_token_id, eos_token_id (one or several)
 *   generation_config.json   likewise
 *
 * These are all optional; what is in a wrong form in them is an error.
 */
#include <string.h>

#include "tokenizer_json.h"

/* any_integer: where one has more than 63 bits (published files have a model_max_length of 10^30), all
 * come as reals. */
static json_t *parse(const char *text, size_t n, bool any_integer, const char *what, spec_message *why,
                     int *err) {
    json_error_t e;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, n -= 3;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!root && any_integer && json_error_code(&e) == json_error_numeric_overflow)
        root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
    *err = SPEC_OK;
    if (!root) *err = specp_fail(why, SPEC_ERR_CORRUPT, "%sline %d: %.200s", what, e.line, e.text);
    return root;
}

/* ---- tokens --------------------------------------------------------------------- */

/* One more than the highest id; *n counts tokens. 0: an id is not a number from 0 to the limit. */
static size_t count_ids(const json_t *vocab, const json_t *added, size_t *n) {
    const char *text;
    json_t *v;
    json_int_t most = -1;
    size_t i;
    json_object_foreach((json_t *)vocab, text, v) {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= (json_int_t)SPECP_MAX_TOKENS) return 0;
        if (id > most) most = id;
    }
    json_array_foreach(added, i, v) {
        const json_t *number = json_object_get(v, "id");
        json_int_t id = json_is_integer(number) ? json_integer_value(number) : -1;
        if (id < 0 || id >= (json_int_t)SPECP_MAX_TOKENS) return 0;
        if (id > most) most = id;
    }
    *n = json_object_size(vocab) + json_array_size(added);
    return (size_t)(most + 1);
}

static int put_vocab(spec_tokenizer *t, const json_t *vocab, bool bytewise, spec_message *why) {
    const char *text;
    json_t *v;
    json_object_foreach((json_t *)vocab, text, v) {
        size_t n = strlen(text);
        int kind = !bytewise && specp_byte_of_name(text, n) >= 0 ? SPEC_TOKEN_BYTE : SPEC_TOKEN_NORMAL;
        int err = specp_tokenizer_put(t, (size_t)json_integer_value(v), text, n, kind, 0, why);
        if (err) return err;
    }
    return SPEC_OK;
}

/* An added token: one of the vocabulary becomes special, or there is one more. */
static int put_added(spec_tokenizer *t, const json_t *item, spec_message *why) {
    size_t id = (size_t)json_integer_value(json_object_get(item, "id"));
    const json_t *content = json_object_get(item, "content");
    const char *text = json_string_value(content);
    size_t n = json_string_length(content);
    specp_token *k = &t->token[id];
    int kind = specp_json_flag(item, "special", false) ? SPEC_TOKEN_CONTROL : SPEC_TOKEN_USER;
    if (!text || n == 0) return specp_fail(why, SPEC_ERR_CORRUPT, "added token %zu has no content", id);
    if (specp_json_flag(item, "single_word", false))
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "added token %zu: single_word is not supported", id);
    if (!k->kind) {
        int err = specp_tokenizer_put(t, id, text, n, kind, 0, why);
        if (err) return err;
    }
    if (k->n_text != n || memcmp(t->pool + k->text, text, n) != 0)
        return specp_fail(why, SPEC_ERR_CORRUPT,
                          "token %zu has one text in the vocabulary, another among the added tokens", id);
    k->kind = (uint8_t)kind;
    if (specp_json_flag(item, "lstrip", false)) k->flags |= SPECP_TOKEN_LSTRIP;
    if (specp_json_flag(item, "rstrip", false)) k->flags |= SPECP_TOKEN_RSTRIP;
    return SPEC_OK;
}

static int put_merge(spec_tokenizer *t, const json_t *m, spec_message *why) {
    if (json_is_string(m))
        return specp_tokenizer_put_pair(t, json_string_value(m), json_string_length(m), why);
    const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
    if (json_array_size(m) != 2 || !json_is_string(a) || !json_is_string(b))
        return specp_fail(why, SPEC_ERR_CORRUPT, "merge %zu is neither a text nor two", t->n_merges);
    return specp_tokenizer_put_merge(t, json_string_value(a), json_string_length(a), json_string_value(b),
                                     json_string_length(b), why);
}

static int put_all(spec_tokenizer *t, const json_t *root, bool bytewise, spec_message *why) {
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges");
    size_t i;
    json_t *v;
    int err = put_vocab(t, json_object_get(model, "vocab"), bytewise, why);
    json_array_foreach(json_object_get(root, "added_tokens"), i, v) {
        if (!err) err = put_added(t, v, why);
    }
    if (!err) err = specp_tokenizer_index(t, why);
    if (!err) err = specp_tokenizer_merges(t, json_array_size(merges), why);
    json_array_foreach(merges, i, v) {
        if (!err) err = put_merge(t, v, why);
    }
    return err;
}

/* ---- special tokens ------------------------------------------------------------------ */

/* The id of a special token's name. */
static int find_name(const spec_tokenizer *t, const char *key, const char *name, spec_token *out,
                     spec_message *why) {
    char shown[80];
    if (!name || !*name) return SPEC_OK;
    spec_token id = specp_tokenizer_lookup(t, name, strlen(name), NULL, 0);
    if (id < 0)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is \"%s\", which is no token", key,
                          specp_tokenizer_show(name, strlen(name), shown, sizeof shown));
    *out = id;
    return SPEC_OK;
}

/* A token's name is a text, or an object with its content. */
static int read_name(const spec_tokenizer *t, const json_t *root, const char *key, spec_token *out,
                     spec_message *why) {
    const json_t *v = json_object_get(root, key);
    const char *name = json_is_object(v) ? specp_json_text(v, "content") : json_string_value(v);
    return find_name(t, key, name, out, why);
}

/* A template, or the one called "default" of several. */
static int read_template(spec_tokenizer *t, const json_t *root) {
    const json_t *v = json_object_get(root, "chat_template");
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item) {
        const char *name = specp_json_text(item, "name");
        if (name && strcmp(name, "default") == 0) v = json_object_get(item, "template");
        if (!json_is_array(v)) break;
    }
    if (!json_is_string(v)) return SPEC_OK;
    return specp_tokenizer_put_template(t, json_string_value(v), json_string_length(v));
}

static int read_tokenizer_config(spec_tokenizer *t, const json_t *root, spec_message *why) {
    int err = read_name(t, root, "bos_token", &t->bos, why);
    if (!err) err = read_name(t, root, "eos_token", &t->eos, why);
    if (!err && (err = read_template(t, root)) != 0) specp_fail(why, err, "out of memory");
    t->add_bos = specp_json_flag(root, "add_bos_token", t->add_bos) && t->bos >= 0;
    t->add_eos = specp_json_flag(root, "add_eos_token", t->add_eos) && t->eos >= 0;
    return err;
}

static int take_id(spec_tokenizer *t, const char *key, const json_t *v, spec_token *first, unsigned flags,
                   spec_message *why) {
    if (!json_is_number(v)) return SPEC_OK;
    double number = json_number_value(v);
    spec_token id = number >= 0 && number < (double)t->n_tokens ? (spec_token)number : -1;
    if (id < 0 || (double)id != number)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is %.10g, there are %zu tokens", key, number,
                          t->n_tokens);
    t->token[id].flags |= (uint8_t)flags;
    if (*first < 0) *first = id;
    return SPEC_OK;
}

static int read_config(spec_tokenizer *t, const json_t *root, spec_message *why) {
    const json_t *ends = json_object_get(root, "eos_token_id");
    size_t i;
    json_t *v;
    int err = take_id(t, "bos_token_id", json_object_get(root, "bos_token_id"), &t->bos, 0, why);
    if (!err) err = take_id(t, "eos_token_id", ends, &t->eos, SPECP_TOKEN_END, why);
    json_array_foreach(ends, i, v) {
        if (!err) err = take_id(t, "eos_token_id", v, &t->eos, SPECP_TOKEN_END, why);
    }
    return err;
}

/* ---- the files beside it ---------------------------------------------------------------- */

typedef int config_fn(spec_tokenizer *t, const json_t *root, spec_message *why);

static int read_beside(spec_tokenizer *t, const char *folder, const char *name, config_fn *fn,
                       spec_message *why) {
    char path[SPECP_MAX_PATH], what[80];
    specp_mapped m;
    int err = specp_join_path(path, folder, name, why);
    if (err) return err;
    err = specp_map_file(&m, path, why);
    if (err == SPEC_ERR_NOT_FOUND) return SPEC_OK;
    if (err) return err;
    snprintf(what, sizeof what, "%s: ", name);
    json_t *root = parse(m.data, m.n, true, what, why, &err);
    specp_unmap_file(&m);
    if (root) err = fn(t, root, why);
    json_decref(root);
    return err;
}

static int read_jinja(spec_tokenizer *t, const char *folder, spec_message *why) {
    char path[SPECP_MAX_PATH];
    specp_mapped m;
    int err = specp_join_path(path, folder, "chat_template.jinja", why);
    if (err || t->chat_template) return err;
    err = specp_map_file(&m, path, why);
    if (err == SPEC_ERR_NOT_FOUND) return SPEC_OK;
    if (err) return err;
    if ((err = specp_tokenizer_put_template(t, m.data, m.n)) != 0) specp_fail(why, err, "out of memory");
    specp_unmap_file(&m);
    return err;
}

static int read_folder(spec_tokenizer *t, const char *folder, spec_message *why) {
    int err = read_beside(t, folder, "tokenizer_config.json", read_tokenizer_config, why);
    if (!err) err = read_beside(t, folder, "config.json", read_config, why);
    if (!err) err = read_beside(t, folder, "generation_config.json", read_config, why);
    return err ? err : read_jinja(t, folder, why);
}

/* ---- the whole ------------------------------------------------------------------------- */

static int check_model(const json_t *root, spec_message *why) {
    const json_t *model = json_object_get(root, "model");
    const char *type = specp_json_text(model, "type"), *s;
    char shown[60];
    if (type && strcmp(type, "BPE") != 0)
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "a model of type %s, only BPE is supported",
                          specp_tokenizer_show(type, strlen(type), shown, sizeof shown));
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return specp_fail(why, SPEC_ERR_CORRUPT,
                          "model.vocab is not an object, or model.merges not an array");
    static const char *const parts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++)
        if ((s = specp_json_text(model, parts[i])) != NULL && *s)
            return specp_fail(why, SPEC_ERR_UNSUPPORTED, "model.%s is not supported", parts[i]);
    if (json_number_value(json_object_get(model, "dropout")) > 0)
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "model.dropout is not supported");
    return SPEC_OK;
}

static int take_pipeline(spec_tokenizer *t, const specp_pipeline *p, const json_t *model, spec_message *why) {
    t->pre = "tokenizer.json";
    t->bytewise = p->bytewise;
    t->prefix = p->prefix;
    t->prefix_once = p->prefix_once;
    t->ignore_merges = specp_json_flag(model, "ignore_merges", false);
    t->no_bytes = !specp_json_flag(model, "byte_fallback", false);
    t->each_unknown = !specp_json_flag(model, "fuse_unk", false);
    int err = find_name(t, "model.unk_token", specp_json_text(model, "unk_token"), &t->unknown, why);
    if (!err) err = find_name(t, "post_processor: the token before a text", p->bos, &t->bos, why);
    if (!err) err = find_name(t, "post_processor: the token after a text", p->eos, &t->eos, why);
    t->add_bos = t->bos >= 0;
    t->add_eos = t->eos >= 0;
    return err;
}

static int build(spec_tokenizer **out, const json_t *root, const char *folder, const spec_allocator *alloc,
                 spec_message *why) {
    const json_t *model = json_object_get(root, "model");
    specp_pipeline p;
    size_t given = 0,
           n = count_ids(json_object_get(model, "vocab"), json_object_get(root, "added_tokens"), &given);
    if (n == 0 || n > SPECP_MAX_TOKENS || n > 4 * given + 65536)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%zu tokens: an id is not a whole number, or too large",
                          given);
    int err = specp_tokenizer_begin(out, n, alloc);
    if (err) return specp_fail(why, err, "out of memory");
    err = specp_pipeline_read(&p, *out, root, why);
    if (!err) err = put_all(*out, root, p.bytewise, why);
    if (!err) err = take_pipeline(*out, &p, model, why);
    if (!err && folder) err = read_folder(*out, folder, why);
    return err ? err : specp_tokenizer_finish(*out, why);
}

int specp_tokenizer_from_json(spec_tokenizer **out, const char *text, size_t n, const char *folder,
                              const spec_allocator *alloc, spec_message *why) {
    int err;
    spec_tokenizer *t = NULL;
    json_t *root = parse(text, n, false, "", why, &err);
    if (err) return err;
    if (!json_is_object(json_object_get(root, "model"))) {
        err = specp_fail(why, SPEC_ERR_NOT_FOUND, "there is no \"model\" in it");
    } else {
        err = check_model(root, why);
    }
    if (!err) err = build(&t, root, folder, alloc, why);
    json_decref(root);
    if (err) {
        spec_tokenizer_free(t);
        return err;
    }
    *out = t;
    return SPEC_OK;
}
