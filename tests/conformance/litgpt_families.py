"""Families that litgpt knows, in its layout: the same tensors as from Hugging Face's folder.

Rewrites golden families (and a Qwen2 made of one of them) as litgpt's convert_hf_checkpoint.py
would: renamed, q, k and v joined in one matrix, sorted (from litgpt 0.5 on) and grouped (before).
Converts both layouts and compares tensors bit for bit and metadata where the source has it.
"""
import json
import pathlib
import re
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common
import torch_files

# What litgpt's folder does not say: ids that stand in config.json only.
OPTIONAL_KEYS = {f"tokenizer.ggml.{what}_token_id" for what in ("bos", "eos", "padding", "unknown")}
STORAGES = {"F16": "HalfStorage", "BF16": "BFloat16Storage", "F32": "FloatStorage"}

LAYERNORM = {"norm_class_name": "LayerNorm", "mlp_class_name": "GptNeoxMLP", "bias": True,
             "parallel_residual": True}
RMSNORM = {"norm_class_name": "RMSNorm", "mlp_class_name": "LLaMAMLP", "bias": False,
           "parallel_residual": False, "rotary_percentage": 1.0}
LLAMA_NAMES = [
    ("model.embed_tokens", "transformer.wte"), ("model.layers", "transformer.h"),
    ("model.norm", "transformer.ln_f"), ("input_layernorm", "norm_1"),
    ("post_attention_layernorm", "norm_2"), ("self_attn.o_proj", "attn.proj"),
    ("self_attn.q_norm", "attn.norm_q"), ("self_attn.k_norm", "attn.norm_k"),
    ("mlp.gate_proj", "mlp.fc_1"), ("mlp.up_proj", "mlp.fc_2"), ("mlp.down_proj", "mlp.proj"),
    ("block_sparse_moe", "mlp"), (".w1.", ".fc_1."), (".w3.", ".fc_2."), (".w2.", ".proj."),
    ("self_attn.", "attn.")]
# family -> (Hugging Face's and litgpt's names, litgpt's config beyond the sizes)
FAMILIES = {
    "pythia": ([("gpt_neox.embed_in", "transformer.wte"), ("gpt_neox.layers", "transformer.h"),
                ("gpt_neox.final_layer_norm", "transformer.ln_f"), ("embed_out", "lm_head"),
                ("input_layernorm", "norm_1"), ("post_attention_layernorm", "norm_2"),
                ("attention.query_key_value", "attn.query_key_value"),
                ("attention.dense", "attn.proj"), ("mlp.dense_h_to_4h", "mlp.fc"),
                ("mlp.dense_4h_to_h", "mlp.proj")],
               LAYERNORM | {"rotary_percentage": 0.25, "gelu_approximate": "none"}),
    "phi2": ([("model.embed_tokens", "transformer.wte"), ("model.layers", "transformer.h"),
              ("model.final_layernorm", "transformer.ln_f"), ("input_layernorm", "norm_1"),
              ("self_attn.dense", "attn.proj"), ("mlp.fc1", "mlp.fc"), ("mlp.fc2", "mlp.proj"),
              ("self_attn.", "attn.")],
             LAYERNORM | {"rotary_percentage": 0.4, "gelu_approximate": "tanh",
                          "shared_attention_norm": True, "lm_head_bias": True}),
    "qwen3": (LLAMA_NAMES, RMSNORM | {"norm_qk": True}),
    "qwen2": (LLAMA_NAMES, RMSNORM | {"attn_bias": True}),
    "mixtral": (LLAMA_NAMES, RMSNORM | {"mlp_class_name": "LLaMAMoE"}),
    "llama31": (LLAMA_NAMES, RMSNORM),
    "smollm2": (LLAMA_NAMES, RMSNORM),
}


class Tensor:
    def __init__(self, dtype, shape, raw):
        self.dtype, self.shape, self.raw = dtype, shape, raw

    def rows(self, begin, end):
        row = len(self.raw) // self.shape[0]
        return self.raw[begin * row:end * row]


def read_folder(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = struct.unpack_from("<Q", data)[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                tensors[name] = Tensor(entry["dtype"], entry["shape"], data[8 + size:][begin:end])
    return tensors


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in sorted(tensors.items()):
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape,
                        "data_offsets": [len(data), len(data) + len(tensor.raw)]}
        data += tensor.raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_pth(path, tensors):
    items, members = {}, []
    for key, (name, tensor) in enumerate(tensors.items()):
        count = 1
        strides = []
        for size in reversed(tensor.shape):
            strides.insert(0, count)
            count *= size
        store = torch_files.storage(STORAGES[tensor.dtype], str(key), count)
        items[name] = torch_files.tensor(store, tensor.shape, strides)
        members.append((f"lit_model/data/{key}", tensor.raw))
    path.write_bytes(torch_files.archive([("lit_model/data.pkl", torch_files.state(items)), *members]))


def make_qwen2(qwen3, folder):
    """Qwen3's weights as a Qwen2: no norms of q and k, but biases."""
    folder.mkdir(parents=True)
    for path in qwen3.iterdir():
        if "safetensors" not in path.name:
            shutil.copy(path, folder)
    config = json.loads((qwen3 / "config.json").read_text())
    config.update(architectures=["Qwen2ForCausalLM"], model_type="qwen2")
    del config["head_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {name: tensor for name, tensor in read_folder(qwen3).items() if "_norm." not in name}
    for name, tensor in list(tensors.items()):
        if re.search(r"[qkv]_proj\.weight$", name):
            rows = tensor.shape[0]
            tensors[name.replace("weight", "bias")] = Tensor(tensor.dtype, [rows], tensor.raw[:2 * rows])
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def joined(parts, head, groups, grouped):
    """q, k and v as one tensor, all of each or group by group."""
    q = parts[0].shape[0] // groups
    step = [q, head, head]
    order = [(p, g) for g in range(groups) for p in range(3)] if grouped else [
        (p, g) for p in range(3) for g in range(groups)]
    raw = b"".join(parts[p].rows(g * step[p], (g + 1) * step[p]) for p, g in order)
    return Tensor(parts[0].dtype, [sum(part.shape[0] for part in parts), *parts[0].shape[1:]], raw)


def split_by_head(tensor, heads, head):
    """GPT-NeoX's q, k, v of each head as three tensors."""
    return [Tensor(tensor.dtype, [heads * head, *tensor.shape[1:]],
                   b"".join(tensor.rows((3 * h + part) * head, (3 * h + part + 1) * head)
                            for h in range(heads))) for part in range(3)]


def as_litgpt(tensors, names, config, grouped):
    heads, groups, head = config["n_head"], config["n_query_groups"], config["head_size"]
    out = {}
    for name, tensor in tensors.items():
        for old, new in names:
            name = name.replace(old, new)
        out[name] = tensor
    out.setdefault("lm_head.weight", out["transformer.wte.weight"])  # litgpt's is never tied
    name = "attn.attn" if grouped else "attn.qkv"
    for i in range(config["n_layer"]):
        at = f"transformer.h.{i}."
        for kind in ("weight", "bias"):
            if f"{at}attn.query_key_value.{kind}" in out:
                parts = split_by_head(out.pop(f"{at}attn.query_key_value.{kind}"), heads, head)
            elif f"{at}attn.q_proj.{kind}" in out:
                parts = [out.pop(f"{at}attn.{x}_proj.{kind}") for x in "qkv"]
            else:
                continue
            out[f"{at}{name}.{kind}"] = joined(parts, head, groups, grouped)
    return out


def litgpt_config(family, hf, extra):
    heads = hf["num_attention_heads"]
    config = {
        "name": family, "hf_config": {"org": "quern", "name": family},
        "block_size": hf["max_position_embeddings"], "n_layer": hf["num_hidden_layers"],
        "n_embd": hf["hidden_size"], "n_head": heads,
        "n_query_groups": heads if family == "pythia" else hf.get("num_key_value_heads", heads),
        "head_size": hf.get("head_dim") or hf["hidden_size"] // heads,
        "intermediate_size": hf["intermediate_size"], "vocab_size": hf["vocab_size"] - 3,
        "padded_vocab_size": hf["vocab_size"], "padding_multiple": 512,
        "norm_eps": hf.get("rms_norm_eps", hf.get("layer_norm_eps")),
        "rope_base": int(hf.get("rope_theta", 10000)), "rope_condense_ratio": 1,
        "rope_adjustments": None, "attn_bias": False, "lm_head_bias": False, "norm_qk": False,
        "norm_qk_type": "default", "shared_attention_norm": False, "scale_embeddings": False,
        "gelu_approximate": "none", "post_attention_norm": False, "post_mlp_norm": False,
        "sliding_window_size": None, "attention_logit_softcapping": None,
        "final_logit_softcapping": None, "n_expert": hf.get("num_local_experts", 0),
        "n_expert_per_token": hf.get("num_experts_per_tok", 0), "moe_intermediate_size": None}
    scaling = hf.get("rope_scaling")
    if scaling:
        config["rope_adjustments"] = {
            "factor": scaling["factor"], "low_freq_factor": scaling["low_freq_factor"],
            "high_freq_factor": scaling["high_freq_factor"],
            "original_max_seq_len": scaling["original_max_position_embeddings"]}
    return config | extra


def yaml(value):
    """As PyYAML writes it: JSON's 1e-05 is a text in YAML 1.1."""
    text = json.dumps(value)
    return re.sub(r"\b(\d)e-", r"\1.0e-", text)


def converted(folder, out):
    common.quern("convert", folder, "-o", out, "-q", "--force")
    summary = json.loads(common.quern("inspect", out, "--tensors", "--hash", "--json", "--full"))
    tensors = {t["name"]: {key: t[key] for key in ("type", "shape", "sha256")}
               for t in summary["tensors"]}
    return tensors, {m["key"]: (m["type"], json.dumps(m["value"])) for m in summary["metadata"]}


def compare(report, what, expected, got):
    report.check(f"{what}: tensors", expected[0] == got[0], [
        (name, expected[0].get(name), got[0].get(name)) for name in expected[0].keys() | got[0].keys()
        if expected[0].get(name) != got[0].get(name)][:5])
    differing = {key for key in expected[1].keys() | got[1].keys()
                 if expected[1].get(key) != got[1].get(key)}
    unsaid = {key for key in differing if (key in OPTIONAL_KEYS and key not in got[1]) or
              (key == "general.size_label" and key not in expected[1])}
    report.check(f"{what}: metadata", not differing - unsaid,
                 [(key, expected[1].get(key), got[1].get(key)) for key in sorted(differing - unsaid)])


def main():
    common.need_shared()
    report = common.Report()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        for family, (names, extra) in FAMILIES.items():
            if family == "qwen2":
                source = make_qwen2(root / "qwen3", root / "qwen2")
            else:
                source = common.build_family(family, root)
            hf = json.loads((source / "config.json").read_text())
            hf.pop("_name_or_path", None)  # names come from the folder then, as in litgpt's layout
            (source / "config.json").write_text(json.dumps(hf))
            config = litgpt_config(family, hf, extra)
            expected = converted(source, root / "hf.gguf")
            if "output.weight" not in expected[0]:
                expected[0]["output.weight"] = expected[0]["token_embd.weight"]
                expected[1].pop("general.size_label", None)  # which counts parameters
            for grouped in (False, True):
                folder = root / "litgpt" / family
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                for path in source.iterdir():
                    if "safetensors" not in path.name and path.name != "config.json":
                        shutil.copy(path, folder)
                (folder / "model_config.yaml").write_text(
                    "".join(f"{key}: {yaml(value)}\n" for key, value in config.items()))
                write_pth(folder / "lit_model.pth",
                          as_litgpt(read_folder(source), names, config, grouped))
                compare(report, f"{family}, {'grouped' if grouped else 'sorted'}", expected,
                        converted(folder, root / "litgpt.gguf"))
    report.end()


main()
