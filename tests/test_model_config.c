/* SPDX-License-Identifier: MIT */
/* Windows, frequencies and scales, as metadata of either kind of file give them. */
#include <math.h>
#include <string.h>

#include "model_world.h"

/* ---- windows ------------------------------------------------------------------------ */

static void assert_windows(model_world *w, const tiny_model *t, const char *expected) {
    specp_model m;
    model_world_load(w, t, &m);
    assert_int_equal(strlen(expected), m.n_layers);
    for (size_t i = 0; i < m.n_layers; i++) {
        assert_int_equal(m.layer[i].window, expected[i] == 'w' ? t->window : 0);
        assert_int_equal(m.layer[i].rope, expected[i] == 'w' && m.arch->local_rope_base != 0);
    }
    specp_model_release(&m);
}

static tiny_model hf_model(const char *arch, size_t layers, size_t window, const char *config) {
    tiny_model t = tiny_model_of(arch);
    t.format = SPEC_FORMAT_SAFETENSORS;
    t.layers = layers;
    t.window = window;
    t.config = config;
    return t;
}

static void windows_of_layers(void **state) {
    tiny_model t = tiny_model_of("gemma2");
    t.layers = 5;
    assert_windows(*state, &t, "w.w.w");
    t = tiny_model_of("gemma3");
    assert_windows(*state, &t, "wwwww.w");
    t.edit[t.n_edits++] = (tiny_edit){TINY_UINT, "gemma3.attention.sliding_window_pattern", 3, NULL};
    assert_windows(*state, &t, "ww.ww.w");
    t = tiny_model_of("gemma3");
    t.window = 0;
    assert_windows(*state, &t, ".......");
    t = tiny_model_of("mistral");
    assert_windows(*state, &t, "ww");
    t = tiny_model_of("llama");
    assert_windows(*state, &t, "..");
}

static void windows_in_config_json(void **state) {
    tiny_model t = hf_model("mistral", 2, 24, NULL);
    assert_windows(*state, &t, "ww");
    t = hf_model("mistral", 2, 0, "\"sliding_window\": null");
    assert_windows(*state, &t, "..");
    t = hf_model("qwen2", 3, 16, "\"use_sliding_window\": false");
    assert_windows(*state, &t, "...");
    t = hf_model("qwen2", 3, 16, "\"use_sliding_window\": true, \"max_window_layers\": 2");
    assert_windows(*state, &t, "..w");
    t = hf_model("qwen3", 3, 16,
                 "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]");
    assert_windows(*state, &t, ".w.");
    t = hf_model("gemma3", 3, 12, "\"sliding_window_pattern\": [false, true, false]");
    assert_windows(*state, &t, ".w.");
    t = hf_model("gemma3", 7, 12, "\"sliding_window_pattern\": 4");
    assert_windows(*state, &t, "www.www");
}

/* ---- frequencies and scales ------------------------------------------------------------ */

static void assert_frequencies(const double *freq, size_t n, double base, double factor) {
    for (size_t j = 0; j < n; j++) {
        double expected = pow(base, -(double)j / (double)n) / factor;
        assert_true(fabs(freq[j] / expected - 1) < 1e-14);
    }
}

static void rope_scalings(void **state) {
    specp_model m;
    tiny_model t = tiny_model_of("llama");
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 1);
    assert_null(m.rope_freq[1]);
    specp_model_release(&m);
    t.n_edits = 2;
    t.edit[0] = (tiny_edit){TINY_TEXT, "llama.rope.scaling.type", 0, "linear"};
    t.edit[1] = (tiny_edit){TINY_FLOAT, "llama.rope.scaling.factor", 4, NULL};
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 4);
    specp_model_release(&m);
    t.edit[0].text = "none";
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 1);
    specp_model_release(&m);
    t.edit[0] = (tiny_edit){TINY_FLOAT, "llama.rope.scale_linear", 3, NULL};
    t.n_edits = 1;
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 3);
    specp_model_release(&m);
    t.edit[0] = (tiny_edit){TINY_UINT, "llama.rope.dimension_count", 8, NULL};
    t.n_edits = 1;
    model_world_load(*state, &t, &m);
    assert_int_equal(m.rope_dim, 8);
    assert_frequencies(m.rope_freq[0], 4, 500000, 1);
    specp_model_release(&m);
    t = tiny_model_of("gemma3");
    t.n_edits = 3;
    t.edit[0] = (tiny_edit){TINY_FLOAT, "gemma3.rope.scaling.factor", 8, NULL};
    t.edit[1] = (tiny_edit){TINY_DROP, "gemma3.rope.freq_base", 0, NULL};
    t.edit[2] = (tiny_edit){TINY_FLOAT, "gemma3.rope.freq_base_swa", 20000, NULL};
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 12, 1e6, 8);
    assert_frequencies(m.rope_freq[1], 12, 20000, 1);
    specp_model_release(&m);
}

static void rope_scalings_in_config_json(void **state) {
    specp_model m;
    tiny_model t = hf_model("llama", 2, 0, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}");
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 2.5);
    specp_model_release(&m);
    t.config = "\"rope_scaling\": {\"rope_type\": \"default\"}";
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 500000, 1);
    specp_model_release(&m);
    t.config = "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 7000}";
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 8, 7000, 2);
    specp_model_release(&m);
    t.config = "\"partial_rotary_factor\": 0.5";
    model_world_load(*state, &t, &m);
    assert_int_equal(m.rope_dim, 8);
    specp_model_release(&m);
    t = hf_model("gemma3", 7, 12, "\"rope_local_base_freq\": 5000");
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 12, 10000, 1);
    assert_frequencies(m.rope_freq[1], 12, 5000, 1);
    specp_model_release(&m);
    t.config = "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, "
               "\"rope_theta\": 7000},"
               " \"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 6000}}";
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[0], 12, 7000, 8);
    assert_frequencies(m.rope_freq[1], 12, 6000, 1);
    specp_model_release(&m);
    t.config = NULL;
    model_world_load(*state, &t, &m);
    assert_frequencies(m.rope_freq[1], 12, 10000, 1);
    specp_model_release(&m);
}

/* llama 3's: the frequencies of wavelengths far below the original context stay, those far above are divided
 * by the factor, the rest lie between. */
static void llama3_scaling(void **state) {
    specp_model m;
    tiny_model t = hf_model("llama", 2, 0, NULL);
    t.rope_factors = true; /* factor 8, low 1, high 4, 64 tokens */
    model_world_load(*state, &t, &m);
    for (size_t j = 0; j < 8; j++) {
        double plain = pow(500000, -(double)j / 8.0), wave = 6.283185307179586 / plain;
        double share = (64 / wave - 1) / (4 - 1), expected = plain;
        if (wave > 64)
            expected = plain / 8;
        else if (wave >= 16)
            expected = (1 - share) * plain / 8 + share * plain;
        assert_true(fabs(m.rope_freq[0][j] / expected - 1) < 1e-14);
    }
    specp_model_release(&m);
    t.format = SPEC_FORMAT_GGUF; /* a tensor of divisors, powers of two */
    model_world_load(*state, &t, &m);
    const spec_tensor *factors = spec_tensors_find(m.file, "rope_freqs.weight");
    for (size_t j = 0; j < 8; j++) {
        float factor;
        memcpy(&factor, (const char *)factors->data + 4 * j, sizeof factor);
        double expected = pow(500000, -(double)j / 8.0) / (double)factor;
        assert_true(fabs(m.rope_freq[0][j] / expected - 1) < 1e-14);
    }
    specp_model_release(&m);
}

static void assert_scales(model_world *w, const tiny_model *t, double attn, double embed, double cap,
                          double final) {
    specp_model m;
    model_world_load(w, t, &m);
    assert_true(fabs((double)m.attn_scale * sqrt(attn) - 1) < 1e-7);
    assert_true(fabs((double)m.embed_scale / sqrt(embed) - 1) < 1e-7);
    assert_true(m.attn_softcap == (float)cap && m.final_softcap == (float) final);
    specp_model_release(&m);
}

static void scales(void **state) {
    tiny_model t = tiny_model_of("llama");
    assert_scales(*state, &t, 16, 1, 0, 0);
    t = tiny_model_of("gemma2");
    assert_scales(*state, &t, 24, 64, 5, 3);
    t.n_edits = 2;
    t.edit[0] = (tiny_edit){TINY_DROP, "gemma2.attn_logit_softcapping", 0, NULL};
    t.edit[1] = (tiny_edit){TINY_DROP, "gemma2.final_logit_softcapping", 0, NULL};
    t.layers = 46; /* the size whose scores are scaled by dim / heads */
    assert_scales(*state, &t, 16, 64, 50, 30);
    t = tiny_model_of("gemma3");
    assert_scales(*state, &t, 24, 64, 0, 0);
    t = hf_model("gemma2", 2, 12, NULL);
    t.n_edits = 1;
    t.edit[0] = (tiny_edit){TINY_UINT, "query_pre_attn_scalar", 40, NULL};
    assert_scales(*state, &t, 40, 64, 5, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_layers), cmocka_unit_test(windows_in_config_json),
        cmocka_unit_test(rope_scalings),     cmocka_unit_test(rope_scalings_in_config_json),
        cmocka_unit_test(llama3_scaling),    cmocka_unit_test(scales),
    };
    return cmocka_run_group_tests(tests, model_world_set_up, model_world_tear_down);
}
