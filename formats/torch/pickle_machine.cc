#include "formats/torch/pickle_machine.h"

#include <fmt/format.h>

#include <array>

namespace quern::formats::torch {
namespace {

constexpr uint8_t kHighestProtocol = 5;

}  // namespace

struct Machine::Opcode {
  uint8_t code;
  Handler handler;
};

// Every opcode of protocols 0 to 5.
const Machine::Opcode Machine::kOpcodes[] = {
    {0x80, &Machine::Protocol},
    {0x95, &Machine::Frame},
    // constants: None, True, False
    {'N', &Machine::Constant},
    {0x88, &Machine::Constant},
    {0x89, &Machine::Constant},
    // numbers: BININT, BININT1, BININT2, INT, LONG, LONG1, LONG4, FLOAT, BINFLOAT
    {'J', &Machine::Integer},
    {'K', &Machine::Integer},
    {'M', &Machine::Integer},
    {'I', &Machine::IntegerLine},
    {'L', &Machine::IntegerLine},
    {0x8a, &Machine::BigInteger},
    {0x8b, &Machine::BigInteger},
    {'F', &Machine::FloatLine},
    {'G', &Machine::BinaryFloat},
    // text: STRING, UNICODE, BINSTRING, SHORT_BINSTRING, BINUNICODE, SHORT_BINUNICODE,
    // BINUNICODE8, BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
    {'S', &Machine::TextLine},
    {'V', &Machine::TextLine},
    {'T', &Machine::CountedText},
    {'U', &Machine::CountedText},
    {'X', &Machine::CountedText},
    {0x8c, &Machine::CountedText},
    {0x8d, &Machine::CountedText},
    {'B', &Machine::CountedText},
    {'C', &Machine::CountedText},
    {0x8e, &Machine::CountedText},
    {0x96, &Machine::CountedText},
    // containers: EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET, TUPLE1 to 3, then those that
    // take what stands above the mark: DICT, LIST, TUPLE, FROZENSET
    {'}', &Machine::Empty},
    {']', &Machine::Empty},
    {')', &Machine::Empty},
    {0x8f, &Machine::Empty},
    {0x85, &Machine::SmallTuple},
    {0x86, &Machine::SmallTuple},
    {0x87, &Machine::SmallTuple},
    {'d', &Machine::FromMark},
    {'l', &Machine::FromMark},
    {'t', &Machine::FromMark},
    {0x91, &Machine::FromMark},
    // filling them: APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
    {'a', &Machine::AppendOne},
    {'e', &Machine::AppendMany},
    {0x90, &Machine::AppendMany},
    {'s', &Machine::SetItem},
    {'u', &Machine::SetItems},
    // stack and memo: MARK, STOP, POP, POP_MARK, DUP, PUT, BINPUT, LONG_BINPUT, MEMOIZE, GET,
    // BINGET, LONG_BINGET
    {'(', &Machine::StackOperation},
    {'.', &Machine::StackOperation},
    {'0', &Machine::StackOperation},
    {'1', &Machine::StackOperation},
    {'2', &Machine::StackOperation},
    {'p', &Machine::PutMemo},
    {'q', &Machine::PutMemo},
    {'r', &Machine::PutMemo},
    {0x94, &Machine::PutMemo},
    {'g', &Machine::GetMemo},
    {'h', &Machine::GetMemo},
    {'j', &Machine::GetMemo},
    // globals and calls: GLOBAL, STACK_GLOBAL, PERSID, BINPERSID, REDUCE, INST, OBJ, NEWOBJ,
    // NEWOBJ_EX, BUILD
    {'c', &Machine::NameGlobal},
    {0x93, &Machine::NameGlobal},
    {'P', &Machine::Persistent},
    {'Q', &Machine::Persistent},
    {'R', &Machine::Call},
    {'i', &Machine::Call},
    {'o', &Machine::Call},
    {0x81, &Machine::Call},
    {0x92, &Machine::Call},
    {'b', &Machine::Build},
    // refused: EXT1, EXT2, EXT4, NEXT_BUFFER, READONLY_BUFFER
    {0x82, &Machine::Extension},
    {0x83, &Machine::Extension},
    {0x84, &Machine::Extension},
    {0x97, &Machine::OutOfBand},
    {0x98, &Machine::OutOfBand},
};

Machine::Machine(PickleInput& input, Heap& heap, MachineOptions options)
    : input_(input), heap_(heap), options_(options) {}

Value Machine::Run() {
  static const auto handlers = [] {
    std::array<Handler, 256> table{};
    for (const Opcode& opcode : kOpcodes) table[opcode.code] = opcode.handler;
    return table;
  }();
  start_ = input_.position();
  stopped_ = false;
  while (!stopped_) {
    at_ = input_.position();
    const uint8_t opcode = input_.Byte();
    if (!handlers[opcode]) {
      throw Fail(ErrorCode::kBadText,
                 fmt::format("0x{:02x} is no opcode; this is no pickle, or a damaged one", opcode));
    }
    (this->*handlers[opcode])(opcode);
  }
  const Value result = Pop();
  if (!stack_.empty() || !marks_.empty()) {
    throw Fail(ErrorCode::kBadValue,
               "values are left on the stack at the end; the pickle is damaged or made to mislead");
  }
  return result;
}

Where Machine::Here() const { return input_.At(at_); }

Error Machine::Fail(ErrorCode code, std::string_view message) const {
  return Error(code, Here(),
               fmt::format("opcode at byte {} of the pickle: {}", at_ - start_, message));
}

void Machine::Push(Value value) {
  if (stack_.size() == stack_.capacity()) heap_.Charge(sizeof(Value) * (stack_.size() + 8));
  stack_.push_back(value);
}

Value& Machine::Top() {
  if (stack_.size() == Floor()) {
    throw Fail(ErrorCode::kBadValue, "the stack is empty; the pickle is damaged");
  }
  return stack_.back();
}

Value Machine::Pop() {
  const Value value = Top();
  stack_.pop_back();
  return value;
}

std::vector<Value> Machine::PopToMark() {
  if (marks_.empty()) throw Fail(ErrorCode::kBadValue, "no mark is set; the pickle is damaged");
  const auto begin = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
  std::vector<Value> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Machine::RequireKind(Value value, Kind kind, std::string_view what) const {
  if (value.kind == kind) return;
  throw Fail(ErrorCode::kBadType, fmt::format("{} is {} and must be {}; the pickle is damaged or "
                                              "made to mislead",
                                              what, KindName(value.kind), KindName(kind)));
}

void Machine::Protocol(uint8_t) {
  const uint8_t version = input_.Byte();
  if (version > kHighestProtocol) {
    throw Fail(ErrorCode::kBadVersion,
               fmt::format("pickle protocol {}; 0 to {} exist", version, kHighestProtocol));
  }
}

// A frame only promises how much a reader may fetch at once; what it promises must exist.
void Machine::Frame(uint8_t) {
  const uint64_t bytes = input_.Number(8);
  if (bytes > input_.remaining()) {
    throw Fail(ErrorCode::kTruncated,
               fmt::format("a frame of {} bytes and {} are left; the file is cut short or damaged",
                           bytes, input_.remaining()));
  }
}

void Machine::StoreMemo(uint64_t index, Value value) {
  // Every honest index counts the PUTs before it, and each takes a byte of the pickle at least.
  if (index > at_ - start_) {
    throw Fail(
        ErrorCode::kLimitExceeded,
        fmt::format("memo index {} is beyond anything that this pickle could have stored; it "
                    "is damaged or made to mislead",
                    index));
  }
  if (index >= memo_.size()) {
    heap_.Charge((index + 1 - memo_.size()) * 2 * sizeof(Value));
    memo_.resize(index + 1);
    memo_set_.resize(index + 1);
  }
  if (!memo_set_[index]) ++memo_count_;
  memo_set_[index] = true;
  memo_[index] = value;
}

}  // namespace quern::formats::torch
