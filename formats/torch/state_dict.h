// Which tensors a pickle holds and what they are called: the tree of dicts, lists, tuples and
// modules walked depth first, in the order of the pickle.
//
// A name is the dotted path: keys of dicts, indices of lists and tuples, names inside a module's
// state dict (its parameters, its persistent buffers, then its submodules). Sets and placeholders
// are not entered. Two tensors of one name, or a dict that has a key twice, are refused.
#ifndef QUERN_FORMATS_TORCH_STATE_DICT_H_
#define QUERN_FORMATS_TORCH_STATE_DICT_H_

#include <string>
#include <string_view>
#include <vector>

#include "formats/torch/pickle_value.h"

namespace quern::formats::torch {

struct NamedTensor {
  std::string name;
  Value tensor;
};

struct Listing {
  std::vector<NamedTensor> tensors;
  std::vector<std::string> placeholders;  // "path: class", of objects that were not entered
};

// How deep tensors may be nested.
inline constexpr size_t kMaxDepth = 100;
// Bytes of the longest name.
inline constexpr size_t kMaxNameBytes = 1024;

// Throws kLimitExceeded, kDuplicate, kBadValue (a module without its state), kBadType (a tensor
// under a key that has no textual form).
Listing ListTensors(Heap& heap, Value root);

// The prefix of the names that belong to the model, with its last dot, or "" for all of them:
//  1. From the top, as long as the dict at hand has one of the keys state_dict, model_state_dict,
//     model, module (in this order of preference) under which there are tensors, go there. A key
//     that only begins so ("model.embed.weight") is a tensor's name and leads nowhere.
//  2. If every name below then begins with "module." (DataParallel) or "_orig_mod."
//  (torch.compile),
//     that belongs to the prefix, too.
std::string ModelPrefix(const Heap& heap, Value root, const Listing& listing);

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_STATE_DICT_H_
