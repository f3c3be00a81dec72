"""llama.cpp's released library as an oracle for logits and token ids, through ctypes.

Parameter structures are passed by value with room to spare; of their fields only a few are set, at
places found by their default values, which this module asserts.
"""
import ctypes as C
import os
import struct
import sys

import numpy as np

from common import ORACLE, need_oracle


class Opaque(C.Structure):
    """Larger than any parameter structure, so passed and returned in memory as those are."""
    _fields_ = [("bytes", C.c_uint8 * 1024)]


class Batch(C.Structure):
    _fields_ = [("n_tokens", C.c_int32), ("token", C.POINTER(C.c_int32)), ("embd", C.POINTER(C.c_float)),
                ("pos", C.POINTER(C.c_int32)), ("n_seq_id", C.POINTER(C.c_int32)),
                ("seq_id", C.POINTER(C.POINTER(C.c_int32))), ("logits", C.POINTER(C.c_int8))]


def restart_with_library_path():
    """The libraries find each other through the loader's path, which is read at start."""
    need_oracle()
    if str(ORACLE) not in os.environ.get("LD_LIBRARY_PATH", ""):
        os.environ["LD_LIBRARY_PATH"] = str(ORACLE)
        os.execv(sys.executable, [sys.executable] + sys.argv)


# bool(tensor, ask, user_data): whether a tensor is wanted, then the tensor once it is computed.
Watch = C.CFUNCTYPE(C.c_bool, C.c_void_p, C.c_bool, C.c_void_p)


def set_context_fields(params, context, watch=None):
    """Context and batch sizes; no flash attention; keys and values kept in F32; who sees tensors."""
    raw = bytes(params.bytes)
    struct.pack_into("<III", params.bytes, 0, context, context, context)
    unset = struct.pack("<iiii", -1, -1, -1, -1)  # rope scaling, pooling, attention, flash attention
    assert raw.count(unset) == 1, "another layout of llama_context_params"
    struct.pack_into("<i", params.bytes, raw.index(unset) + 12, 0)
    caches = [at for at in range(32, 256, 4)
              if raw[at - 16:at + 8] == bytes(16) + struct.pack("<ii", 1, 1)]  # after two null pointers
    assert len(caches) == 1, "another layout of llama_context_params"
    struct.pack_into("<ii", params.bytes, caches[0], 0, 0)
    if watch: struct.pack_into("<Q", params.bytes, caches[0] - 16, C.cast(watch, C.c_void_p).value)


class Oracle:
    def __init__(self):
        load = lambda pattern: C.CDLL(str(sorted(ORACLE.glob(pattern))[0]), mode=C.RTLD_GLOBAL)
        self.base = load("libggml-base.so")
        ggml = load("libggml.v*.so")
        self.lib = lib = load("libllama.v*.so")
        self.quiet = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)(lambda *_: None)
        lib.llama_log_set(self.quiet, None)
        ggml.ggml_backend_load_all_from_path(str(ORACLE).encode())
        lib.llama_backend_init()
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(lib, name).restype = Opaque
        for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab"):
            getattr(lib, name).restype = C.c_void_p
        lib.llama_model_load_from_file.argtypes = [C.c_char_p, Opaque]
        lib.llama_init_from_model.argtypes = [C.c_void_p, Opaque]
        lib.llama_model_get_vocab.argtypes = lib.llama_vocab_n_tokens.argtypes = [C.c_void_p]
        lib.llama_model_free.argtypes = lib.llama_free.argtypes = [C.c_void_p]
        lib.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32,
                                       C.c_bool, C.c_bool]
        lib.llama_batch_init.restype = Batch
        lib.llama_batch_init.argtypes = [C.c_int32] * 3
        lib.llama_batch_free.argtypes = [Batch]
        lib.llama_vocab_is_eog.argtypes = [C.c_void_p, C.c_int32]
        lib.llama_vocab_is_eog.restype = C.c_bool
        lib.llama_decode.argtypes = [C.c_void_p, Batch]
        lib.llama_set_n_threads.argtypes = [C.c_void_p, C.c_int32, C.c_int32]
        lib.llama_get_logits.restype = C.POINTER(C.c_float)
        lib.llama_get_logits.argtypes = [C.c_void_p]

    def open(self, path):
        model = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        assert model, f"llama.cpp does not load {path}"
        return model

    def close(self, model):
        self.lib.llama_model_free(model)

    def vocabulary(self, model):
        return self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(model))

    def tokenize(self, model, text, add_special=True):
        vocab = self.lib.llama_model_get_vocab(model)
        ids = (C.c_int32 * (len(text) + 16))()
        count = self.lib.llama_tokenize(vocab, text, len(text), ids, len(ids), add_special, False)
        assert count >= 0
        return list(ids[:count])

    def context(self, model, positions, watch=None):
        params = self.lib.llama_context_default_params()
        set_context_fields(params, positions, watch)
        context = self.lib.llama_init_from_model(model, params)
        assert context, "no context"
        self.lib.llama_set_n_threads(context, 1, 1)  # more would spin against each other on small models
        return context

    def decode(self, model, context, ids, position=0):
        """[len(ids), vocabulary] after each of the tokens, the first of which is at `position`."""
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position + i, 1, 1
            batch.seq_id[i][0] = 0
        assert self.lib.llama_decode(context, batch) == 0
        self.lib.llama_batch_free(batch)
        shape = (len(ids), self.vocabulary(model))
        return np.ctypeslib.as_array(self.lib.llama_get_logits(context), shape).copy()

    def logits(self, model, ids, watch=None):
        """[len(ids), vocabulary] after each token; `watch` sees the tensors on the way."""
        context = self.context(model, len(ids), watch)
        result = self.decode(model, context, ids)
        self.lib.llama_free(context)
        return result

    def steps(self, model, prompt, tokens):
        """The last token's logits after the prompt, then after each of `tokens`, decoded one by one with
        llama.cpp's own key-value cache."""
        context = self.context(model, len(prompt) + len(tokens))
        yield self.decode(model, context, prompt)[-1]
        for i, token in enumerate(tokens):
            yield self.decode(model, context, [token], len(prompt) + i)[0]
        self.lib.llama_free(context)

    def ends(self, model, token):
        return bool(self.lib.llama_vocab_is_eog(self.lib.llama_model_get_vocab(model), token))
