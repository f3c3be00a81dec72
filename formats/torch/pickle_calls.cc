// What naming and calling a global means: the arguments, arranged.
#include <fmt/format.h>

#include <algorithm>

#include "formats/core/utf8.h"
#include "formats/torch/pickle_machine.h"

namespace quern::formats::torch {
namespace {

constexpr std::string_view kDamaged = "the pickle is damaged or made to mislead";

}  // namespace

bool Machine::IsPlaceholder(Value value) const {
  return value.kind == Kind::kObject &&
         !heap_.GlobalOf({Kind::kGlobal, heap_.ObjectOf(value).global}).allowed;
}

Value Machine::ResolveGlobal(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  if (full.size() > kMaxKeptText || !IsValidUtf8(full)) {
    throw Fail(ErrorCode::kBadText, fmt::format("a global whose name is no name; {}", kDamaged));
  }
  const AllowedGlobal* allowed = FindAllowedGlobal(module, name);
  if (!allowed && !options_.allow_opaque) {
    throw Fail(
        ErrorCode::kUnsafe,
        fmt::format("it needs the class or function {}, which is code outside this file, and "
                    "quern runs none; save the model's state_dict() instead, or keep such "
                    "objects as placeholders with --allow-opaque",
                    Printable(full)));
  }
  return heap_.AddGlobal({full, allowed});
}

Value Machine::CallGlobal(Value callee, Value arguments) {
  if (callee.kind != Kind::kGlobal) {
    throw Fail(ErrorCode::kBadType,
               fmt::format("a call of {}; {}", KindName(callee.kind), kDamaged));
  }
  const AllowedGlobal* allowed = heap_.GlobalOf(callee).allowed;
  if (!allowed) return heap_.AddObject({static_cast<uint32_t>(callee.bits), {}});
  RequireKind(arguments, Kind::kTuple, "the arguments of a call");
  // A copy: making the result may move what the reference points to.
  const std::vector<Value> items = heap_.Items(arguments);
  return CallAllowed(*allowed, callee, items);
}

Value Machine::CallAllowed(const AllowedGlobal& global, Value callee,
                           const std::vector<Value>& arguments) {
  switch (global.meaning) {
    case Meaning::kDict:
      return MakeDict(arguments, 0);
    case Meaning::kDefaultDict:
      return MakeDict(arguments, 1);
    case Meaning::kList:
      return MakeSequence(Kind::kList, arguments);
    case Meaning::kTuple:
      return MakeSequence(Kind::kTuple, arguments);
    case Meaning::kSet:
      return MakeSequence(Kind::kSet, arguments);
    case Meaning::kEncode:
    case Meaning::kInert:
      return {Kind::kInert, 0};
    case Meaning::kReconstruct:
      return Reconstruct(arguments);
    case Meaning::kModule:
      return heap_.AddObject({static_cast<uint32_t>(callee.bits), {}});
    case Meaning::kParameter:
      if (arguments.empty()) break;
      RequireKind(arguments[0], Kind::kTensor, "a parameter's data");
      return arguments[0];
    case Meaning::kTensor:
    case Meaning::kTensorV2:
    case Meaning::kTensorV3:
      return MakeTensor(arguments, global);
    case Meaning::kTensorFromType:
      return FromType(arguments);
    case Meaning::kQuantizedTensor:
      return RefusedTensor("a quantized tensor");
    case Meaning::kSparseTensor:
      return RefusedTensor("a sparse tensor");
    case Meaning::kForeignTensor:
      return RefusedTensor("a tensor that keeps its data outside torch's storages");
    case Meaning::kStorage:
    case Meaning::kDtype:
      throw Fail(ErrorCode::kUnsafe, fmt::format("a call of {}.{}, which no honest pickle makes; "
                                                 "do not use this file",
                                                 global.module, global.name));
  }
  throw Fail(ErrorCode::kBadValue, fmt::format("{}.{} is called without its arguments; {}",
                                               global.module, global.name, kDamaged));
}

// dict(), dict(pairs) or dict(other): `source` is the argument that holds the items.
Value Machine::MakeDict(const std::vector<Value>& arguments, size_t source) {
  const Value dict = heap_.AddContainer(Kind::kDict);
  if (arguments.size() <= source) return dict;
  const Value from = arguments[source];
  if (from.kind != Kind::kDict && from.kind != Kind::kList && from.kind != Kind::kTuple) {
    throw Fail(ErrorCode::kBadType,
               fmt::format("a dict made of {}; {}", KindName(from.kind), kDamaged));
  }
  const size_t count = heap_.Items(from).size();
  for (size_t i = 0; i < count; ++i) {
    const Value item = heap_.Items(from)[i];
    if (from.kind == Kind::kDict) {
      heap_.Append(dict, item);
      continue;
    }
    const bool pair =
        (item.kind == Kind::kTuple || item.kind == Kind::kList) && heap_.Items(item).size() == 2;
    if (!pair)
      throw Fail(ErrorCode::kBadType, fmt::format("a dict made of items that are no pairs; "
                                                  "{}",
                                                  kDamaged));
    heap_.Append(dict, heap_.Items(item)[0]);
    heap_.Append(dict, heap_.Items(item)[1]);
  }
  return dict;
}

Value Machine::MakeSequence(Kind kind, const std::vector<Value>& arguments) {
  const Value made = heap_.AddContainer(kind);
  if (arguments.empty()) return made;
  const Value from = arguments[0];
  if (from.kind != Kind::kList && from.kind != Kind::kTuple && from.kind != Kind::kSet) {
    throw Fail(ErrorCode::kBadType,
               fmt::format("{} made of {}; {}", KindName(kind), KindName(from.kind), kDamaged));
  }
  const size_t count = heap_.Items(from).size();
  for (size_t i = 0; i < count; ++i) heap_.Append(made, heap_.Items(from)[i]);
  return made;
}

// How protocols 0 and 1 write an object: its class, a base (object) and the base's state.
Value Machine::Reconstruct(const std::vector<Value>& arguments) {
  if (arguments.size() != 3) {
    throw Fail(ErrorCode::kBadValue, fmt::format("an object without a class; {}", kDamaged));
  }
  RequireKind(arguments[0], Kind::kGlobal, "the class of an object");
  return CallGlobal(arguments[0], heap_.AddContainer(Kind::kTuple));
}

// A tensor of a subclass: (function that rebuilds the plain tensor, subclass, its arguments,
// state).
Value Machine::FromType(const std::vector<Value>& arguments) {
  if (arguments.size() < 3) {
    throw Fail(ErrorCode::kBadValue, fmt::format("a tensor without its arguments; {}", kDamaged));
  }
  RequireKind(arguments[0], Kind::kGlobal, "the function that rebuilds a tensor");
  const AllowedGlobal* allowed = heap_.GlobalOf(arguments[0]).allowed;
  // Not itself again: a chain of these would recurse as deep as the file likes.
  if (allowed && allowed->meaning == Meaning::kTensorFromType) {
    throw Fail(ErrorCode::kBadValue,
               fmt::format("a tensor type inside a tensor type; {}", kDamaged));
  }
  return CallGlobal(arguments[0], arguments[2]);
}

Value Machine::RefusedTensor(std::string_view reason) {
  Tensor tensor;
  tensor.refusal = reason;
  return heap_.AddTensor(std::move(tensor));
}

Value Machine::LoadPersistent(Value id) {
  RequireKind(id, Kind::kTuple, "a persistent id");
  const std::vector<Value> items = heap_.Items(id);
  const std::string_view what =
      !items.empty() && items[0].kind == Kind::kString ? heap_.Text(items[0]) : std::string_view();
  if (what == "storage" && options_.storages) return LoadStorage(items);
  // The legacy format puts a module's class here, with its source text, which nobody needs.
  if (what == "module" && options_.storages && items.size() >= 2) {
    RequireKind(items[1], Kind::kGlobal, "a module's class");
    return items[1];
  }
  throw Fail(ErrorCode::kBadValue,
             fmt::format("a persistent id that names no storage; {}", kDamaged));
}

}  // namespace quern::formats::torch
