"""Tiny models of the architectures and variants that shared/conformance/families.py has none of,
made with its builders: random weights, real tokenizers."""
import pathlib

from common import SHARED, load


def layered(layers, head, layer, tail):
    """[(name, shape, kind)] of a whole model; layer(i) gives one layer's."""
    tensors = list(head)
    for i in range(layers):
        tensors += layer(i)
    return tensors + list(tail)


def norm(name, width):
    return [(name + ".weight", (width,), "n"), (name + ".bias", (width,), "b")]


def linear(name, rows, columns, bias=True):
    return [(name + ".weight", (rows, columns), "w")] + ([(name + ".bias", (rows,), "b")] if bias else [])


def builders(f):
    """Tensors by architecture; `f` is the module families."""
    hidden, inner, layers = f.H, f.F, f.L
    q_rows, kv_rows = f.NH * f.HD, f.KV * f.HD

    def attention(p, bias=False):
        return [t for x, rows in (("q", q_rows), ("k", kv_rows), ("v", kv_rows))
                for t in linear(f"{p}self_attn.{x}_proj", rows, hidden, bias)]

    def experts(c, shared, qk_norm):
        def layer(i):
            p = f"model.layers.{i}."
            count, width = c["num_experts"], c["moe_intermediate_size"]
            t = [(p + "input_layernorm.weight", (hidden,), "n"), (p + "post_attention_layernorm.weight", (hidden,), "n")]
            t += attention(p, bias=shared) + linear(p + "self_attn.o_proj", hidden, q_rows, False)
            if qk_norm:
                t += [(p + f"self_attn.{x}_norm.weight", (f.HD,), "n") for x in "qk"]
            t += linear(p + "mlp.gate", count, hidden, False)
            for e in range(count):
                x = f"{p}mlp.experts.{e}."
                t += linear(x + "gate_proj", width, hidden, False) + linear(x + "up_proj", width, hidden, False)
                t += linear(x + "down_proj", hidden, width, False)
            if shared:
                width = c["shared_expert_intermediate_size"]
                x = p + "mlp.shared_expert."
                t += linear(x + "gate_proj", width, hidden, False) + linear(x + "up_proj", width, hidden, False)
                t += linear(x + "down_proj", hidden, width, False) + linear(p + "mlp.shared_expert_gate", 1, hidden, False)
            return t
        return layered(layers, [("model.embed_tokens.weight", (c["vocab_size"], hidden), "w")], layer,
                       [("model.norm.weight", (hidden,), "n"), ("lm_head.weight", (c["vocab_size"], hidden), "w")])

    def olmo2(c):
        def layer(i):
            p = f"model.layers.{i}."
            t = attention(p) + linear(p + "self_attn.o_proj", hidden, q_rows, False)
            t += [(p + "self_attn.q_norm.weight", (q_rows,), "n"), (p + "self_attn.k_norm.weight", (kv_rows,), "n")]
            t += linear(p + "mlp.gate_proj", inner, hidden, False) + linear(p + "mlp.up_proj", inner, hidden, False)
            t += linear(p + "mlp.down_proj", hidden, inner, False)
            return t + [(p + f"post_{x}_layernorm.weight", (hidden,), "n") for x in ("attention", "feedforward")]
        return layered(c["num_hidden_layers"], [("model.embed_tokens.weight", (c["vocab_size"], hidden), "w")], layer,
                       [("model.norm.weight", (hidden,), "n"), ("lm_head.weight", (c["vocab_size"], hidden), "w")])

    def starcoder2(c):
        def layer(i):
            p = f"model.layers.{i}."
            t = norm(p + "input_layernorm", hidden) + norm(p + "post_attention_layernorm", hidden)
            t += attention(p, True) + linear(p + "self_attn.o_proj", hidden, q_rows)
            return t + linear(p + "mlp.c_fc", inner, hidden) + linear(p + "mlp.c_proj", hidden, inner)
        return layered(layers, [("model.embed_tokens.weight", (c["vocab_size"], hidden), "w")], layer,
                       norm("model.norm", hidden))

    def stablelm(c, parallel=False):
        def layer(i):
            p = f"model.layers.{i}."
            t = norm(p + "input_layernorm", hidden) + attention(p, not parallel)
            t += linear(p + "self_attn.o_proj", hidden, q_rows, False)
            if parallel:
                t += [(f"{p}self_attn.{x}_layernorm.norms.{n}.weight", (f.HD,), "n")
                      for x, count in (("q", f.NH), ("k", f.KV)) for n in range(count)]
            else:
                t += norm(p + "post_attention_layernorm", hidden)
            t += linear(p + "mlp.gate_proj", inner, hidden, False) + linear(p + "mlp.up_proj", inner, hidden, False)
            return t + linear(p + "mlp.down_proj", hidden, inner, False)
        return layered(layers, [("model.embed_tokens.weight", (c["vocab_size"], hidden), "w")], layer,
                       norm("model.norm", hidden) + [("lm_head.weight", (c["vocab_size"], hidden), "w")])

    def bloom(c):
        def layer(i):
            p = f"h.{i}."
            t = norm(p + "input_layernorm", hidden) + norm(p + "post_attention_layernorm", hidden)
            t += linear(p + "self_attention.query_key_value", 3 * hidden, hidden)
            t += linear(p + "self_attention.dense", hidden, hidden)
            return t + linear(p + "mlp.dense_h_to_4h", 4 * hidden, hidden) + linear(p + "mlp.dense_4h_to_h", hidden, 4 * hidden)
        head = [("word_embeddings.weight", (c["vocab_size"], hidden), "w")] + norm("word_embeddings_layernorm", hidden)
        return layered(layers, head, layer, norm("ln_f", hidden))

    llama = lambda **options: lambda c: f.llama_like(c["vocab_size"], **options)
    return {"llama": llama(), "biased": llama(bias=True), "neox": lambda c: f.gpt_neox(c["vocab_size"]),
            "qwen2moe": lambda c: experts(c, True, False), "qwen3moe": lambda c: experts(c, False, True),
            "olmo2": olmo2, "starcoder2": starcoder2, "stablelm": stablelm,
            "stablelm12b": lambda c: stablelm(c, True), "bloom": bloom}


MOE = {"head_dim": 64, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
       "shared_expert_intermediate_size": 192, "decoder_sparse_step": 1, "tie_word_embeddings": False}
# name: (tokenizer's folder, tensors, changes of the config)
MORE = {
    "granite": ("smollm2", "llama", {
        "architectures": ["GraniteForCausalLM"], "attention_multiplier": 0.05, "embedding_multiplier": 7.0,
        "residual_multiplier": 0.3, "logits_scaling": 4.0, "tie_word_embeddings": False}),
    "qwen2": ("qwen3", "biased", {"architectures": ["Qwen2ForCausalLM"], "head_dim": 64, "tie_word_embeddings": False}),
    "qwen2moe": ("qwen3", "qwen2moe", {"architectures": ["Qwen2MoeForCausalLM"], **MOE}),
    "qwen3moe": ("qwen3", "qwen3moe", {"architectures": ["Qwen3MoeForCausalLM"], **MOE}),
    "olmo2": ("smollm2", "olmo2", {"architectures": ["Olmo2ForCausalLM"], "tie_word_embeddings": False}),
    "olmo3": ("smollm2", "olmo2", {
        "architectures": ["Olmo3ForCausalLM"], "tie_word_embeddings": False, "sliding_window": 16,
        "num_hidden_layers": 4, "max_position_embeddings": 8192,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024}}),
    "starcoder2": ("smollm2", "starcoder2", {"architectures": ["Starcoder2ForCausalLM"], "norm_epsilon": 1e-5}),
    "stablelm": ("smollm2", "stablelm", {
        "architectures": ["StableLmForCausalLM"], "partial_rotary_factor": 0.25, "layer_norm_eps": 1e-5,
        "use_parallel_residual": False}),
    "stablelm12b": ("smollm2", "stablelm12b", {
        "architectures": ["StableLmForCausalLM"], "partial_rotary_factor": 0.25, "layer_norm_eps": 1e-5,
        "use_parallel_residual": True}),
    "bloom": ("smollm2", "bloom", {
        "architectures": ["BloomForCausalLM"], "n_layer": 3, "n_head": 4, "layer_norm_epsilon": 1e-5,
        "seq_length": 2048}),
    "neox_sequential": ("pythia-410m", "neox", {
        "architectures": ["GPTNeoXForCausalLM"], "use_parallel_residual": False, "intermediate_size": 1024}),
    "llama_yarn": ("smollm2", "llama", {
        "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False, "max_position_embeddings": 8192,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}),
    "llama_linear": ("smollm2", "llama", {
        "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
}


def build_more(name, folder):
    f = load("families")
    tokenizer, tensors, changes = MORE[name]
    f.FAM[name] = (tokenizer, None, {**f.SHRINK, **changes}, builders(f)[tensors], "BF16")
    f.build(name, str(folder), str(SHARED / "fixtures/tokenizers"))
    return pathlib.Path(folder) / name
