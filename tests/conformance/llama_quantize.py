"""llama.cpp's quantizer called as a library: llama_model_quantize of v0.5.0, with every parameter that llama-quantize sets."""
import ctypes as C, glob, os, struct, sys

from recipe_models import FILE_TYPES

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13,
         "Q6_K": 14, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23,
         "I32": 26, "IQ1_M": 29, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39, "Q1_0": 41, "Q2_0": 42}


class ImatrixEntry(C.Structure):
    _fields_ = [("name", C.c_char_p), ("data", C.POINTER(C.c_float)), ("size", C.c_size_t)]


class TypeOverride(C.Structure):
    _fields_ = [("pattern", C.c_char_p), ("type", C.c_int)]


class KeyValue(C.Union):
    _fields_ = [("int", C.c_int64), ("float", C.c_double), ("bool", C.c_bool), ("str", C.c_char * 128)]


class KeyOverride(C.Structure):
    _fields_ = [("tag", C.c_int32), ("key", C.c_char * 128), ("value", KeyValue)]


class Params(C.Structure):  # llama_model_quantize_params of v0.5.0; trailing room for later fields
    _fields_ = [("nthread", C.c_int32), ("ftype", C.c_int), ("output_tensor_type", C.c_int), ("token_embedding_type", C.c_int),
                ("allow_requantize", C.c_bool), ("quantize_output_tensor", C.c_bool), ("only_copy", C.c_bool), ("pure", C.c_bool),
                ("keep_split", C.c_bool), ("dry_run", C.c_bool), ("imatrix", C.c_void_p), ("kv_overrides", C.c_void_p),
                ("tt_overrides", C.c_void_p), ("prune_layers", C.c_void_p), ("later", C.c_uint8 * 64)]


KEY_TAGS = ["int", "float", "bool", "str"]
KEY_VALUES = {"int": int, "float": float, "bool": lambda text: text == "true", "str": lambda text: text.encode()[:127]}


def find_libraries(folder):
    """The libraries find each other through the loader's path: starts the script again with it."""
    folder = str(folder)
    if folder not in os.environ.get("LD_LIBRARY_PATH", ""):
        os.environ["LD_LIBRARY_PATH"] = folder; os.execv(sys.executable, [sys.executable, os.path.abspath(sys.argv[0])] + sys.argv[1:])


class Oracle:
    """llama.cpp's library, loaded once."""

    def __init__(self, folder):
        folder = str(folder)
        load = lambda pattern: C.CDLL(sorted(glob.glob(os.path.join(folder, pattern)))[0], mode=C.RTLD_GLOBAL)
        load("libggml-base.so"); ggml = load("libggml.v*.so"); self.llama = load("libllama.v*.so")
        self.llama.llama_model_quantize_default_params.restype = Params
        self.llama.llama_model_quantize.argtypes = [C.c_char_p, C.c_char_p, C.POINTER(Params)]
        self.log = []
        self.callback = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)(lambda level, text, user: self.log.append(text.decode("utf8", "replace")))
        self.llama.llama_log_set(self.callback, None)
        ggml.ggml_backend_load_all_from_path.argtypes = [C.c_char_p]
        ggml.ggml_backend_load_all_from_path(folder.encode()); self.llama.llama_backend_init()

    def quantize(self, source, target, file_type, imatrix=None, options={}, threads=1):
        """The error message, or None. `imatrix`: values by tensor name, any buffer of floats. `options`: pure, allow_requantize,
        leave_output_tensor, output_tensor_type, token_embedding_type, tensor_types [[pattern, type]], override_kv ["KEY=TYPE:VALUE"],
        prune_layers [number]."""
        params = self.llama.llama_model_quantize_default_params(); params.nthread = threads; params.ftype = FILE_TYPES[file_type]
        params.only_copy = file_type == "COPY"; keep = []
        params.pure = options.get("pure", False); params.allow_requantize = options.get("allow_requantize", False)
        params.quantize_output_tensor = not options.get("leave_output_tensor", False)
        for key in ("output_tensor_type", "token_embedding_type"):
            if key in options: setattr(params, key, TYPES[options[key]])

        def table(kind, items, fill):  # ends with an entry of zeros
            slots = (kind * (len(items) + 1))(); keep.append(slots)
            for slot, item in zip(slots, items): fill(slot, item)
            return C.cast(slots, C.c_void_p)

        def entry(slot, item):
            values = (C.c_float * len(item[1]))(*item[1]); keep.append(values)
            slot.name, slot.data, slot.size = item[0].encode(), C.cast(values, C.POINTER(C.c_float)), len(values)

        def tensor_type(slot, item): slot.pattern, slot.type = item[0].encode(), TYPES[item[1]]

        def key_value(slot, text):
            key, _, rest = text.partition("="); kind, _, value = rest.partition(":")
            slot.tag, slot.key = KEY_TAGS.index(kind), key.encode(); setattr(slot.value, kind, KEY_VALUES[kind](value))

        if imatrix is not None: params.imatrix = table(ImatrixEntry, list(imatrix.items()), entry)
        if "tensor_types" in options: params.tt_overrides = table(TypeOverride, options["tensor_types"], tensor_type)
        if "override_kv" in options: params.kv_overrides = table(KeyOverride, options["override_kv"], key_value)
        if "prune_layers" in options:
            numbers = (C.c_int32 * (len(options["prune_layers"]) + 1))(*options["prune_layers"], -1); keep.append(numbers)
            params.prune_layers = C.cast(numbers, C.c_void_p)
        self.log.clear()
        return "".join(self.log)[-400:] if self.llama.llama_model_quantize(str(source).encode(), str(target).encode(), C.byref(params)) else None

    def quantize_apart(self, *how, **options):
        """The same in a process of its own, which llama.cpp may abort."""
        read, write = os.pipe(); child = os.fork()
        if child == 0:
            error = self.quantize(*how, **options); os.write(write, (error or "").encode()[:4000]); os._exit(1 if error else 0)
        os.close(write)
        with os.fdopen(read) as pipe: text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return None if status == 0 else text or f"ended with {status}"


def read_legacy_imatrix(path):
    """Values by tensor name, as llama-quantize takes them from a .dat."""
    with open(path, "rb") as file: data = file.read()
    (count,), at, entries = struct.unpack_from("<i", data), 4, {}
    for _ in range(count):
        (length,) = struct.unpack_from("<i", data, at); name = data[at + 4:at + 4 + length].decode(); at += 4 + length
        calls, values = struct.unpack_from("<ii", data, at); at += 8
        entries[name] = [value / calls if calls > 0 else value for value in struct.unpack_from(f"<{values}f", data, at)]; at += 4 * values
    return entries
