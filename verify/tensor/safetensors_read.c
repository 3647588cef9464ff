/* SPDX-License-Identifier: MIT */
/*
 * safetensors_read.c - safetensors: one file, a sharded index, or a folder.
 *
 *   u64 n | JSON, n bytes                                      | data
 *           {"__metadata__": {"key": "text", ...},
 *            "name": {"dtype": "F32", "shape": [2, 3],
 *                     "data_offsets": [0, 24]}, ...}             0 .. 24 ..
 *
 * The tensors of a file fill its data without gap or overlap. An index maps
 * names to the files beside it, {"weight_map": {"name": "file", ...}}: of each
 * file those tensors are taken that the index expects there. It holds shards
 * and nothing else, so that no index can lead to another.
 *
 * A config.json beside becomes metadata under "config.". Where two shards have
 * the same __metadata__ key the first counts.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "tensors_internal.h"

#define MAX_JSON   (100u << 20) /* bytes, as in the reference implementation */
#define INDEX_NAME "model.safetensors.index.json"
#define SUPPORTED  "F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL"

/* One file, and of an index the part that concerns it. */
typedef struct reader {
    spec_tensors *f;
    const specp_file *file;
    const json_t *weight_map; /* NULL: take all */
    const char *shard;        /* the name that weight_map has for the file */
    uint64_t data;            /* where it begins */
    specp_span *span;         /* of all tensors in the file */
    size_t n_spans;
} reader;

#define CORRUPT(r, ...) TENSORS_FAIL((r)->f, SPEC_ERR_CORRUPT, __VA_ARGS__)

/* jansson's iterators want an object that is not const, and leave it alone. */
static json_t *mutable(const json_t *object) { return (json_t *)object; }

/* ---- a tensor ------------------------------------------------------------ */

static int read_type(const reader *r, const char *name, const json_t *info, spec_type *out) {
    const char *text = json_string_value(json_object_get(info, "dtype"));
    if (!text) return CORRUPT(r, "%s: tensor %.*s has no dtype", r->file->shown, SPECP_SHOW(name));
    /* Blocks are GGUF's, and names have one spelling here. */
    if (spec_type_find(text, out) || spec_type_block(*out) > 1 || strcmp(spec_type_name(*out), text) != 0)
        return TENSORS_FAIL(
            r->f, SPEC_ERR_UNSUPPORTED,
            "%s: tensor %.*s is of type %.*s, which is not supported; supported are " SUPPORTED,
            r->file->shown, SPECP_SHOW(name), SPECP_SHOW(text));
    return SPEC_OK;
}

static int read_shape(const reader *r, const char *name, const json_t *info, uint32_t *n_dims,
                      uint64_t *dim) {
    const json_t *shape = json_object_get(info, "shape");
    if (!json_is_array(shape))
        return CORRUPT(r, "%s: tensor %.*s has no shape", r->file->shown, SPECP_SHOW(name));
    size_t n = json_array_size(shape);
    if (n > SPEC_TENSOR_DIMS)
        return TENSORS_FAIL(r->f, SPEC_ERR_UNSUPPORTED,
                            "%s: tensor %.*s has %zu dimensions, at most %d are "
                            "supported",
                            r->file->shown, SPECP_SHOW(name), n, SPEC_TENSOR_DIMS);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(shape, i);
        if (!json_is_integer(e) || json_integer_value(e) < 0)
            return CORRUPT(r, "%s: tensor %.*s: a dimension is no integer from 0", r->file->shown,
                           SPECP_SHOW(name));
        dim[i] = (uint64_t)json_integer_value(e);
    }
    *n_dims = (uint32_t)n;
    return SPEC_OK;
}

static int read_offsets(const reader *r, const char *name, const json_t *info, uint64_t *begin,
                        uint64_t *end) {
    const json_t *offsets = json_object_get(info, "data_offsets");
    const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    uint64_t room = r->file->size - r->data;
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e) ||
        json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return CORRUPT(r, "%s: tensor %.*s: data_offsets are not [begin, end]", r->file->shown,
                       SPECP_SHOW(name));
    *begin = (uint64_t)json_integer_value(b);
    *end = (uint64_t)json_integer_value(e);
    if (*end > room)
        return CORRUPT(r,
                       "%s: tensor %.*s ends at byte %" PRIu64 " of the data, but the file has %" PRIu64
                       ": is it cut short?",
                       r->file->shown, SPECP_SHOW(name), *end, room);
    return SPEC_OK;
}

static bool wanted(const reader *r, const char *name) {
    if (!r->weight_map) return true;
    const char *shard = json_string_value(json_object_get(r->weight_map, name));
    return shard && strcmp(shard, r->shard) == 0;
}

static int read_tensor(reader *r, const char *name, const json_t *info) {
    spec_type type = SPEC_TYPE_F32;
    uint32_t n_dims = 0;
    uint64_t dim[SPEC_TENSOR_DIMS] = {0}, begin = 0, end = 0, bytes = 0;
    if (!specp_name_valid(name, strlen(name)))
        return CORRUPT(r, "%s: the name of tensor %zu is empty, too long, or has control characters",
                       r->file->shown, r->n_spans + 1);
    bool take = wanted(r, name);
    int err = read_offsets(r, name, info, &begin, &end);
    r->span[r->n_spans++] = (specp_span){r->data + begin, r->data + end, name};
    if (err || !take) return err;
    err = read_type(r, name, info, &type);
    if (!err) err = read_shape(r, name, info, &n_dims, dim);
    if (err) return err;
    if (specp_tensor_bytes(type, n_dims, dim, &bytes) || bytes != end - begin)
        return CORRUPT(r, "%s: tensor %.*s: data_offsets span %" PRIu64 " bytes, its shape and type do not",
                       r->file->shown, SPECP_SHOW(name), end - begin);
    return specp_tensors_add(r->f, r->file, name, strlen(name), type, n_dims, dim, r->data + begin);
}

/* ---- a file -------------------------------------------------------------- */

/* Text for text, with no dots made of nesting. */
static int read_metadata(const reader *r, const json_t *object) {
    if (!json_is_object(object)) return CORRUPT(r, "%s: __metadata__ is no object", r->file->shown);
    for (void *at = json_object_iter(mutable(object)); at; at = json_object_iter_next(mutable(object), at)) {
        const char *key = json_object_iter_key(at);
        const json_t *text = json_object_iter_value(at);
        spec_meta m = {.kind = SPEC_META_STRING, .n = json_string_length(text), .impl.raw = SPECP_RAW_STRING};
        if (!json_is_string(text))
            return CORRUPT(r, "%s: __metadata__: the value of %.*s is no string", r->file->shown,
                           SPECP_SHOW(key));
        if (spec_tensors_meta(r->f, key)) continue;
        m.value.s = specp_tensors_keep_text(r->f, json_string_value(text), (size_t)m.n);
        if (!m.value.s) return specp_tensors_no_memory(r->f);
        int err = specp_tensors_add_meta(r->f, r->file->shown, key, strlen(key), &m);
        if (err) return err;
    }
    return SPEC_OK;
}

static int read_tensors(reader *r, const json_t *header) {
    size_t n = json_object_size(header);
    int err = SPEC_OK;
    r->span = specp_alloc(&r->f->alloc, n + 1, sizeof *r->span);
    if (!r->span) return specp_tensors_no_memory(r->f);
    void *at = json_object_iter(mutable(header));
    for (; at && !err; at = json_object_iter_next(mutable(header), at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        err = strcmp(name, "__metadata__") == 0 ? read_metadata(r, value) : read_tensor(r, name, value);
    }
    if (!err)
        err = specp_tensors_check_spans(r->f, r->file, r->span, r->n_spans, true, r->data, r->file->size);
    specp_release(&r->f->alloc, r->span, n + 1, sizeof *r->span);
    return err;
}

/* The length of the header may be wrong: that is told later. */
bool specp_safetensors_is(const specp_file *file) {
    return file->size >= 10 && file->data[8] == '{' && file->data[9] != 0;
}

static int read_file(reader *r) {
    const specp_file *file = r->file;
    uint64_t n = 0;
    if (!specp_safetensors_is(file)) return CORRUPT(r, "%s: is no safetensors file", file->shown);
    memcpy(&n, file->data, sizeof n);
    if (n > MAX_JSON)
        return CORRUPT(r, "%s: its header claims %" PRIu64 " bytes, expected at most %u", file->shown, n,
                       MAX_JSON);
    if (n > file->size - sizeof n)
        return CORRUPT(r, "%s: its header has %" PRIu64 " bytes, but the file ends at %zu: is it cut short?",
                       file->shown, n, file->size);
    r->data = sizeof n + n;
    json_t *header = NULL;
    int err = specp_tensors_parse_json(r->f, file->shown, "its header", file->data + sizeof n, (size_t)n,
                                       false, &header);
    if (err) return err;
    err = read_tensors(r, header);
    json_decref(header);
    return err;
}

/* ---- config.json --------------------------------------------------------- */

/* A JSON file, whole. */
static int load_json(spec_tensors *f, const specp_file *file, json_t **out) {
    if (file->size > MAX_JSON)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: has %zu bytes, expected at most %u", file->shown,
                            file->size, MAX_JSON);
    return specp_tensors_parse_json(f, file->shown, "the file", file->data, file->size, true, out);
}

/* Where there is one in the folder. */
static int read_config(spec_tensors *f, const char *dir, size_t dir_bytes) {
    struct stat st;
    specp_file file;
    json_t *config = NULL;
    const char *path = specp_tensors_join(f, dir, dir_bytes, "config.json");
    if (!path) return specp_tensors_no_memory(f);
    if (stat(path, &st)) return SPEC_OK;
    int err = specp_tensors_map(f, path, &file);
    if (!err) err = load_json(f, &file, &config);
    if (err) return err;
    err = specp_tensors_add_json(f, file.shown, "config.", config);
    json_decref(config);
    return err;
}

int specp_safetensors_read(spec_tensors *f, const specp_file *file) {
    reader r = {.f = f, .file = file};
    f->format = "safetensors";
    int err = read_config(f, file->path, specp_dir_bytes(file->path));
    return err ? err : read_file(&r);
}

/* ---- shards -------------------------------------------------------------- */

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool specp_safetensors_index_is(const specp_file *file) {
    size_t i = 0;
    while (i < file->size && is_blank(file->data[i])) i++;
    return i < file->size && file->data[i] == '{';
}

/* Files of the index's folder, and no way out of it. */
static int check_shard_name(spec_tensors *f, const specp_file *index, const char *name, const json_t *shard) {
    const char *text = json_string_value(shard);
    if (text && specp_name_valid(text, strlen(text)) && !strchr(text, '/')) return SPEC_OK;
    return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                        "%s: weight_map: tensor %.*s lies in \"%.*s\", expected the name of a file in the "
                        "same folder",
                        index->shown, SPECP_SHOW(name), SPECP_SHOW(text ? text : "?"));
}

static int read_shard(spec_tensors *f, const specp_file *index, const json_t *weight_map, const char *shard) {
    specp_file file;
    const char *path = specp_tensors_join(f, index->path, specp_dir_bytes(index->path), shard);
    if (!path) return specp_tensors_no_memory(f);
    int err = specp_tensors_map(f, path, &file);
    reader r = {.f = f, .file = &file, .weight_map = weight_map, .shard = shard};
    return err ? err : read_file(&r);
}

/* Each shard once, when the first of its tensors is met; `done` has the names of those read. */
static int read_shards(spec_tensors *f, const specp_file *index, const json_t *weight_map, json_t *done) {
    for (void *at = json_object_iter(mutable(weight_map)); at;
         at = json_object_iter_next(mutable(weight_map), at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        int err = check_shard_name(f, index, name, value);
        if (err) return err;
        const char *shard = json_string_value(value);
        if (!json_object_get(done, shard)) {
            err = read_shard(f, index, weight_map, shard);
            if (err) return err;
            if (json_object_set_new(done, shard, json_true())) return specp_tensors_no_memory(f);
        }
        if (!spec_tensors_find(f, name))
            return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                                "%s: weight_map expects tensor %.*s in %.*s, which has no "
                                "such tensor",
                                index->shown, SPECP_SHOW(name), SPECP_SHOW(shard));
    }
    return SPEC_OK;
}

static int read_weight_map(spec_tensors *f, const specp_file *index, const json_t *root) {
    const json_t *weight_map = json_object_get(root, "weight_map");
    if (!json_is_object(weight_map))
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: is JSON, but no index of safetensors: it has no object weight_map",
                            index->shown);
    json_t *done = json_object();
    int err = done ? read_shards(f, index, weight_map, done) : specp_tensors_no_memory(f);
    json_decref(done);
    return err;
}

int specp_safetensors_read_index(spec_tensors *f, const specp_file *index) {
    json_t *root = NULL;
    f->format = "safetensors";
    int err = load_json(f, index, &root);
    if (err) return err;
    err = read_config(f, index->path, specp_dir_bytes(index->path));
    if (!err) err = read_weight_map(f, index, root);
    json_decref(root);
    return err;
}

/* ---- folders ------------------------------------------------------------- */

static bool has_suffix(const char *name) {
    static const char suffix[] = ".safetensors";
    size_t n = strlen(name), s = sizeof suffix - 1;
    return n >= s && memcmp(name + n - s, suffix, s) == 0;
}

/* The only *.safetensors of the folder; `dir` ends in a slash. */
static int find_only(spec_tensors *f, const char *dir, const char **path) {
    size_t n = 0;
    DIR *d = opendir(dir);
    if (!d) return TENSORS_FAIL(f, SPEC_ERR_IO, "%s: the folder cannot be read", specp_shown(dir));
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || !has_suffix(e->d_name)) continue; /* other systems leave "._NAME" */
        if (n++ == 0) *path = specp_tensors_join(f, dir, strlen(dir), e->d_name);
    }
    closedir(d);
    if (n == 1) return *path ? SPEC_OK : specp_tensors_no_memory(f);
    return TENSORS_FAIL(f, SPEC_ERR_NOT_FOUND,
                        "%s: a folder with %zu *.safetensors files: expected " INDEX_NAME
                        ", model.safetensors or one such file alone",
                        specp_shown(dir), n);
}

int specp_safetensors_read_folder(spec_tensors *f) {
    struct stat st;
    specp_file file;
    size_t n = strlen(f->path);
    const char *dir = specp_tensors_join(f, f->path, n, n && f->path[n - 1] == '/' ? "" : "/");
    const char *index = dir ? specp_tensors_join(f, dir, strlen(dir), INDEX_NAME) : NULL;
    const char *path = index ? specp_tensors_join(f, dir, strlen(dir), "model.safetensors") : NULL;
    if (!path) return specp_tensors_no_memory(f);
    bool sharded = stat(index, &st) == 0;
    int err = sharded || stat(path, &st) == 0 ? SPEC_OK : find_only(f, dir, &path);
    if (!err) err = specp_tensors_map(f, sharded ? index : path, &file);
    if (err) return err;
    return sharded ? specp_safetensors_read_index(f, &file) : specp_safetensors_read(f, &file);
}
