"""Token ids: quern tokenize against llama.cpp's own tokenizer and against Hugging Face's, on all of
WikiText-2's test set and on texts made to be hard.

    tokenizer_ids.py [real|pre [NAME...]]      default: both, all of them

real: every tokenizer in shared/fixtures/tokenizers that convert supports.
pre:  every value of tokenizer.ggml.pre that pre_rules.cc lists, with the vocabulary of GPT-2 (or, for
      those that do not write bytes as characters, of Llama 2).
"""
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from common import ORACLE, SHARED, SOURCE, Report, load, need_oracle, need_shared, quern
from llama_vocab import Vocabulary

need_shared()
need_oracle()
TOKENIZERS = SHARED / "fixtures/tokenizers"
WIKI = SHARED / "fixtures/text/wiki.test.raw"
MODULES = ORACLE.parents[3]

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 1,
          "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
          "max_position_embeddings": 2048, "rope_theta": 10000.0, "torch_dtype": "float32"}
# What llama.cpp and Hugging Face do not do alike; quern does as llama.cpp, since it tokenizes by GGUF.
NFC = {"stress": "Hugging Face normalizes to NFC, which GGUF cannot say"}
PREFIX = {"stress": "after a control token llama.cpp puts a space before the text, Hugging Face does not"}
BY_TEXT = {"stress": "llama.cpp takes the normal token <|endoftext|> for a control token"}
DIGITS = dict.fromkeys(("wiki", "stress"), "the JavaScript library isolates ASCII digits only, the Rust library all")
SCORES = dict.fromkeys(("wiki", "stress"), "the conversion of a tokenizer.json has equal scores for all tokens")
# name: (folder, files taken from it and their names here, vocab_size, texts known to differ)
REAL = {
    "llama2": ("llama-2-7b", ["tokenizer.model", "tokenizer_config.json", "tokenizer.json"], 32000, PREFIX),
    "llama2-json": ("llama-2-7b", ["tokenizer.json", "tokenizer_config.json"], 32000, SCORES),
    "mistral": ("mistral-7b", ["tokenizer.model", "tokenizer_config.json", "tokenizer.json"], 32000, {}),
    "vicuna": ("quant-configs/wizard-vicuna-30b-gptq", ["tokenizer.model", "tokenizer_config.json", "tokenizer.json"],
               32000, SCORES),
    "mistral-v2": ("mistral-7b", ["mistral_instruct_tokenizer_240216.model.v2"], 32000, {}),
    "mistral-v3": ("mistral-7b", ["mistral_instruct_tokenizer_240323.model.v3"], 32768, {}),
    "mistral-v7": ("mistral-7b", ["mistral_instruct_tokenizer_241114.model.v7"], 32768, {}),
    "smollm2": ("smollm2", ["tokenizer.json", "tokenizer_config.json"], 49153, DIGITS),
    "qwen3": ("qwen3", ["vocab.json", "merges.txt", "tokenizer_config.json"], 151936, NFC),
    "pythia": ("pythia-410m", ["tokenizer.json", "tokenizer_config.json"], 50304, NFC),
    "phi2": ("phi-1.5-2", ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"], 51200, {}),
    "gpt2": ("gpt2", ["vocab.json", "merges.txt"], 50257, {}),
    "roberta": ("roberta", ["tokenizer.json", "tokenizer_config.json"], 50265, BY_TEXT),
}
MODEL_TYPES = {"qwen3": "qwen3", "gpt2": "gpt2", "roberta": "roberta", "phi2": "phi", "pythia": "gpt_neox"}

STRESS = [
    "", " ", "  ", "a", " a", "a ", "\n", "\r\n\r\n x\t\ty", " \n \n\n \t \t\t\n  x   y    z     \n   ",
    "don't I'LL we'Ve 'tis DON'T it'S 'RE 're 'D 'd ’s he's'll 'sx 'lL 'x",
    "1 12 123 1234 12345 123456 1234567 3.14 1,234,567.89 \u0661\u0662\u0663\u0664 \u00bd \u2167 x1y22z333w4444",
    "7" * 200 + " " + "123" * 67 + "a", "0" * 1000 + "\u0663" * 7 + "12", "a$1234 b  12345,67  890\n12",
    "caf\u00e9 cafe\u0301 \u212b \ufb01 \uff21\uff22 \u017ft \u0130stanbul \u1e9e '\u017f '\u212a",
    "\u4f60\u597d\u4e16\u754c\u3001\u3053\u3093\u306b\u3061\u306f\u3002\uc548\ub155 apple\u5de5\u4f5c1314\u5929\uff5e!\ufa6e\u9f98",
    "\u3147\u3139 \u3105\u3106 \uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c \u30ab\u30bf\uff76\uff80 \u0e44\u0e17\u0e22 \u1781\u17d2\u1798",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f636\u200d\U0001f32b\ufe0f\U0001f44d\U0001f3fd \U0001fae8",
    "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438 \u041f\u0440\u0438\u0432\u0435\u0442, \u041c\u0418\u0420! \u0456\u0457 \u1c80",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u06d4 \u05e9\u05c1\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940\u0964 \u0e01\u0e33 \u0b95\u0bcd",
    "e\u0301\u0302\u0303x\u0300 \u0301 \u0301\u0301 a\u20dd \u1ab0", "A\u00a0B\u3000C\u2009D\u00a0\u00a0E \u00a0\t\u2028F\u0085G\u200bH\ufeffI",
    "<|endoftext|>x <|endoftext|> <s>a</s> <unk> <pad> <mask> [INST] hi [/INST] <|im_start|>user\nhi<|im_end|> <0x0A>",
    "<|endoftext|", "<s", "\u2581already \u2581marked\u0120too \u010a", " " * 40 + "deep", "\t" * 20 + "deep", "\n" * 20 + "deep",
    "!!!???...,,,;;; ''''``\"\"\"\" ~~~~ ~x $$$ +++ ^^ == <<>> || -- __ @# %& \u00a7\u00b1\u20ac\u2211",
    "http://example.com/?q=a&b=c#d if (x != 0) { return x->y[3]; } // done /*\n\n*/ #include <x>\n/\n",
    "HELLO World camelCase PascalCase SCREAMING_CASE XMLHttpRequest iPhone'S ABCdef'LL \u00c9T\u00c9 \u00e9t\u00e9 \u01c5",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "IMGIMGABCDZ <sentinel:12> IMGIMGZ IMGIMGJZ", "tab\there\vvertical\fform \x01\x02 \x1c\x1d\x7f control", "end of text   ",
    "\u2ffc\u31ef \U0002ebf0 \U00013440 \U0001e4f0 \U00011f04 \u0378 \ue000 \U000e0001",  # new or no characters
]
# None with a first byte of f5 or more that is followed by such bytes as 4-byte forms need: llama.cpp ends.
BROKEN = (b"a\x80b \xc0\x80 \xc3 x \xe2\x82 y \xed\xa0\x80z \xf0\x9f\x98 \xff\xfe \xf8\x88 caf\xe9 \xe2\x28\xa1 "
          b"\xf0\x28\x8c\x28 ok \xc3\xa9\xc3\n\xe4\xbd\xa0\xe4\xbd \xc1\xbf'\xf0\x9f\x98\x80\xf0")


def tokenize(gguf, text, add_special, parse_special, folder):
    path = folder / "text"
    path.write_bytes(text)
    flags = ([] if add_special else ["--no-special"]) + (["--parse-special"] if parse_special else [])
    return json.loads(quern("tokenize", gguf, "-f", path, "--json", *flags))["ids"]


def first_difference(ours, theirs):
    count = sum(a != b for a, b in zip(ours, theirs)) if len(ours) == len(theirs) else "unequal lengths,"
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            return f"{count} differ, at {i} of {len(ours)}/{len(theirs)}: {ours[max(0, i - 3):i + 6]} / {theirs[max(0, i - 3):i + 6]}"
    return f"{len(ours)} / {len(theirs)} ids"


class Comparison:
    def __init__(self, report, name):
        self.report, self.name, self.ids, self.differing = report, name, 0, 0

    def check(self, what, ours, theirs, known=None):
        self.ids += len(theirs)
        equal = ours == theirs
        self.differing += not equal
        if not equal and known:
            print(f"{self.name}: {what}: {known}; {first_difference(ours, theirs)}")
        else:
            self.report.check(f"{self.name}: {what}", equal, "" if equal else first_difference(ours, theirs))

    def end(self):
        print(f"{self.name}: {self.ids} ids compared, {self.differing} texts differ", flush=True)


def hugging_face(folder, texts):
    """Ids without begin and end tokens; none where the package or the file is not there."""
    if (folder / "vocab.json").exists() and not (folder / "tokenizer.json").exists():
        load("families").synth_tokenizer_json(str(folder))
    if not (folder / "tokenizer.json").exists():
        return None
    path = folder / "texts.json"
    path.write_text(json.dumps(texts))
    run = subprocess.run(["node", pathlib.Path(__file__).with_name("hf_tokenizer_ids.mjs"), MODULES, folder, path,
                          "bare"], capture_output=True, text=True)
    return json.loads(run.stdout) if run.returncode == 0 else None


def build(name, folder):
    source, files, size, known = REAL[name]
    folder.mkdir()
    for file in files:
        target = "tokenizer.model" if ".model" in file else file
        if (TOKENIZERS / source / file).exists():
            shutil.copy(TOKENIZERS / source / file, folder / target)
    config = dict(CONFIG, model_type=MODEL_TYPES.get(name, "llama"))
    if size:
        config["vocab_size"] = size
    (folder / "config.json").write_text(json.dumps(config))
    gguf = folder / "vocab.gguf"
    quern("convert", folder, "--vocab-only", "-o", gguf, "-q")
    return gguf, known


def real(report, folder, wiki, names):
    stress = "\n".join(STRESS)
    for name in names or REAL:
        gguf, known = build(name, folder / name)
        comparison = Comparison(report, name)
        llama = Vocabulary(gguf)
        for what, text, flags in (("wiki", wiki, (True, False)), ("stress", stress.encode(), (True, False)),
                                  ("stress, parsed", stress.encode(), (False, True)),
                                  ("broken", BROKEN, (True, False))):
            comparison.check(f"{what} = llama.cpp", tokenize(gguf, text, *flags, folder), llama.encode(text, *flags))
        llama.close()
        for what, text, theirs in zip(("wiki", "stress"), (wiki.decode(), stress),
                                      hugging_face(folder / name, [wiki.decode(), stress]) or []):
            ours = tokenize(gguf, text.encode(), False, True, folder)
            comparison.check(f"{what} = Hugging Face", ours, theirs, known.get(what))
        comparison.end()


def gguf_bytes(pairs):
    """A GGUF without tensors. Values: bytes (a string), int (u32), or lists of bytes or ints (i32)."""
    text = lambda value: struct.pack("<Q", len(value)) + value
    out = [b"GGUF", struct.pack("<IQQ", 3, 0, len(pairs))]
    for key, value in pairs.items():
        out.append(text(key.encode()))
        if isinstance(value, bytes):
            out.append(struct.pack("<I", 8) + text(value))
        elif isinstance(value, int):
            out.append(struct.pack("<II", 4, value))
        elif isinstance(value[0], bytes):
            out.append(struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value)))
        else:
            out.append(struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value))
    return b"".join(out)


def pre_names():
    table = (SOURCE / "converters/tokenizer/pre_rules.cc").read_text()
    rules = re.findall(r"\{\.names =\s*((?:\"[^\"]*\"\s*)+),(.*?)\}", table, re.S)
    for names, rest in rules:
        for name in "".join(re.findall(r"\"([^\"]*)\"", names)).split():
            yield name, "raw_text" in rest


def vocabulary(raw):
    """Tokens and merges: GPT-2's, or Llama 2's with its byte tokens."""
    if raw:
        model = json.loads((TOKENIZERS / "llama-2-7b/tokenizer.json").read_text())["model"]
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        vocab = model["vocab"]
    else:
        vocab = json.loads((TOKENIZERS / "gpt2/vocab.json").read_text())
        merges = (TOKENIZERS / "gpt2/merges.txt").read_text().splitlines()[1:]
    tokens = [t.encode() for t, _ in sorted(vocab.items(), key=lambda item: item[1])]
    special = {b"<|endoftext|>", b"<s>", b"</s>", b"<unk>"}
    types = [3 if t in special else 6 if re.fullmatch(rb"<0x..>", t) else 1 for t in tokens]
    return {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
            "tokenizer.ggml.merges": [m.encode() for m in merges if m], "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2}


def pre(report, folder, wiki, names):
    stress = "\n".join(STRESS).encode()
    vocabularies = {raw: vocabulary(raw) for raw in (False, True)}
    gguf = folder / "pre.gguf"
    for name, raw in pre_names():
        if names and name not in names:
            continue
        gguf.write_bytes(gguf_bytes({"general.architecture": b"llama", "tokenizer.ggml.model": b"gpt2",
                                     "tokenizer.ggml.pre": name.encode(), **vocabularies[raw]}))
        comparison = Comparison(report, "pre " + name)
        try:
            llama = Vocabulary(gguf)
        except ValueError:
            print(f"pre {name}: this release of llama.cpp does not know it")
            continue
        for what, text in (("wiki", wiki[:30000]), ("stress", stress), ("broken", BROKEN)):
            comparison.check(what, tokenize(gguf, text, True, False, folder), llama.encode(text, True, False))
        for i, text in enumerate(STRESS if comparison.differing else []):  # which ones
            comparison.check(f"stress {i} {text[:40]!r}", tokenize(gguf, text.encode(), True, False, folder),
                             llama.encode(text.encode(), True, False))
        llama.close()
        comparison.end()


def main():
    report = Report()
    wiki = WIKI.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for part in sys.argv[1:2] or ["real", "pre"]:
            {"real": real, "pre": pre}[part](report, pathlib.Path(folder), wiki, sys.argv[2:])
    report.end()


main()
