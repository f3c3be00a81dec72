"""The models that recipe_oracle.py measures: architectures, shapes and options that recipes depend on."""

FILE_TYPES = {"Q1_0": 40, "Q2_0": 41, "Q4_0": 2, "Q4_1": 3, "MXFP4_MOE": 38, "Q5_0": 8, "Q5_1": 9, "IQ2_XXS": 19, "IQ2_XS": 20, "IQ2_S": 28,
              "IQ2_M": 29, "IQ1_S": 24, "IQ1_M": 31, "TQ1_0": 36, "TQ2_0": 37, "Q2_K": 10, "Q2_K_S": 21, "IQ3_XXS": 23, "IQ3_S": 26,
              "IQ3_M": 27, "IQ3_XS": 22, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "IQ4_NL": 25, "IQ4_XS": 30, "Q4_K_S": 14, "Q4_K_M": 15,
              "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "Q8_0": 7, "F16": 1, "BF16": 32, "F32": 0, "COPY": 0}

ROW = [2, 256]
OUTER = [["token_embd.weight", ROW], ["output_norm.weight", [256]]]
OUTPUT = [["output.weight", ROW]]
ATTENTION = [[f"blk.{{i}}.attn_{part}.weight", ROW] for part in ("q", "k", "v", "output")] + [["blk.{i}.attn_norm.weight", [256]]]
DENSE = [[f"blk.{{i}}.ffn_{part}.weight", ROW] for part in ("gate", "up", "down")] + [["blk.{i}.ffn_norm.weight", [256]]]
PLAIN = [[f"blk.{{i}}.ffn_{part}.weight", ROW] for part in ("up", "down")]
FUSED = [["blk.{i}.attn_qkv.weight", ROW], ["blk.{i}.attn_output.weight", ROW], ["blk.{i}.attn_qkv.bias", [256]]]


def experts(count, shared=False):
    stacks = [[f"blk.{{i}}.ffn_{part}_exps.weight", [count, 2, 256]] for part in ("gate", "up", "down")]
    shared_ones = [[f"blk.{{i}}.ffn_{part}_shexp.weight", ROW] for part in ("gate", "up", "down")] if shared else []
    return stacks + shared_ones + [["blk.{i}.ffn_gate_inp.weight", [count, 256]]]


def model(name, arch, blocks, heads, kv, tensors, *, count=None, options=(), file_types=None, **keys):
    metadata = {"general.architecture": arch, f"{arch}.block_count": blocks, f"{arch}.attention.head_count": heads,
                f"{arch}.attention.head_count_kv": kv}
    if count: metadata.update({f"{arch}.expert_count": count, f"{arch}.expert_used_count": 2})
    metadata.update(keys)
    result = {"name": name, "metadata": metadata, "tensors": tensors}
    if options: result["options"] = list(options)
    if file_types: result["file_types"] = file_types
    return result


def vision_tower(name, tensors, *, file_types):  # the library does not read hyperparameters of these
    return {"name": name, "metadata": {"general.architecture": "clip", "clip.vision.block_count": 4}, "tensors": tensors, "file_types": file_types}


def odd_rows(columns):
    return [["token_embd.weight", [2, columns]], ["output.weight", [2, columns]]] + [
        [f"blk.{{i}}.{part}.weight", [2, columns]] for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")]


KEPT = [[name, ROW] for name in """
    ffn_gate_inp.weight ffn_gate_tid2eid.weight altup_proj.weight laurel_l.weight per_layer_model_proj.weight position_embd.weight
    token_types.weight ssm_conv1d.weight shortconv.conv.weight indexer.k_proj.weight indexer.q_proj.weight indexer.proj.weight
    indexer.attn_k.weight time_mix_first.weight time_mix_w0.weight time_mix_w1.weight time_mix_w2.weight time_mix_v0.weight
    time_mix_v1.weight time_mix_v2.weight time_mix_a0.weight time_mix_a1.weight time_mix_a2.weight time_mix_g1.weight
    time_mix_g2.weight time_mix_decay_w1.weight time_mix_decay_w2.weight time_mix_lerp_fused.weight time_mix_key.weight
    attn_rel_b.weight v.position_embd.weight sam.pos_embd.weight sam.neck.0.weight sam.net_1.weight x.rel_pos.weight
    v.patch_embd.weight v.patch_merger.weight a.rvq.codebook.weight mm.a.code_embd.weight attn_norm.weight abcde abcdef foo.bias
    fooweight weight.foo ssm_a ffn_gate_inp_shexp.weight cls.weight rope_freqs.weight my_position_embd.weight weight ffn_norm_exps.weight
    per_layer_token_embd.weight blk.0.post_attention_norm.weight blk.0.attn_q_norm.weight blk.0.attn_q.bias""".split()]
SHAPES = [["one_row.weight", [1, 256]], ["one_column.weight", [2, 1]], ["one_stack.weight", [1, 2, 256]], ["stack.weight", [3, 1, 256]],
          ["scalar.weight", [1]], ["one_by_one.weight", [1, 1]]]
ODD_ORDER = [[name, ROW] for name in ("blk.10.a.weight", "blk.2.a.weight", "blk.2.B.weight", "blk.02.a.weight", "blk.x.weight", "blk.1weight",
             "blk. 3.weight", "blk.-1.weight", "blk.-7.weight", "blk.+4.weight", "a.blk.0.weight", "zz.weight", "blk.", "blk.99999999999.weight",
             "Output.weight", "\u00e9.weight")]

LAYERED = ["Q4_K_M", "Q5_K_M", "Q3_K_M", "Q4_K_S", "Q2_K_S", "IQ3_XS", "IQ3_M", "IQ2_S", "Q4_0", "IQ4_XS", "IQ3_XXS"]
SOME = ["Q4_K_M", "Q5_K_M", "Q3_K_S", "Q3_K_M", "Q2_K", "Q8_0", "IQ2_M", "IQ3_S", "IQ4_NL"]
OPTIONS = [
    ["Q4_K_M", {"pure": True}], ["Q8_0", {"pure": True}], ["IQ2_XS", {"pure": True, "imatrix": True}], ["IQ2_XS", {"pure": True}],
    ["Q4_K_M", {"leave_output_tensor": True}], ["F16", {"leave_output_tensor": True}],
    ["Q4_K_M", {"output_tensor_type": "Q8_0"}], ["Q4_K_M", {"token_embedding_type": "Q8_0"}],
    ["Q4_K_M", {"output_tensor_type": "Q8_0", "token_embedding_type": "Q5_0"}], ["Q4_K_M", {"pure": True, "output_tensor_type": "Q8_0"}],
    ["F16", {"output_tensor_type": "Q8_0"}], ["F16", {"token_embedding_type": "Q4_0"}], ["MXFP4_MOE", {"output_tensor_type": "F16"}],
    ["Q4_K_M", {"tensor_types": [["attn_v", "Q8_0"]]}], ["Q4_K_M", {"tensor_types": [["blk\\.[0-3]\\.", "F16"], ["ffn_down", "Q2_K"]]}],
    ["Q4_K_M", {"tensor_types": [["ffn_down", "Q4_K"], ["ffn_down", "Q8_0"]]}], ["Q4_K_M", {"tensor_types": [["^output", "Q5_K"]]}],
    ["Q4_K_M", {"tensor_types": [["token_embd", "Q4_K"]]}], ["Q4_K_M", {"tensor_types": [["norm", "Q4_K"]]}],
    ["Q4_K_M", {"tensor_types": [["attn_v", "Q8_0"]], "pure": True}], ["F16", {"tensor_types": [["attn_v", "Q8_0"]]}],
    ["Q4_K_M", {"tensor_types": [["blk\\.(1|3)\\..*(attn_v|ffn_down)", "Q5_K"]]}], ["Q4_K_M", {"tensor_types": [["attn_v", "IQ2_XXS"]]}],
    ["Q4_K_M", {"tensor_types": [["token_embd", "IQ1_S"]], "imatrix": True}], ["Q3_K_M", {"tensor_types": [["blk.0.attn_v", "F32"]]}],
    ["Q4_K_S", {"tensor_types": [["0", "BF16"]]}], ["Q2_K_S", {"imatrix": True, "pure": True}], ["Q2_K_S", {"pure": True}],
]
ODD_OPTIONS = [["Q4_K_M", {"tensor_types": [["attn_v", "Q6_K"]]}], ["Q4_K_M", {"pure": True}], ["IQ3_S", {"pure": True}], ["TQ2_0", {"pure": True}]]
SOURCES = ["F32", "F16", "BF16", "Q8_0", "Q4_K"]
MIXED = [[f"blk.{{i}}.{part}.weight", ROW, kind] for part, kind in
         (("attn_q", "Q4_K"), ("attn_k", "Q8_0"), ("attn_v", "Q6_K"), ("ffn_up", "F16"), ("ffn_down", "BF16"))]

MODELS = [
    model("llama", "llama", 32, 8, 8, OUTER + OUTPUT + ATTENTION + DENSE),
    model("llama, grouped heads", "llama", 32, 8, 2, OUTER + OUTPUT + ATTENTION + DENSE),
    model("llama, tied", "llama", 5, 8, 4, OUTER + ATTENTION + DENSE, options=OPTIONS),
    model("llama, untied", "llama", 8, 8, 4, OUTER + OUTPUT + ATTENTION + DENSE, options=OPTIONS),
    model("llama, 80 blocks, grouped heads", "llama", 80, 64, 8, OUTER + OUTPUT + ATTENTION + DENSE[2:3]),
    model("llama, 80 blocks", "llama", 80, 8, 8, ATTENTION[2:3], file_types=SOME),
    model("qwen2, 80 blocks", "qwen2", 80, 8, 8, ATTENTION[2:3], file_types=SOME),
    model("qwen3, 80 blocks", "qwen3", 80, 8, 2, ATTENTION[2:3], file_types=SOME),
    model("olmo, 80 blocks", "olmo", 80, 8, 8, ATTENTION[2:3], file_types=SOME),
    model("deci, 80 blocks", "deci", 80, [8] * 80, [0] + [2] * 79, ATTENTION[2:3], file_types=SOME),
    model("jais2, 68 blocks", "jais2", 68, 8, 8, ATTENTION[2:3], file_types=SOME),
    model("llama-embed, 80 blocks, 8 experts", "llama-embed", 80, 8, 2, ATTENTION[2:3], count=8, file_types=SOME),
    model("mixture of 8", "llama", 32, 8, 2, OUTER + OUTPUT + ATTENTION + experts(8), count=8),
    model("mixture of 8, single experts", "llama", 8, 8, 8, OUTER + OUTPUT + ATTENTION + [
        [f"blk.{{i}}.ffn_{part}.{e}.weight", ROW] for e in range(8) for part in ("gate", "up", "down")], count=8),
    model("mixture of 4", "llama", 12, 8, 8, OUTER + ATTENTION + experts(4, shared=True), count=4),
    model("mixture of 2 with a tensor outside blocks", "llama", 4, 8, 8, experts(2) + [["ffn_down_extra.weight", ROW]], count=2),
    model("mixture of 2 with a block too many", "llama", 4, 8, 8, experts(2) + [["blk.4.ffn_up.weight", ROW]], count=2),
    model("qwen2", "qwen2", 28, 12, 2, OUTER + ATTENTION + DENSE),
    model("qwen3", "qwen3", 36, 16, 8, OUTER + ATTENTION + DENSE, file_types=SOME),
    model("qwen3moe", "qwen3moe", 16, 32, 4, OUTER + OUTPUT + ATTENTION + experts(3), count=128),
    model("gpt2", "gpt2", 12, 12, 12, OUTER + OUTPUT + [["position_embd.weight", ROW]] + FUSED + PLAIN),
    model("gptneox", "gptneox", 6, 8, 8, OUTER + OUTPUT + FUSED + PLAIN),
    model("phi2", "phi2", 24, 32, 32, OUTER + OUTPUT + FUSED + PLAIN),
    model("falcon", "falcon", 60, 64, 8, OUTER + OUTPUT + FUSED + PLAIN),
    model("falcon, tied", "falcon", 17, 71, 1, OUTER + FUSED + PLAIN),
    model("falcon, mixture of 8", "falcon", 9, 8, 1, OUTER + ATTENTION + experts(8), count=8),
    model("deepseek2", "deepseek2", 14, 16, 1, OUTER + OUTPUT + [[f"blk.{{i}}.attn_{part}.weight", ROW] for part in
          ("q_a", "q_b", "kv_a_mqa", "kv_b", "output")] + [["blk.{i}.attn_k_b.weight", [2, 2, 256]]] + experts(3, shared=True), count=64),
    model("bailingmoe3", "bailingmoe3", 4, 8, 8, OUTER + OUTPUT + [["blk.{i}.attn_k_b.weight", [2, 2, 256]]] + experts(3, shared=True), count=8,
          file_types=["MXFP4_MOE", "Q4_K_M"], **{"bailingmoe3.kda.gate_lower_bound": -1.0}),
    model("two attention values in a block", "llama", 9, 8, 8, [["blk.{i}.attn_v.weight", ROW], ["blk.{i}.attn_kv_b.weight", ROW],
          ["blk.{i}.attn_qkv.weight", [256]], ["blk.{i}.ffn_down.weight", ROW], ["blk.{i}.ffn_down_b.weight", ROW]], file_types=LAYERED),
    vision_tower("clip", [["v.blk.{i}.attn_v.weight", ROW], ["v.blk.{i}.attn_out.weight", ROW], ["v.blk.{i}.ffn_down.weight", ROW],
          ["v.patch_embd.weight", ROW], ["mm.0.weight", ROW]],
          file_types=["Q4_K_M", "Q5_K_M", "Q3_K_M", "Q4_K_S", "Q4_0", "Q8_0"]),  # the library aborts where a rule asks for heads
    model("names", "llama", 4, 8, 8, KEPT + SHAPES, options=[["Q4_K_M", {"tensor_types": [["norm", "Q8_0"]]}]]),
    model("names, bert", "bert", 4, 8, 8, KEPT[:12] + OUTPUT, file_types=SOME),
    model("order", "llama", 4, 8, 8, ODD_ORDER, file_types=["Q8_0", "COPY"]),
    model("mixed sources", "llama", 4, 8, 8, OUTER + OUTPUT + MIXED + [["blk.0.ffn_gate_tid2eid.weight", ROW, "I32"]],
          options=[[t, {"allow_requantize": True}] for t in ("Q4_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32")]),
    model("sources that fit", "llama", 4, 8, 8, [["blk.{i}.ffn_up.weight", ROW, "Q4_K"], ["blk.{i}.attn_v.weight", ROW, "F16"],
          ["blk.{i}.attn_k.weight", ROW, "F16"]], file_types=["Q4_K_S", "Q4_K_M", "Q6_K", "F16", "COPY"]),
    model("COPY with a file type", "llama", 1, 8, 8, OUTER + OUTPUT, file_types=["COPY"], **{"general.file_type": 17}),
] + [model(f"all {kind}", "llama", 2, 8, 8, [["blk.{i}.ffn_up.weight", ROW, kind]], file_types=["COPY", "Q4_K_M", "F16"]) for kind in SOURCES
] + [model(f"rows of {n}", "llama", 4, 8, 8, odd_rows(n), options=ODD_OPTIONS) for n in (288, 896, 1056, 300, 64, 32)
] + [model(f"rows of {n}, tied", "llama", 2, 8, 8, odd_rows(n)[:1], file_types=SOME + ["Q1_0", "Q2_0", "MXFP4_MOE"]) for n in (288, 896, 384, 300)
] + [model(f"{n} blocks", "llama", n, 8, 8, ATTENTION[2:3] + PLAIN, file_types=LAYERED) for n in
     (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 16, 17, 23, 24, 25, 31, 33, 36, 40)]
