// Python's pickle machine without Python: protocols 0 to 5, building data only (pickle_value.h).
//
// It imports nothing and calls nothing. A global outside the allow-list (pickle_globals.h) is
// refused with kUnsafe, its name and the opcode's place; with allow_opaque it becomes an inert
// placeholder that swallows its arguments. The machine is a loop over opcodes with its own stack:
// no input makes it recurse. Text too long to be a name is skipped, not kept.
// Source of the opcodes: Python's Lib/pickletools.py and PEP 3154, PEP 574.
#ifndef QUERN_FORMATS_TORCH_PICKLE_MACHINE_H_
#define QUERN_FORMATS_TORCH_PICKLE_MACHINE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torch/pickle_input.h"
#include "formats/torch/pickle_value.h"

namespace quern::formats::torch {

struct MachineOptions {
  bool allow_opaque = false;
  bool storages = true;  // persistent ids may name storages (not in a legacy file's header pickles)
};

// Longest text that is kept; longer ones are data (a vocabulary, an image), never a tensor's name.
inline constexpr uint64_t kMaxKeptText = 4096;

class Machine {
 public:
  Machine(PickleInput& input, Heap& heap, MachineOptions options = {});

  // Runs one pickle, from its first opcode through STOP, and returns what it built. Throws
  // kTruncated, kBadText (opcode or text that does not exist), kBadValue (stack, marks, memo),
  // kBadType (an opcode applied to a value that does not take it), kBadVersion, kUnsafe,
  // kUnsupported, kLimitExceeded, kMismatch, kBadShape, kOutOfBounds.
  Value Run();

 private:
  struct Opcode;
  static const Opcode kOpcodes[];
  using Handler = void (Machine::*)(uint8_t opcode);

  // Stack. Values below the innermost mark are out of reach.
  void Push(Value value);
  Value Pop();
  Value& Top();
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<Value> PopToMark();

  // Handlers, in pickle_opcodes.cc; one per kind of opcode.
  void Protocol(uint8_t);
  void Frame(uint8_t);
  void Constant(uint8_t opcode);
  void Integer(uint8_t opcode);
  void IntegerLine(uint8_t opcode);
  void BigInteger(uint8_t opcode);
  void FloatLine(uint8_t);
  void BinaryFloat(uint8_t);
  void TextLine(uint8_t opcode);
  void CountedText(uint8_t opcode);
  void Empty(uint8_t opcode);
  void SmallTuple(uint8_t opcode);
  void FromMark(uint8_t opcode);
  void AppendOne(uint8_t);
  void AppendMany(uint8_t opcode);
  void SetItem(uint8_t);
  void SetItems(uint8_t);
  void StackOperation(uint8_t opcode);
  void PutMemo(uint8_t opcode);
  void GetMemo(uint8_t opcode);
  void NameGlobal(uint8_t opcode);
  void Persistent(uint8_t opcode);
  void Call(uint8_t opcode);
  void Build(uint8_t);
  void Extension(uint8_t opcode);
  void OutOfBand(uint8_t opcode);

  // Meanings of globals, in pickle_calls.cc.
  Value ResolveGlobal(std::string_view module, std::string_view name);
  Value CallGlobal(Value callee, Value arguments);
  Value CallAllowed(const AllowedGlobal& global, Value callee, const std::vector<Value>& arguments);
  Value MakeDict(const std::vector<Value>& arguments, size_t source);
  Value MakeSequence(Kind kind, const std::vector<Value>& arguments);
  Value Reconstruct(const std::vector<Value>& arguments);
  Value FromType(const std::vector<Value>& arguments);
  Value RefusedTensor(std::string_view reason);
  Value LoadPersistent(Value id);

  // Tensors and storages, in pickle_tensors.cc.
  Value LoadStorage(const std::vector<Value>& id);
  StorageView PartOf(const std::vector<Value>& id, uint32_t storage, const Storage& whole) const;
  Value MakeTensor(const std::vector<Value>& arguments, const AllowedGlobal& global);
  void CheckBounds(const Tensor& tensor) const;
  std::vector<uint64_t> Sizes(Value value, std::string_view field) const;
  uint64_t Size(Value value, std::string_view field) const;

  std::string Line();
  Value KeepText(Kind kind, std::string text);
  void StoreMemo(uint64_t index, Value value);
  void RequireKind(Value value, Kind kind, std::string_view what) const;
  // An object of a class outside the allow-list, kept with allow_opaque.
  bool IsPlaceholder(Value value) const;
  // An error at the current opcode.
  Error Fail(ErrorCode code, std::string_view message) const;
  Where Here() const;

  PickleInput& input_;
  Heap& heap_;
  MachineOptions options_;
  uint64_t start_ = 0;  // of this pickle in the input
  uint64_t at_ = 0;     // of the current opcode in the input
  bool stopped_ = false;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;
  std::vector<Value> memo_;
  std::vector<bool> memo_set_;
  uint64_t memo_count_ = 0;
};

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_PICKLE_MACHINE_H_
