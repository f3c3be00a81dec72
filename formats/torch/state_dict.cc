#include "formats/torch/state_dict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <tuple>

namespace quern::formats::torch {
namespace {

constexpr std::string_view kDamaged = "the pickle is damaged or made to mislead";
// Shared containers are walked once per place. Nothing honest shares so much; without a limit a
// list of two of a list of two of ... would take for ever.
constexpr uint64_t kMaxVisits = 1 << 22;
// What a listed tensor costs in the model that comes of it, besides its name.
constexpr uint64_t kListedBytes = 512;

// The textual form of a dict key, as Python's str() gives it; absent where it has none of use.
std::optional<std::string> KeyText(const Heap& heap, Value key) {
  switch (key.kind) {
    case Kind::kString:
      if (!heap.HasText(key)) return std::nullopt;
      return std::string(heap.Text(key));
    case Kind::kInt:
      return std::to_string(key.Int());
    case Kind::kBool:
      return key.bits ? "True" : "False";
    case Kind::kNone:
      return "None";
    default:
      return std::nullopt;
  }
}

// The value under a text key of a dict, or nothing.
std::optional<Value> Lookup(const Heap& heap, Value dict, std::string_view key) {
  const auto& items = heap.Items(dict);
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind == Kind::kString && heap.Text(items[i]) == key) return items[i + 1];
  }
  return std::nullopt;
}

class Walker {
 public:
  explicit Walker(Heap& heap) : heap_(heap) {}

  Listing Walk(Value root) {
    Visit(root);
    while (!frames_.empty()) Step();
    return std::move(listing_);
  }

 private:
  // A container half walked.
  struct Frame {
    Value container;
    std::string::size_type path_size;  // of the path that leads to it
    bool at_top;                       // that path is empty: no dot follows it
    std::optional<Value> unsaved;      // names that a module does not save
    size_t next = 0;                   // of its items
  };

  [[noreturn]] void Fail(ErrorCode code, std::string_view message) const {
    throw Error(code, {heap_.file(), {}, path_}, message);
  }

  void Step() {
    Frame& frame = frames_.back();
    const auto& items = heap_.Items(frame.container);
    path_.resize(frame.path_size);
    at_top_ = frame.at_top;
    if (frame.next >= items.size()) {
      frames_.pop_back();
      return;
    }
    if (++visits_ > kMaxVisits) {
      Fail(ErrorCode::kLimitExceeded,
           fmt::format("more than {} values, many of them the same; {}", kMaxVisits, kDamaged));
    }
    if (frame.container.kind != Kind::kDict) {
      const size_t index = frame.next++;
      return Enter(std::to_string(index), items[index]);
    }
    const Value key = items[frame.next];
    const Value value = items[frame.next + 1];
    frame.next += 2;
    const bool worth = value.kind == Kind::kTensor || value.kind == Kind::kObject ||
                       value.kind == Kind::kDict || value.kind == Kind::kList ||
                       value.kind == Kind::kTuple;
    if (worth && !IsUnsaved(frame, key)) Enter(KeyText(heap_, key), value);
  }

  bool IsUnsaved(const Frame& frame, Value key) const {
    if (!frame.unsaved || frame.unsaved->kind != Kind::kSet || key.kind != Kind::kString) {
      return false;
    }
    const auto& names = heap_.Items(*frame.unsaved);
    return std::any_of(names.begin(), names.end(), [&](Value name) {
      return name.kind == Kind::kString && heap_.Text(name) == heap_.Text(key);
    });
  }

  // Goes from the current path to `value` under `name`.
  void Enter(const std::optional<std::string>& name, Value value) {
    if (!at_top_) path_ += '.';
    path_ += name.value_or("?");
    at_top_ = false;
    const bool nameless = !name || path_.size() > kMaxNameBytes;
    if (nameless) return EnterNameless(value);
    Visit(value);
  }

  // A key of a kind or length that no tensor's name can hold: only data may be there.
  void EnterNameless(Value value) {
    if (value.kind != Kind::kTensor) return;
    path_.resize(std::min(path_.size(), kMaxNameBytes));
    Fail(ErrorCode::kLimitExceeded,
         fmt::format("a tensor whose name is no text of up to {} bytes; save it under a name",
                     kMaxNameBytes));
  }

  void Visit(Value value) {
    switch (value.kind) {
      case Kind::kTensor:
        heap_.Charge(kListedBytes + 3 * path_.size());
        listing_.tensors.push_back({path_, value});
        return;
      case Kind::kDict:
        CheckKeys(value);
        [[fallthrough]];
      case Kind::kList:
      case Kind::kTuple:
        return Open(value, std::nullopt);
      case Kind::kObject:
        return VisitObject(heap_.ObjectOf(value));
      default:
        return;
    }
  }

  void Open(Value container, std::optional<Value> unsaved) {
    if (frames_.size() >= kMaxDepth) {
      Fail(ErrorCode::kLimitExceeded,
           fmt::format("nested more than {} deep; {}", kMaxDepth, kDamaged));
    }
    frames_.push_back({container, path_.size(), at_top_, unsaved});
  }

  void VisitObject(const Object& object) {
    const Global& global = heap_.GlobalOf({Kind::kGlobal, object.global});
    if (!global.allowed) {
      heap_.Charge(path_.size() + global.name.size() + 64);
      listing_.placeholders.push_back(fmt::format("{}: {}", path_, global.name));
      return;
    }
    if (object.state.kind != Kind::kDict) {
      Fail(ErrorCode::kBadValue, fmt::format("a {} without its state; {}", global.name, kDamaged));
    }
    const auto unsaved = Lookup(heap_, object.state, "_non_persistent_buffers_set");
    // Frames are a stack: the last one pushed is walked first.
    for (const std::string_view part : {"_modules", "_buffers", "_parameters"}) {
      const auto value = Lookup(heap_, object.state, part);
      if (!value || value->kind != Kind::kDict) continue;
      CheckKeys(*value);
      Open(*value, part == "_buffers" ? unsaved : std::nullopt);
    }
  }

  // In Python the last of equal keys wins; a reader that takes another one sees another model.
  void CheckKeys(Value dict) const {
    const auto& items = heap_.Items(dict);
    std::vector<uint32_t> order(items.size() / 2);
    std::iota(order.begin(), order.end(), 0u);
    const auto rank = [&](uint32_t i) {
      const Value key = items[2 * size_t{i}];
      const bool text = key.kind == Kind::kString && heap_.HasText(key);
      return std::tuple(key.kind, text ? heap_.Text(key) : std::string_view(), text ? 0 : key.bits);
    };
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return rank(a) < rank(b); });
    const auto twice = std::adjacent_find(order.begin(), order.end(), [&](auto a, auto b) {
      const Kind kind = items[2 * size_t{a}].kind;
      return (kind == Kind::kString || kind == Kind::kInt) && rank(a) == rank(b);
    });
    // Texts too long to be kept all look the same.
    if (twice == order.end() || !KeyText(heap_, items[2 * size_t{*twice}])) return;
    Fail(ErrorCode::kDuplicate,
         fmt::format("the key {} stands twice in this dict; {}",
                     Printable(*KeyText(heap_, items[2 * size_t{*twice}])), kDamaged));
  }

  Heap& heap_;
  Listing listing_;
  std::vector<Frame> frames_;
  std::string path_;
  bool at_top_ = true;
  uint64_t visits_ = 0;
};

bool AnyBelow(const Listing& listing, std::string_view prefix) {
  return std::any_of(listing.tensors.begin(), listing.tensors.end(),
                     [&](const NamedTensor& tensor) { return tensor.name.starts_with(prefix); });
}

}  // namespace

Listing ListTensors(Heap& heap, Value root) { return Walker(heap).Walk(root); }

std::string ModelPrefix(const Heap& heap, Value root, const Listing& listing) {
  constexpr std::array<std::string_view, 4> kWrappers = {"state_dict", "model_state_dict", "model",
                                                         "module"};
  constexpr std::array<std::string_view, 2> kNamePrefixes = {"module.", "_orig_mod."};
  std::string prefix;
  for (bool moved = true; moved && root.kind == Kind::kDict;) {
    moved = false;
    for (const std::string_view key : kWrappers) {
      const auto value = Lookup(heap, root, key);
      const bool inner = value && (value->kind == Kind::kDict || value->kind == Kind::kObject);
      const std::string below = fmt::format("{}{}.", prefix, key);
      if (!inner || below.size() > kMaxNameBytes || !AnyBelow(listing, below)) continue;
      prefix = below;
      root = *value;
      moved = true;
      break;
    }
  }
  if (!AnyBelow(listing, prefix)) return prefix;
  for (const std::string_view stripped : kNamePrefixes) {
    const std::string longer = prefix + std::string(stripped);
    const bool all =
        std::all_of(listing.tensors.begin(), listing.tensors.end(), [&](const NamedTensor& tensor) {
          return !tensor.name.starts_with(prefix) || tensor.name.starts_with(longer);
        });
    if (all) prefix = longer;
  }
  return prefix;
}

}  // namespace quern::formats::torch
