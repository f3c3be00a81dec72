#include "formats/torch/pickle_machine.h"

#include <gtest/gtest.h>

#include "tests/formats/torch/torch_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::torch {
namespace {

using testing::ErrorOf;
using testing::Le;
namespace p = testing::pickle;

struct Unpickled {
  Heap heap{"file", uint64_t{64} << 20};
  Value value;
};

// Runs a pickle that may be followed by other bytes.
std::unique_ptr<Unpickled> Unpickle(const std::string& bytes, bool allow_opaque = false) {
  auto ran = std::make_unique<Unpickled>();
  PickleInput input(
      [&](uint64_t offset, std::span<uint8_t> out) {
        std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
      },
      bytes.size(), {"file", 0, "data.pkl"});
  ran->value = Machine(input, ran->heap, {.allow_opaque = allow_opaque}).Run();
  return ran;
}

// A readable form of what a pickle built.
std::string Show(const Heap& heap, Value value) {
  const auto items = [&](std::string_view open, std::string_view close) {
    std::string text(open);
    for (const Value item : heap.Items(value)) text += Show(heap, item) + " ";
    return text + std::string(close);
  };
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.bits ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.Int());
    case Kind::kFloat:
      return std::to_string(value.Float());
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kBigInt:
      return "'" + std::string(heap.Text(value)) + "'";
    case Kind::kList:
      return items("[", "]");
    case Kind::kTuple:
      return items("(", ")");
    case Kind::kDict:
      return items("{", "}");
    case Kind::kSet:
      return items("<", ">");
    default:
      return std::string(KindName(value.kind));
  }
}

std::string Shown(const std::string& bytes) {
  const auto ran = Unpickle(bytes);
  return Show(ran->heap, ran->value);
}

struct OpcodeCase {
  std::string_view name;
  std::string bytes;  // a whole pickle
  std::string shown;
};

std::string Z(const char* text, size_t size) { return std::string(text, size); }

// At least one pickle per opcode of protocols 0 to 5 that builds something.
std::vector<OpcodeCase> Cases() {
  return {
      {"NONE", "N.", "None"},
      {"bools", "(\x88\x89I01\nI00\nt.", "(True False True False )"},
      {"BININT", "(J\xff\xff\xff\xffK\xffM\xff\xfft.", "(-1 255 65535 )"},
      {"INT", "(I-7\nL8L\nL-9\nt.", "(-7 8 -9 )"},
      {"LONG1", Z("(\x8a\x00\x8a\x01\xff\x8a\x02\xff\x00t.", 12), "(0 -1 255 )"},
      {"LONG1 long",
       "\x8a\x0a"
       "abcdefghij.",
       "'abcdefghij'"},
      {"LONG long", "L119547037146038801333356L\n.", "'\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19'"},
      {"LONG4", Z("\x8b\x01\x00\x00\x00\x05.", 7), "5"},
      {"FLOAT", "(F1.5\nFinf\nt.", "(1.500000 inf )"},
      {"BINFLOAT", Z("G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 10), "1.500000"},
      {"STRING", "(S'a\\'\\x41\\n'\nS\"b\"\nt.", "('a'A\n' 'b' )"},
      {"UNICODE", "Va\\u00e9\xe9\n.", "'a\xc3\xa9\xc3\xa9'"},
      {"BINSTRING",
       Z("(T\x02\x00\x00\x00"
         "abU\x01"
         "ct.",
         13),
       "('ab' 'c' )"},
      {"BINUNICODE", "(" + p::Str("x") + "\x8c\x01y\x8d" + Le(1, 8) + "zt.", "('x' 'y' 'z' )"},
      {"BINBYTES", "(B" + Le(1, 4) + "\xff" + "C\x01y\x8e" + Le(1, 8) + "z\x96" + Le(1, 8) + "wt.",
       "('\xff' 'y' 'z' 'w' )"},
      {"EMPTY", "(}])\x8ft.", "({} [] () <> )"},
      {"TUPLE123", "K\x01K\x02K\x03\x87\x85K\x04\x86.", "(((1 2 3 ) ) 4 )"},
      {"DICT LIST FROZENSET",
       "((K\x01K\x02"
       "d(K\x03l(K\x04\x91t.",
       "({1 2 } [3 ] <4 > )"},
      {"APPEND",
       "]K\x01"
       "a(K\x02K\x03"
       "e.",
       "[1 2 3 ]"},
      {"ADDITEMS", "\x8f(K\x01K\x02\x90.", "<1 2 >"},
      {"SETITEM", "}K\x01K\x02s(K\x03K\x04u.", "{1 2 3 4 }"},
      {"POP DUP",
       "K\x01K\x02"
       "02\x86.",
       "(1 1 )"},
      {"POP of a mark, POP_MARK",
       "K\x01(0(K\x02K\x03"
       "1.",
       "1"},
      {"PUT GET",
       "K\x05p0\n0K\x06q\x01"
       "0K\x07r\x02" +
           std::string(3, '\0') + "0(g0\nh\x01j\x02" + std::string(3, '\0') + "t.",
       "(5 6 7 )"},
      {"MEMOIZE after PUT",
       "K\x05q\x01"
       "0K\x06\x94"
       "0(h\x01t.",
       "(6 )"},
      {"PROTO FRAME", "\x80\x05\x95" + Le(2, 8) + "N.", "None"},
      {"GLOBAL", "ctorch\nfloat32\n.", "a class or function"},
      {"STACK_GLOBAL", "\x8c\x05torch\x8c\x04Size\x93)\x85R.", "()"},
      {"OrderedDict",
       p::Call(p::Global("collections", "OrderedDict"), {p::List({p::Tuple({"K\x01", "K\x02"})})}) +
           ".",
       "{1 2 }"},
      {"defaultdict",
       p::Call(p::Global("collections", "defaultdict"), {p::Global("__builtin__", "int")}) +
           "K\x01K\x02s.",
       "{1 2 }"},
      {"set", p::Call(p::Global("__builtin__", "set"), {p::List({"K\x01"})}) + ".", "<1 >"},
      {"Size", p::Call(p::Global("torch", "Size"), {p::Ints({2, 3})}) + ".", "(2 3 )"},
      {"NEWOBJ", p::Global("collections", "OrderedDict") + ")\x81}b.", "{}"},
      {"NEWOBJ_EX", p::Global("collections", "OrderedDict") + ")}\x92.", "{}"},
      {"OBJ", "(" + p::Global("collections", "OrderedDict") + "o.", "{}"},
      {"INST", "(icollections\nOrderedDict\n.", "{}"},
      {"reconstructor",
       p::Call(p::Global("copy_reg", "_reconstructor"),
               {p::Global("collections", "OrderedDict"), p::Global("__builtin__", "object"), "N"}) +
           ".",
       "{}"},
      {"numpy scalar",
       p::Call(p::Global("numpy.core.multiarray", "scalar"),
               {p::Call(p::Global("numpy", "dtype"), {p::Str("f8")}) + "}b",
                p::Call(p::Global("_codecs", "encode"), {p::Str("x"), p::Str("latin1")})}) +
           ".",
       "other data"},
      {"a module", p::Global("torch.nn.modules.linear", "Linear") + ")\x81}b.", "an object"},
      {"BINPERSID", p::Storage("FloatStorage", "0", 3) + ".", "a storage"},
      {"a tensor", p::Tensor(p::Storage("FloatStorage", "0", 3), 1, {2}, {1}) + ".", "a tensor"},
  };
}

TEST(PickleMachine, BuildsWhatEachOpcodeSays) {
  for (const auto& [name, bytes, shown] : Cases()) {
    SCOPED_TRACE(name);
    EXPECT_EQ(Shown(bytes), shown);
  }
}

TEST(PickleMachine, RefusesEveryOpcodeCutShort) {
  for (const auto& [name, bytes, shown] : Cases()) {
    SCOPED_TRACE(name);
    for (size_t length = 0; length < bytes.size(); ++length) {
      const Error error = ErrorOf([&] { Unpickle(bytes.substr(0, length)); });
      // A frame is checked as soon as it is declared; text for its form when its line ends.
      EXPECT_EQ(error.code(), ErrorCode::kTruncated) << length << ' ' << error.what();
    }
  }
}

TEST(PickleMachine, EveryByteThatIsNoOpcodeIsRefused) {
  std::string known =
      "\x80\x95N\x88\x89JKMIL\x8a\x8b"
      "FGSVTUX\x8c\x8d"
      "BC\x8e\x96}])\x8f\x85\x86"
      "\x87"
      "dlt\x91"
      "ae\x90su(.012pqr\x94ghjc\x93PQRio\x81\x92"
      "b\x82\x83\x84"
      "\x97\x98";
  EXPECT_EQ(known.size(), 68u);
  for (int byte = 0; byte < 256; ++byte) {
    if (known.find(static_cast<char>(byte)) != std::string::npos) continue;
    EXPECT_QUERN_ERROR(Unpickle(std::string(1, static_cast<char>(byte)) + "N."),
                       ErrorCode::kBadText);
  }
}

TEST(PickleMachine, EveryOpcodeOnAnEmptyStackIsRefusedOrHarmless) {
  for (const std::string opcode : {"0", "2", "\x85", "\x86", "\x87", "a", "s", "p0\n", "q\x01",
                                   "\x94", "\x93", "Q", "R", "\x81", "\x92", "b", "."}) {
    SCOPED_TRACE(opcode);
    EXPECT_QUERN_ERROR(Unpickle(opcode + "N."), ErrorCode::kBadValue);
  }
  for (const std::string opcode : {"1", "d", "l", "t", "\x91", "e", "\x90", "u", "o"}) {
    EXPECT_QUERN_ERROR(Unpickle("N" + opcode + "."), ErrorCode::kBadValue);  // no mark
  }
  EXPECT_QUERN_ERROR(Unpickle("(o."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("K\x01(0K\x01)("), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(Unpickle("N(."), ErrorCode::kBadValue);    // a mark is left
  EXPECT_QUERN_ERROR(Unpickle("NN."), ErrorCode::kBadValue);    // a value is left
  EXPECT_QUERN_ERROR(Unpickle("N(2t."), ErrorCode::kBadValue);  // reaching below the mark
}

TEST(PickleMachine, RefusesOddCountsAndWrongTargets) {
  EXPECT_QUERN_ERROR(Unpickle("(Nd."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("}(NNNu."), ErrorCode::kBadValue);
  const std::string tensor = p::Tensor(p::Storage("FloatStorage", "0", 3), 0, {3}, {1});
  for (const std::string& target :
       {std::string("]"), std::string(")"), std::string("N"), tensor, p::Global("torch", "Tensor"),
        p::Storage("FloatStorage", "0", 3)}) {
    EXPECT_QUERN_ERROR(Unpickle(target + "NNs."), ErrorCode::kBadType);
    EXPECT_QUERN_ERROR(Unpickle(target + "(NNu."), ErrorCode::kBadType);
  }
  EXPECT_QUERN_ERROR(Unpickle("}Na."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle("}(Ne."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle("](N\x90."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle("]}b."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle(p::Global("torch", "Tensor") + "}b."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle(p::Str("f") + ")R."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle(p::Global("torch", "Size") + "NR."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle(p::Global("torch", "Size") + ")N\x92."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle("NN\x93."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle(p::Str("os") + "K\x01\x93."), ErrorCode::kBadType);
}

TEST(PickleMachine, RefusesMemoTricks) {
  EXPECT_QUERN_ERROR(Unpickle("h\x05."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("g5\n."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("g-1\n."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("gx\n."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("j\xff\xff\xff\xff."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("Npx\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("Np-1\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("Np99999999999999999999999\n."), ErrorCode::kBadText);
  // an index that would make a table of 4 billion entries
  EXPECT_QUERN_ERROR(Unpickle("Nr\xff\xff\xff\xff."), ErrorCode::kLimitExceeded);
  EXPECT_QUERN_ERROR(Unpickle("Np18446744073709551615\n."), ErrorCode::kLimitExceeded);
}

// The same call, spelled in every way that the protocols know; the last thing before each dangerous
// name is its opcode's offset.
TEST(PickleMachine, RefusesPayloadsInEverySpelling) {
  const std::string argument = p::Str("touch /tmp/quern-was-here");
  const std::string stacked = "\x8c\x02os\x8c\x06system\x93";
  const std::vector<std::pair<std::string, uint64_t>> payloads = {
      {"cos\nsystem\n(S'touch /tmp/x'\ntR.", 0},
      {"(S'touch /tmp/x'\nios\nsystem\n.", 17},
      {"(cos\nsystem\nS'touch /tmp/x'\no.", 1},
      {"\x80\x02"
       "cposix\nsystem\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "cnt\nsystem\n" +
           argument + "\x85R.",
       2},
      {"\x80\x03"
       "cbuiltins\nexec\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "c__builtin__\neval\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "csubprocess\nPopen\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "cbuiltins\ngetattr\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "ctorch.nn.modules.linear.os\nsystem\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "ctorch.nn.modules.linear\nos.system\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "ctorch\n_utils._rebuild_tensor_v2\n.",
       2},
      {"\x80\x02"
       "ctorch.serialization\nload\n" +
           argument + "\x85R.",
       2},
      {"\x80\x02"
       "ctorch.hub\nload\n.",
       2},
      {"\x80\x04" + stacked + argument + "\x85R.", 14},
      {"\x80\x05\x95" + Le(60, 8) + stacked + argument + "\x85R" + std::string(40, 'N') + ".", 23},
      {"\x80\x02"
       "cos\nsystem\n" +
           argument + "\x85\x81.",
       2},
      {"\x80\x04"
       "cos\nsystem\n)}\x92.",
       2},
      {"\x80\x02"
       "cos\nsystem\n" +
           argument + "\x85R garbage",
       2},  // payload, then a broken tail
      {"\x80\x04\x8c\x02os\x94\x30\x8c\x06system\x94\x30" + Z("h\x00h\x01\x93", 5) + argument +
           "\x85R.",
       22},
  };
  for (const auto& [bytes, offset] : payloads) {
    SCOPED_TRACE(Printable(bytes));
    const Error error = ErrorOf([&] { Unpickle(bytes); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsafe) << error.what();
    EXPECT_EQ(error.where().offset, offset) << error.what();
    EXPECT_NE(error.message().find("opcode at byte " + std::to_string(offset)), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/quern-was-here"));
}

TEST(PickleMachine, RefusesExtensionsStorageCallsAndOutOfBandData) {
  EXPECT_QUERN_ERROR(Unpickle("\x82\x01."), ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(Unpickle(Z("\x83\x01\x00.", 4)), ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(Unpickle("\x84" + Le(1, 4) + "."), ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(Unpickle(p::Call(p::Global("torch", "FloatStorage"), {}) + "."),
                     ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(Unpickle(p::Call(p::Global("torch", "float32"), {}) + "."),
                     ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(Unpickle("\x97."), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Unpickle("N\x98."), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Unpickle("Pid\n."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("\x80\x06N."), ErrorCode::kBadVersion);
}

TEST(PickleMachine, RefusesLyingLengths) {
  for (const std::string opcode : {"X", "T", "B"}) {
    EXPECT_QUERN_ERROR(Unpickle(opcode + "\xff\xff\xff\xff"
                                         "abc."),
                       ErrorCode::kTruncated);
  }
  EXPECT_QUERN_ERROR(Unpickle("\x8b\xff\xff\xff\x7f"
                              "abc."),
                     ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(Unpickle("\x8b\xff\xff\xff\xff"
                              "abc."),
                     ErrorCode::kBadValue);
  for (const std::string opcode : {"\x8d", "\x8e", "\x96", "\x95"}) {
    EXPECT_QUERN_ERROR(Unpickle(opcode + std::string(8, '\xff') + "abc."), ErrorCode::kTruncated);
    EXPECT_QUERN_ERROR(Unpickle(opcode + Le(1000, 8) + "abc."), ErrorCode::kTruncated);
  }
  EXPECT_QUERN_ERROR(Unpickle("I1x\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("I\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("F1,5\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("S'a\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("V\\u12\n."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle(p::Str("\xff") + "."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("V" + std::string(2 << 20, 'a') + "\n."), ErrorCode::kLimitExceeded);
}

TEST(PickleMachine, KeepsNothingOfTextThatIsNobodysName) {
  const auto ran = Unpickle(p::Str(std::string(100'000, 'x')) + ".");
  EXPECT_EQ(ran->value.kind, Kind::kString);
  EXPECT_FALSE(ran->heap.HasText(ran->value));
}

TEST(PickleMachine, DepthCostsNoStack) {
  const size_t depth = 300'000;
  EXPECT_EQ(Unpickle(std::string(depth, ']') + std::string(depth - 1, 'a') + ".")->value.kind,
            Kind::kList);
  EXPECT_EQ(Unpickle("N" + std::string(depth, '\x85') + ".")->value.kind, Kind::kTuple);
  EXPECT_QUERN_ERROR(Unpickle(std::string(depth, '(') + "N."), ErrorCode::kBadValue);
}

TEST(PickleMachine, MemoryIsBoundedByTheBudget) {
  // copies of a list, 20 bytes of pickle each
  std::string copies = p::List(std::vector<std::string>(1000, "N")) +
                       "q\x01"
                       "0(";
  for (int i = 0; i < 10'000; ++i) {
    copies += p::Call(p::Global("__builtin__", "list"), {"h\x01"});
  }
  EXPECT_QUERN_ERROR(Unpickle(copies + "t."), ErrorCode::kLimitExceeded);
  EXPECT_QUERN_ERROR(Unpickle("(" + std::string(3'000'000, ']') + "t."), ErrorCode::kLimitExceeded);
}

TEST(PickleMachine, RefusesTensorsThatDoNotFitTheirStorage) {
  const auto tensor = [](int64_t offset, std::vector<int64_t> shape, std::vector<int64_t> strides) {
    return p::Tensor(p::Storage("FloatStorage", "0", 12), offset, shape, strides) + ".";
  };
  EXPECT_NO_THROW(Unpickle(tensor(0, {3, 4}, {4, 1})));
  EXPECT_NO_THROW(Unpickle(tensor(11, {}, {})));
  EXPECT_NO_THROW(Unpickle(tensor(12, {0}, {1})));
  const auto out = ErrorCode::kOutOfBounds;
  EXPECT_QUERN_ERROR(Unpickle(tensor(1, {3, 4}, {4, 1})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(12, {}, {})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(13, {0}, {1})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {2}, {12})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {2}, {INT64_MAX})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(INT64_MAX, {2}, {INT64_MAX})), out);
  EXPECT_QUERN_ERROR(Unpickle(tensor(-1, {2}, {1})), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {-2}, {1})), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle(tensor(3, {2}, {-1})), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {2, 2}, {1})), ErrorCode::kBadShape);
  const int64_t big = int64_t{1} << 32;
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {big, big}, {0, 0})), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {0, big, big}, {0, 0, 0})), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, {big, 64}, {0, 0})), ErrorCode::kLimitExceeded);
  EXPECT_QUERN_ERROR(Unpickle(tensor(0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))),
                     ErrorCode::kBadShape);
}

TEST(PickleMachine, RefusesStoragesThatContradictThemselves) {
  const auto two = [](const std::string& a, const std::string& b) { return "(" + a + b + "t."; };
  const std::string first = p::Storage("FloatStorage", "0", 4);
  EXPECT_NO_THROW(Unpickle(two(first, first)));
  EXPECT_QUERN_ERROR(Unpickle(two(first, p::Storage("FloatStorage", "0", 5))),
                     ErrorCode::kMismatch);
  EXPECT_QUERN_ERROR(Unpickle(two(first, p::Storage("IntStorage", "0", 4))), ErrorCode::kMismatch);
  EXPECT_QUERN_ERROR(Unpickle(p::Storage("FloatStorage", "0", -1) + "."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle(p::Storage("FloatStorage", "0", INT64_MAX) + "."),
                     ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Unpickle(p::Storage("Tensor", "0", 1) + "."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Unpickle("(t Q."), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Unpickle("(tQ."), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Unpickle("NQ."), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(
      Unpickle(p::Storage("FloatStorage", "0", 4, p::Tuple({p::Str("v"), "K\x03", "K\x02"})) + "."),
      ErrorCode::kOutOfBounds);
}

TEST(PickleMachine, KeepsUnknownObjectsAsPlaceholdersOnlyWhenAsked) {
  const std::string unknown = p::Global("argparse", "Namespace") + ")\x81}b";
  const std::string filled = p::Call(p::Global("my.Class", "list"), {p::Str("x")}) +
                             "N"
                             "a(NNe"
                             "NNs(NNu}b";
  EXPECT_QUERN_ERROR(Unpickle(unknown + "."), ErrorCode::kUnsafe);
  EXPECT_EQ(Unpickle(unknown + ".", true)->value.kind, Kind::kObject);
  EXPECT_EQ(Unpickle(filled + ".", true)->value.kind, Kind::kObject);
  EXPECT_EQ(Unpickle("cos\nsystem\n(S'x'\ntR.", true)->value.kind, Kind::kObject);
}

}  // namespace
}  // namespace quern::formats::torch
