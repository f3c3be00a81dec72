"""llama.cpp's own tokenizer: the vocabulary of a GGUF in the released library, through ctypes."""
import ctypes as C

from common import ORACLE


class Params(C.Structure):
    """llama_model_params of v0.5.0, with trailing room; only vocab_only is of interest."""
    _fields_ = [("before", C.c_ubyte * 72), ("vocab_only", C.c_bool), ("after", C.c_ubyte * 183)]


LOG = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)


def load_library():
    for pattern in ("libggml-base.so", "libggml.v*.so"):
        C.CDLL(str(sorted(ORACLE.glob(pattern))[0]), mode=C.RTLD_GLOBAL)
    llama = C.CDLL(str(sorted(ORACLE.glob("libllama.v*.so"))[0]), mode=C.RTLD_GLOBAL)
    llama.llama_model_default_params.restype = Params
    llama.llama_model_load_from_file.restype = llama.llama_model_get_vocab.restype = C.c_void_p
    llama.llama_model_load_from_file.argtypes = [C.c_char_p, Params]
    for name in ("llama_model_get_vocab", "llama_model_free"):
        getattr(llama, name).argtypes = [C.c_void_p]
    llama.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32,
                                     C.c_bool, C.c_bool]
    llama.llama_detokenize.argtypes = [C.c_void_p, C.POINTER(C.c_int32), C.c_int32, C.c_char_p, C.c_int32,
                                       C.c_bool, C.c_bool]
    silent = LOG(lambda level, text, data: None)
    llama.silent = silent  # it must outlive the library's use of it
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    return llama


class Vocabulary:
    llama = None

    def __init__(self, path):
        Vocabulary.llama = Vocabulary.llama or load_library()
        params = self.llama.llama_model_default_params()
        params.vocab_only = True
        self.model = self.llama.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise ValueError("llama.cpp does not load " + str(path))
        self.vocab = self.llama.llama_model_get_vocab(self.model)

    def close(self):
        self.llama.llama_model_free(self.model)

    def encode(self, text, add_special, parse_special):
        ids = (C.c_int32 * (2 * len(text) + 16))()
        count = self.llama.llama_tokenize(self.vocab, text, len(text), ids, len(ids), add_special, parse_special)
        if count < 0:
            raise ValueError("llama_tokenize: " + str(count))
        return list(ids[:count])

    def decode(self, ids):
        out = C.create_string_buffer(64 * len(ids) + 64)
        count = self.llama.llama_detokenize(self.vocab, (C.c_int32 * len(ids))(*ids), len(ids), out, len(out),
                                            False, True)
        return out.raw[:count]
