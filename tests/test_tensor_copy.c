/* SPDX-License-Identifier: MIT */
/*
 * Copies through reader and writer: every kind of metadata keeps its type and
 * its bits, and files that other tools made come out byte for byte.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    support_tmp tmp;
    char path[256], copy[256];
} fixture;

static int set_up(void **state) {
    static fixture x;
    support_tmp_make(&x.tmp);
    support_tmp_path(&x.tmp, "out", x.path, sizeof x.path);
    support_tmp_path(&x.tmp, "copy", x.copy, sizeof x.copy);
    *state = &x;
    return 0;
}

static int tear_down(void **state) {
    support_tmp_remove(&((fixture *)*state)->tmp);
    return 0;
}

/* Copies f's metadata and tensors into a new file. */
static void copy_file(const spec_tensors *f, const char *path, spec_format format) {
    spec_writer *w = must_begin(path, format);
    for (size_t i = 0; i < spec_tensors_meta_count(f); i++)
        assert_int_equal(spec_writer_meta_copy(w, spec_tensors_meta_at(f, i)), SPEC_OK);
    for (size_t i = 0; i < spec_tensors_count(f); i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        assert_int_equal(spec_writer_tensor(w, t->name, t->type, t->n_dims, t->dim), SPEC_OK);
    }
    for (size_t i = 0; i < spec_tensors_count(f); i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        assert_int_equal(spec_writer_data(w, t->data, t->bytes), SPEC_OK);
    }
    must_finish(w);
}

/* Every kind keeps its type and its bits. */
static void add_all_kinds(bytes *b) {
    static const uint8_t value[8] = {1, 0xff, 0x80, 0x3f, 0x12, 0x34, 0x56, 0xf8};
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (uint32_t type = 0; type < 13; type++) {
        char key[16];
        if (type == G_STRING || type == G_ARRAY) continue;
        snprintf(key, sizeof key, "one%u", type);
        gguf_key(b, key, type);
        bytes_add(b, value, sizes[type]);
        snprintf(key, sizeof key, "two%u", type);
        gguf_array(b, key, type, 2);
        bytes_add(b, value, sizes[type]);
        bytes_add(b, type == G_BOOL ? (const uint8_t *)"" : value, sizes[type]);
    }
}

static void test_copied_metadata(void **state) {
    fixture *x = *state;
    bytes b = {0};
    gguf_header(&b, 3, 0, 22);
    add_all_kinds(&b);
    bytes_align(&b, 32);
    support_write_file(x->path, b.data, b.n);
    spec_tensors *f = must_open(x->path, NULL);
    copy_file(f, x->copy, SPEC_FORMAT_GGUF);
    must_equal(x->copy, b.data, b.n);
    spec_tensors_free(f);
    bytes_free(&b);

    gguf_header(&b, 3, 0, 4);
    gguf_u32(&b, "general.alignment", 64);
    gguf_u32(&b, "split.count", 1);
    gguf_u32(&b, "split_of", 1);
    gguf_array(&b, "nested", G_ARRAY, 1);
    bytes_u32(&b, G_U8);
    bytes_u64(&b, 0);
    support_write_file(x->path, b.data, b.n);
    f = must_open(x->path, NULL);
    for (int k = 0; k < 2; k++) {
        spec_format format = k ? SPEC_FORMAT_SAFETENSORS : SPEC_FORMAT_GGUF;
        spec_writer *w = must_begin(x->copy, format);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(spec_writer_meta_copy(w, spec_tensors_meta_at(f, i)),
                             i < 3 ? SPEC_OK : SPEC_ERR_UNSUPPORTED);
        must_finish(w);
        spec_tensors *g = must_open(x->copy, NULL);
        assert_int_equal(spec_tensors_meta_count(g), k ? 3 : 1);
        spec_tensors_free(g);
    }
    spec_tensors_free(f);
    bytes_free(&b);
}

/* Metadata that came from JSON goes into GGUF and comes back. */
static void test_copied_config(void **state) {
    fixture *x = *state;
    char path[256];
    bytes b = {0};
    static const char config[] =
        "{\"a\":1,\"b\":-2,\"c\":0.1,\"d\":true,\"e\":\"x\",\"f\":[1,2],\"g\":[\"p\",\"qr\"],"
        "\"h\":[0.5],\"i\":[false],\"j\":[]}";
    safetensors_file(&b, "{\"__metadata__\":{\"k\":\"v\"}}", 0);
    support_write_file(x->path, b.data, b.n);
    support_write_file(support_tmp_path(&x->tmp, "config.json", path, sizeof path), config,
                       sizeof config - 1);
    spec_tensors *f = must_open(x->path, NULL);
    copy_file(f, x->copy, SPEC_FORMAT_GGUF);
    spec_tensors *g = must_open(x->copy, NULL);
    assert_int_equal(spec_tensors_meta_count(g), 11);
    for (size_t i = 0; i < 11; i++) {
        const spec_meta *m = spec_tensors_meta_at(f, i), *n = spec_tensors_meta_at(g, i);
        assert_string_equal(m->key, n->key);
        assert_int_equal(m->kind, n->kind);
        assert_int_equal(m->n, n->n);
        for (uint64_t k = 0; k < (m->kind == SPEC_META_ARRAY ? m->n : 1); k++) {
            double p = 0, q = 0;
            const char *s = "", *t = "";
            size_t len = 0, len2 = 0;
            assert_int_equal(spec_meta_float(m, k, &p), spec_meta_float(n, k, &q));
            assert_true(p == q);
            assert_int_equal(spec_meta_string(m, k, &s, &len), spec_meta_string(n, k, &t, &len2));
            assert_int_equal(len, len2);
            assert_memory_equal(s, t, len);
        }
    }
    spec_tensors_free(f);
    spec_tensors_free(g);
    bytes_free(&b);
}

/* Files that other tools made come out the same. */
static void test_golden_copies(void **state) {
    static const char *const files[] = {"models/llama-d256/Q4_K_M.gguf", "models/gemma2/F32.gguf",
                                        "models/mixtral/Q8_0.gguf", "models/llama-d256/BF16.gguf",
                                        "stories260K/stories260K-Q4_0.gguf"};
    fixture *x = *state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512], relative[128];
        size_t n = 0;
        snprintf(relative, sizeof relative, "golden/%s", files[i]);
        if (!support_shared(relative, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        spec_tensors *f = must_open(path, NULL);
        copy_file(f, x->copy, SPEC_FORMAT_GGUF);
        spec_tensors_free(f);
        char *data = support_read_file(path, &n);
        must_equal(x->copy, data, n);
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copied_metadata, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copied_config, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_golden_copies, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
