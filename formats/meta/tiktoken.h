// tiktoken's vocabulary files, which Meta ships as tokenizer.model from Llama 3 on.
//
// Text, one token per line: its bytes in base64, a space, its rank, which is its id; ranks count
// from 0. Lower ranks merge first. Special tokens are not in the file.
#ifndef QUERN_FORMATS_META_TIKTOKEN_H_
#define QUERN_FORMATS_META_TIKTOKEN_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quern::formats::meta {

inline constexpr uint64_t kMaxTiktokenBytes = uint64_t{64} << 20;
inline constexpr size_t kMaxTiktokenTokens = size_t{1} << 22;
inline constexpr size_t kMaxTiktokenTokenBytes = 256;  // Llama 3's longest has 128

// Whether a file that begins so can only be such a vocabulary: SentencePiece models, which have the
// same name, begin with a byte that base64 does not use.
bool LooksLikeTiktoken(std::string_view head);

// The tokens' bytes by rank. Throws kBadText (a line of another form, with its offset), kBadValue
// (a rank out of order, an empty token, a byte that is no token), kDuplicate, kLimitExceeded.
std::vector<std::string> ParseTiktoken(std::string_view text, std::string_view file);

// The ways to put a token together from two others, as Hugging Face's converter of such files lists
// them (transformers: TikTokenConverter): tokens by rank, for each all splits into two tokens, by
// the ranks of the parts.
struct TiktokenMerge {
  uint32_t left, right;  // ranks
};
std::vector<TiktokenMerge> TiktokenMerges(const std::vector<std::string>& tokens);

}  // namespace quern::formats::meta

#endif  // QUERN_FORMATS_META_TIKTOKEN_H_
