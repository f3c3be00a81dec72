"""One small Llama in every layout that PyTorch programs write: the same tensors from each.

Makes it with Debian's python3-torch as Hugging Face safetensors, pytorch_model.bin (zip, the format
before 1.6, sharded), Meta's consolidated.NN.pth (1 and 2 parts, embeddings split either way) and
litgpt's lit_model.pth (q, k and v concatenated, and grouped as before 0.5), converts all of them
with quern and compares tensors bit for bit and metadata where the source has it.

    torch_layouts.py [FOLDER]   FOLDER keeps what was made (testdata/layouts comes from there)
"""
import importlib.util
import json
import pathlib
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common

VOCAB, DIM, HEADS, KV_HEADS, LAYERS, HIDDEN = 272, 16, 4, 2, 2, 24
HEAD = DIM // HEADS
# What only some layouts say. Meta's and litgpt's configs have no token ids and no add_eos_token; a
# tokenizer.model has an unknown token.
OPTIONAL_KEYS = {
    "llama.context_length", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.unknown_token_id"}


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def piece(text, score, kind):
    body = field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind)
    return field(1, body)


def sentencepiece_model():
    """A BPE vocabulary of bytes and a few pieces (fields of sentencepiece_model.proto)."""
    out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    out += b"".join(piece(f"<0x{i:02X}>", 0, 6) for i in range(256))
    words = ["\u2581", "t", "h", "e", "a", "\u2581t", "he", "\u2581the", "o", "n", "on", "i", "s"]
    out += b"".join(piece(word, -float(i), 1) for i, word in enumerate(words))
    trainer = b"\x18\x02" + b"\x20" + varint(VOCAB)  # model_type BPE, vocab_size
    return out + field(2, trainer)


def weights(torch):
    """Under Meta's names, q and k with interleaved pairs."""
    generator = torch.Generator().manual_seed(3)

    def tensor(*shape):
        return (torch.randn(*shape, generator=generator) * 0.05).to(torch.bfloat16)

    state = {"tok_embeddings.weight": tensor(VOCAB, DIM)}
    for i in range(LAYERS):
        at = f"layers.{i}."
        state[at + "attention.wq.weight"] = tensor(HEADS * HEAD, DIM)
        state[at + "attention.wk.weight"] = tensor(KV_HEADS * HEAD, DIM)
        state[at + "attention.wv.weight"] = tensor(KV_HEADS * HEAD, DIM)
        state[at + "attention.wo.weight"] = tensor(DIM, HEADS * HEAD)
        state[at + "feed_forward.w1.weight"] = tensor(HIDDEN, DIM)
        state[at + "feed_forward.w2.weight"] = tensor(DIM, HIDDEN)
        state[at + "feed_forward.w3.weight"] = tensor(HIDDEN, DIM)
        state[at + "attention_norm.weight"] = tensor(DIM)
        state[at + "ffn_norm.weight"] = tensor(DIM)
    state["norm.weight"] = tensor(DIM)
    state["output.weight"] = tensor(VOCAB, DIM)
    return state


def halves(weight, heads):
    """Interleaved pairs to two halves per head, as Hugging Face's conversion does it."""
    return weight.view(heads, HEAD // 2, 2, DIM).transpose(1, 2).reshape(heads * HEAD, DIM)


def renamed(state, names):
    out = {}
    for name, value in state.items():
        if name.endswith("wq.weight"):
            value = halves(value, HEADS).contiguous()
        elif name.endswith("wk.weight"):
            value = halves(value, KV_HEADS).contiguous()
        for old, new in names:
            name = name.replace(old, new)
        out[name] = value
    return out


def huggingface_state(state):
    return renamed(state, [
        ("tok_embeddings", "model.embed_tokens"), ("layers.", "model.layers."),
        ("attention_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
        ("attention.wq", "self_attn.q_proj"), ("attention.wk", "self_attn.k_proj"),
        ("attention.wv", "self_attn.v_proj"), ("attention.wo", "self_attn.o_proj"),
        ("feed_forward.w1", "mlp.gate_proj"), ("feed_forward.w2", "mlp.down_proj"),
        ("feed_forward.w3", "mlp.up_proj"), ("output.", "lm_head.")])


def litgpt_state(torch, state, grouped):
    out = renamed(state, [
        ("tok_embeddings", "transformer.wte"), ("layers.", "transformer.h."),
        ("attention_norm", "norm_1"), ("ffn_norm", "norm_2"), ("attention.wo", "attn.proj"),
        ("feed_forward.w1", "mlp.fc_1"), ("feed_forward.w2", "mlp.proj"),
        ("feed_forward.w3", "mlp.fc_2"), ("output.", "lm_head.")])
    out["transformer.ln_f.weight"] = out.pop("norm.weight")
    for i in range(LAYERS):
        at = f"transformer.h.{i}."
        q, k, v = (out.pop(at + f"attention.w{x}.weight") for x in "qkv")
        if grouped:
            parts = []
            for g in range(KV_HEADS):
                rows = HEADS // KV_HEADS * HEAD
                parts += [q[g * rows:(g + 1) * rows], k[g * HEAD:(g + 1) * HEAD],
                          v[g * HEAD:(g + 1) * HEAD]]
            out[at + "attn.attn.weight"] = torch.cat(parts)
        else:
            out[at + "attn.qkv.weight"] = torch.cat([q, k, v])
    return out


def meta_part(state, part, vocabulary_rows):
    """Part `part` of two, as fairscale splits the layers."""
    out = {}
    for name, value in state.items():
        kind = name.split(".")[-2]
        if value.dim() == 1:
            out[name] = value
        elif kind in ("wo", "w2") or (kind == "tok_embeddings" and not vocabulary_rows):
            out[name] = value.chunk(2, 1)[part].contiguous()
        else:
            out[name] = value.chunk(2, 0)[part].contiguous()
    return out


def write_safetensors(path, state, torch):
    header, data = {}, b""
    for name in sorted(state):
        raw = state[name].contiguous().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(state[name].shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


HF_CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": DIM,
    "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 4096, "vocab_size": VOCAB, "torch_dtype": "bfloat16",
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
TOKENIZER_CONFIG = {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>",
                    "eos_token": "</s>", "unk_token": "<unk>"}
PARAMS = {"dim": DIM, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KV_HEADS,
          "multiple_of": 8, "norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": -1}
LITGPT = f"""attn_bias: false
bias: false
block_size: 4096
head_size: {HEAD}
hf_config:
  name: small-llama
  org: quern
intermediate_size: {HIDDEN}
lm_head_bias: false
mlp_class_name: LLaMAMLP
n_embd: {DIM}
n_head: {HEADS}
n_layer: {LAYERS}
n_query_groups: {KV_HEADS}
name: small-llama
norm_class_name: RMSNorm
norm_eps: 1.0e-05
padded_vocab_size: {VOCAB}
parallel_residual: false
rope_adjustments: null
rope_base: 10000
rope_condense_ratio: 1
rotary_percentage: 1.0
shared_attention_norm: false
vocab_size: {VOCAB}
"""


def make(torch, root):
    """All layouts, each in a folder that is called small-llama: general.name comes from there."""
    state = weights(torch)
    huggingface = huggingface_state(state)
    huggingface["model.norm.weight"] = huggingface.pop("norm.weight")
    folders = {}

    def folder(layout, configs):
        path = root / layout / "small-llama"
        path.mkdir(parents=True, exist_ok=True)
        for name, content in configs.items():
            (path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        (path / "tokenizer.model").write_bytes(sentencepiece_model())
        folders[layout] = path
        return path

    hf = {"config.json": HF_CONFIG, "tokenizer_config.json": TOKENIZER_CONFIG}
    write_safetensors(folder("hf_safetensors", hf) / "model.safetensors", huggingface, torch)
    torch.save(huggingface, folder("hf_zip", hf) / "pytorch_model.bin")
    torch.save(huggingface, folder("hf_legacy", hf) / "pytorch_model.bin",
               _use_new_zipfile_serialization=False)
    sharded = folder("hf_sharded", hf)
    index = {}
    for part, names in enumerate([sorted(huggingface)[:9], sorted(huggingface)[9:]], 1):
        name = f"pytorch_model-0000{part}-of-00002.bin"
        torch.save({key: huggingface[key] for key in names}, sharded / name)
        index.update({key: name for key in names})
    (sharded / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index}))

    meta = {"params.json": PARAMS}
    frequencies = {"rope.freqs": torch.ones(HEAD // 2, dtype=torch.bfloat16)}
    torch.save(state | frequencies, folder("meta", meta) / "consolidated.00.pth")
    for layout, vocabulary_rows in (("meta_2_parts", False), ("meta_2_parts_by_rows", True)):
        path = folder(layout, meta)
        for part in range(2):
            torch.save(meta_part(state, part, vocabulary_rows) | frequencies,
                       path / f"consolidated.0{part}.pth")

    lit = {"model_config.yaml": LITGPT, "generation_config.json":
           {"bos_token_id": 1, "eos_token_id": 2}, "tokenizer_config.json": TOKENIZER_CONFIG}
    torch.save(litgpt_state(torch, state, False), folder("litgpt", lit) / "lit_model.pth")
    torch.save({"model": litgpt_state(torch, state, True)},
               folder("litgpt_grouped", lit) / "lit_model.pth")
    return folders


def converted(folder, out, kind):
    path = out / f"{folder.parent.name}-{kind}.gguf"
    common.quern("convert", folder, "-t", kind, "-o", path, "-q", "--force")
    summary = json.loads(common.quern("inspect", path, "--tensors", "--hash", "--json", "--full"))
    tensors = {t["name"]: {key: t[key] for key in ("type", "shape", "sha256")}
               for t in summary["tensors"]}
    keys = {m["key"]: (m["type"], json.dumps(m["value"])) for m in summary["metadata"]}
    return tensors, keys


def main():
    if importlib.util.find_spec("torch") is None:
        common.skip("no torch for " + sys.executable + "; apt-get install python3-torch")
    import torch

    report = common.Report()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        folders = make(torch, root)
        for kind in ("auto", "Q8_0"):
            results = {layout: converted(path, pathlib.Path(temporary), kind)
                       for layout, path in folders.items()}
            tensors, keys = results["hf_safetensors"]
            for layout, (other_tensors, other_keys) in results.items():
                report.check(f"{layout} {kind}: tensors", tensors == other_tensors, [
                    name for name in tensors.keys() | other_tensors.keys()
                    if tensors.get(name) != other_tensors.get(name)])
                differing = {key for key in keys.keys() | other_keys.keys()
                             if keys.get(key) != other_keys.get(key)}
                unsaid = {key for key in differing & OPTIONAL_KEYS
                          if key not in keys or key not in other_keys}
                report.check(f"{layout} {kind}: metadata", not differing - unsaid,
                             [(key, keys.get(key), other_keys.get(key))
                              for key in sorted(differing - unsaid)])
    report.end()


main()
