/* SPDX-License-Identifier: MIT */
/* The architectures, a table entry each: no forward pass is anyone's own. */
#include "model.h"

static const char *const llama_names[] = {"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
                                          NULL};
static const char *const qwen2_names[] = {"Qwen2ForCausalLM", NULL};
static const char *const qwen3_names[] = {"Qwen3ForCausalLM", NULL};
static const char *const gemma2_names[] = {"Gemma2ForCausalLM", NULL};
static const char *const gemma3_names[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", NULL};
static const char *const olmo2_names[] = {"Olmo2ForCausalLM", NULL};

const specp_arch specp_archs[] = {
    {.name = "llama", .hf_names = llama_names, .rope_base = 1e4, .pre_norm = true},
    {.name = "qwen2",
     .hf_names = qwen2_names,
     .neox_rope = true,
     .pre_norm = true,
     .qkv_bias = true,
     .rope_base = 1e4},
    {.name = "qwen3",
     .hf_names = qwen3_names,
     .neox_rope = true,
     .pre_norm = true,
     .qk_norm = SPECP_QK_HEAD,
     .rope_base = 1e4},
    {.name = "gemma2",
     .hf_names = gemma2_names,
     .neox_rope = true,
     .pre_norm = true,
     .post_norm = true,
     .act = SPECP_ACT_GELU,
     .embed_scale = true,
     .hf_norm_plus_one = true,
     .window_period = 2,
     .window_global = 1,
     .window = 4096,
     .rope_base = 1e4,
     .attn_softcap = 50.0f,
     .final_softcap = 30.0f,
     .wide_layers = 46},
    {.name = "gemma3",
     .hf_names = gemma3_names,
     .neox_rope = true,
     .pre_norm = true,
     .post_norm = true,
     .qk_norm = SPECP_QK_HEAD,
     .act = SPECP_ACT_GELU,
     .embed_scale = true,
     .hf_norm_plus_one = true,
     .window_period = 6,
     .window_global = 5,
     .rope_base = 1e6,
     .local_rope_base = 10000.0,
     .wide_layers = 62},
    {.name = "olmo2",
     .hf_names = olmo2_names,
     .neox_rope = true,
     .post_norm = true,
     .qk_norm = SPECP_QK_WHOLE,
     .rope_base = 1e4},
    {.name = NULL},
};
