// What each opcode does to the stack.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "formats/core/utf8.h"
#include "formats/torch/pickle_machine.h"
#include "formats/torch/pickle_text.h"

namespace quern::formats::torch {
namespace {

// Longest argument that stands in a line of its own (protocol 0).
constexpr uint64_t kMaxLine = 1 << 20;
constexpr std::string_view kDamaged = "the pickle is damaged or made to mislead";

template <typename T>
std::optional<T> Parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct TextOpcode {
  uint8_t code;
  uint8_t length_bytes;
  Kind kind;
  bool python2;  // bytes of a Python 2 str: text only where they are UTF-8
};

constexpr std::array kTextOpcodes = {
    TextOpcode{'T', 4, Kind::kString, true},   TextOpcode{'U', 1, Kind::kString, true},
    TextOpcode{'X', 4, Kind::kString, false},  TextOpcode{0x8c, 1, Kind::kString, false},
    TextOpcode{0x8d, 8, Kind::kString, false}, TextOpcode{'B', 4, Kind::kBytes, false},
    TextOpcode{'C', 1, Kind::kBytes, false},   TextOpcode{0x8e, 8, Kind::kBytes, false},
    TextOpcode{0x96, 8, Kind::kBytes, false},
};

}  // namespace

std::string Machine::Line() { return input_.Line(kMaxLine); }

void Machine::Constant(uint8_t opcode) {
  if (opcode == 'N') return Push({});
  Push({Kind::kBool, opcode == 0x88});
}

void Machine::Integer(uint8_t opcode) {
  if (opcode == 'K') return Push({Kind::kInt, input_.Number(1)});
  if (opcode == 'M') return Push({Kind::kInt, input_.Number(2)});
  const auto value = static_cast<int32_t>(input_.Number(4));
  Push({Kind::kInt, static_cast<uint64_t>(int64_t{value})});
}

void Machine::IntegerLine(uint8_t opcode) {
  std::string line = Line();
  if (opcode == 'I' && (line == "00" || line == "01")) {
    return Push({Kind::kBool, line == "01"});
  }
  if (line.ends_with('L')) line.pop_back();
  if (const auto value = Parse<int64_t>(line)) {
    return Push({Kind::kInt, static_cast<uint64_t>(*value)});
  }
  if (!IsDecimal(line)) {
    throw Fail(ErrorCode::kBadText,
               fmt::format("`{}` is no integer; {}", Printable(line, 40), kDamaged));
  }
  Push(line.size() <= kMaxBigDecimal ? heap_.AddText(Kind::kBigInt, BytesOfDecimal(line))
                                     : heap_.AddLongText(Kind::kBigInt));
}

// LONG1 and LONG4: little-endian two's complement.
void Machine::BigInteger(uint8_t opcode) {
  const uint64_t bytes = input_.Number(opcode == 0x8a ? 1 : 4);
  if (opcode == 0x8b && bytes > INT32_MAX) {
    throw Fail(ErrorCode::kBadValue, fmt::format("an integer of negative length; {}", kDamaged));
  }
  if (bytes > kMaxKeptText) {
    input_.Skip(bytes);
    return Push(heap_.AddLongText(Kind::kBigInt));
  }
  const std::string text = input_.Text(bytes);
  if (bytes > 8) return Push(heap_.AddText(Kind::kBigInt, text));
  uint64_t value = bytes > 0 && (text.back() & 0x80) ? ~uint64_t{0} : 0;
  for (size_t i = text.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
  Push({Kind::kInt, value});
}

void Machine::FloatLine(uint8_t) {
  const std::string line = Line();
  const auto value = Parse<double>(line);
  if (!value) {
    throw Fail(ErrorCode::kBadText,
               fmt::format("`{}` is no float; {}", Printable(line, 40), kDamaged));
  }
  Push({Kind::kFloat, std::bit_cast<uint64_t>(*value)});
}

void Machine::BinaryFloat(uint8_t) {
  Push({Kind::kFloat, __builtin_bswap64(input_.Number(8))});  // the one big-endian argument
}

Value Machine::KeepText(Kind kind, std::string text) {
  if (text.size() > kMaxKeptText) return heap_.AddLongText(kind);
  if (kind == Kind::kString && !IsValidUtf8(text)) {
    throw Fail(ErrorCode::kBadText, fmt::format("text that is not UTF-8; {}", kDamaged));
  }
  return heap_.AddText(kind, std::move(text));
}

void Machine::TextLine(uint8_t opcode) {
  const auto text = opcode == 'S' ? UnquotePythonString(Line()) : DecodeRawUnicode(Line());
  if (!text) throw Fail(ErrorCode::kBadText, fmt::format("text that is not quoted; {}", kDamaged));
  const bool bytes = opcode == 'S' && !IsValidUtf8(*text);
  Push(KeepText(bytes ? Kind::kBytes : Kind::kString, *text));
}

void Machine::CountedText(uint8_t opcode) {
  const auto& row = *std::find_if(kTextOpcodes.begin(), kTextOpcodes.end(),
                                  [&](const TextOpcode& text) { return text.code == opcode; });
  const uint64_t length = input_.Number(row.length_bytes);
  if (length > kMaxKeptText) {
    input_.Skip(length);
    return Push(heap_.AddLongText(row.kind));
  }
  std::string text = input_.Text(length);
  const bool bytes = row.python2 && !IsValidUtf8(text);
  Push(KeepText(bytes ? Kind::kBytes : row.kind, std::move(text)));
}

void Machine::Empty(uint8_t opcode) {
  const Kind kind = opcode == '}'   ? Kind::kDict
                    : opcode == ']' ? Kind::kList
                    : opcode == ')' ? Kind::kTuple
                                    : Kind::kSet;
  Push(heap_.AddContainer(kind));
}

void Machine::SmallTuple(uint8_t opcode) {
  std::array<Value, 3> items;
  const size_t count = opcode - 0x84u;
  for (size_t i = count; i-- > 0;) items[i] = Pop();
  const Value tuple = heap_.AddContainer(Kind::kTuple);
  for (size_t i = 0; i < count; ++i) heap_.Append(tuple, items[i]);
  Push(tuple);
}

void Machine::FromMark(uint8_t opcode) {
  const std::vector<Value> items = PopToMark();
  if (opcode == 'd' && items.size() % 2 != 0) {
    throw Fail(ErrorCode::kBadValue, fmt::format("a dict key without a value; {}", kDamaged));
  }
  const Kind kind = opcode == 'd'   ? Kind::kDict
                    : opcode == 'l' ? Kind::kList
                    : opcode == 't' ? Kind::kTuple
                                    : Kind::kSet;
  const Value container = heap_.AddContainer(kind);
  for (const Value item : items) heap_.Append(container, item);
  Push(container);
}

void Machine::AppendOne(uint8_t) {
  const Value item = Pop();
  const Value target = Top();
  if (IsPlaceholder(target)) return;
  RequireKind(target, Kind::kList, "the target of APPEND");
  heap_.Append(target, item);
}

void Machine::AppendMany(uint8_t opcode) {
  const std::vector<Value> items = PopToMark();
  const Value target = Top();
  if (IsPlaceholder(target)) return;
  RequireKind(target, opcode == 'e' ? Kind::kList : Kind::kSet, "the target of APPENDS");
  for (const Value item : items) heap_.Append(target, item);
}

void Machine::SetItem(uint8_t) {
  const Value value = Pop();
  const Value key = Pop();
  const Value target = Top();
  if (IsPlaceholder(target)) return;
  RequireKind(target, Kind::kDict, "the target of SETITEM");
  heap_.Append(target, key);
  heap_.Append(target, value);
}

void Machine::SetItems(uint8_t) {
  const std::vector<Value> items = PopToMark();
  const Value target = Top();
  if (items.size() % 2 != 0) {
    throw Fail(ErrorCode::kBadValue, fmt::format("a dict key without a value; {}", kDamaged));
  }
  if (IsPlaceholder(target)) return;
  RequireKind(target, Kind::kDict, "the target of SETITEMS");
  for (const Value item : items) heap_.Append(target, item);
}

void Machine::StackOperation(uint8_t opcode) {
  switch (opcode) {
    case '(':
      if (marks_.size() == marks_.capacity()) heap_.Charge(sizeof(size_t) * (marks_.size() + 8));
      marks_.push_back(stack_.size());
      break;
    case '.':
      stopped_ = true;
      break;
    case '0':  // a mark may be popped like a value
      if (!marks_.empty() && stack_.size() == marks_.back()) {
        marks_.pop_back();
      } else {
        Pop();
      }
      break;
    case '1':
      PopToMark();
      break;
    default:
      Push(Value(Top()));
  }
}

void Machine::PutMemo(uint8_t opcode) {
  uint64_t index = memo_count_;  // MEMOIZE
  if (opcode == 'q') index = input_.Number(1);
  if (opcode == 'r') index = input_.Number(4);
  if (opcode == 'p') {
    const std::string line = Line();
    const auto number = Parse<uint64_t>(line);
    if (!number) {
      throw Fail(ErrorCode::kBadText,
                 fmt::format("`{}` is no memo index; {}", Printable(line, 40), kDamaged));
    }
    index = *number;
  }
  StoreMemo(index, Top());
}

void Machine::GetMemo(uint8_t opcode) {
  uint64_t index = 0;
  if (opcode == 'g') {
    const std::string line = Line();
    index = Parse<uint64_t>(line).value_or(~uint64_t{0});
  } else {
    index = input_.Number(opcode == 'h' ? 1 : 4);
  }
  if (index >= memo_.size() || !memo_set_[index]) {
    throw Fail(ErrorCode::kBadValue, fmt::format("nothing was stored in the memo under this index; "
                                                 "{}",
                                                 kDamaged));
  }
  Push(memo_[index]);
}

void Machine::NameGlobal(uint8_t opcode) {
  if (opcode == 'c') {
    const std::string module = Line();
    const std::string name = Line();
    return Push(ResolveGlobal(module, name));
  }
  const Value name = Pop();
  const Value module = Pop();
  RequireKind(module, Kind::kString, "the module of STACK_GLOBAL");
  RequireKind(name, Kind::kString, "the name of STACK_GLOBAL");
  if (!heap_.HasText(module) || !heap_.HasText(name)) {
    throw Fail(ErrorCode::kLimitExceeded,
               fmt::format("a global with an endless name; {}", kDamaged));
  }
  Push(ResolveGlobal(heap_.Text(module), heap_.Text(name)));
}

void Machine::Persistent(uint8_t opcode) {
  if (opcode == 'P') {
    throw Fail(
        ErrorCode::kBadValue,
        fmt::format("a persistent id in text form, which PyTorch never writes; {}", kDamaged));
  }
  Push(LoadPersistent(Pop()));
}

void Machine::Call(uint8_t opcode) {
  std::vector<Value> items;
  Value callee;
  if (opcode == 'i' || opcode == 'o') {
    std::string module, name;
    if (opcode == 'i') {
      module = Line();
      name = Line();
    }
    items = PopToMark();
    if (opcode == 'i') {
      callee = ResolveGlobal(module, name);
    } else {
      if (items.empty())
        throw Fail(ErrorCode::kBadValue, fmt::format("OBJ without a class; {}", kDamaged));
      callee = items.front();
      items.erase(items.begin());
    }
    const Value arguments = heap_.AddContainer(Kind::kTuple);
    for (const Value item : items) heap_.Append(arguments, item);
    return Push(CallGlobal(callee, arguments));
  }
  if (opcode == 0x92) RequireKind(Pop(), Kind::kDict, "the keyword arguments of NEWOBJ_EX");
  const Value arguments = Pop();
  callee = Pop();
  Push(CallGlobal(callee, arguments));
}

// Python would call __setstate__ or update __dict__. Only a module's state is of use here.
void Machine::Build(uint8_t) {
  const Value state = Pop();
  const Value target = Top();
  switch (target.kind) {
    case Kind::kObject:
      heap_.ObjectOf(target).state = state;
      return;
    case Kind::kDict:  // attributes of an OrderedDict: a state dict's _metadata
    case Kind::kTensor:
    case Kind::kInert:
      return;
    default:
      throw Fail(ErrorCode::kBadType,
                 fmt::format("BUILD on {}; {}", KindName(target.kind), kDamaged));
  }
}

void Machine::Extension(uint8_t) {
  throw Fail(ErrorCode::kUnsafe,
             "an object from Python's extension registry, which could be anything; do not use this "
             "file");
}

void Machine::OutOfBand(uint8_t) {
  throw Fail(
      ErrorCode::kUnsupported,
      "data that is kept outside the pickle and is not in this file; save it with torch.save");
}

}  // namespace quern::formats::torch
