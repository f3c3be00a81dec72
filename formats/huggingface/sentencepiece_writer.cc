#include "formats/huggingface/sentencepiece.h"
#include "formats/huggingface/sentencepiece_model.pb.h"

namespace quern::formats::huggingface {
namespace {

int64_t IdOrNone(const std::optional<uint32_t>& id) { return id ? int64_t{*id} : -1; }

void FillTrainer(const SentencePieceModel& model, proto::TrainerSpec& trainer) {
  trainer.set_model_type(static_cast<int64_t>(model.kind));
  trainer.set_vocab_size(model.declared_vocab_size);
  trainer.set_treat_whitespace_as_suffix(model.treat_whitespace_as_suffix);
  trainer.set_byte_fallback(model.byte_fallback);
  trainer.set_unk_id(IdOrNone(model.unk_id));
  trainer.set_bos_id(IdOrNone(model.bos_id));
  trainer.set_eos_id(IdOrNone(model.eos_id));
  trainer.set_pad_id(IdOrNone(model.pad_id));
  if (!model.unk_piece.empty()) trainer.set_unk_piece(model.unk_piece);
  if (!model.bos_piece.empty()) trainer.set_bos_piece(model.bos_piece);
  if (!model.eos_piece.empty()) trainer.set_eos_piece(model.eos_piece);
  if (!model.pad_piece.empty()) trainer.set_pad_piece(model.pad_piece);
  if (!model.unk_surface.empty()) trainer.set_unk_surface(model.unk_surface);
}

void FillNormalizer(const SentencePieceModel& model, proto::NormalizerSpec& normalizer) {
  normalizer.set_name(model.normalizer);
  normalizer.set_precompiled_charsmap(model.precompiled_charsmap);
  normalizer.set_add_dummy_prefix(model.add_dummy_prefix);
  normalizer.set_remove_extra_whitespaces(model.remove_extra_whitespaces);
  normalizer.set_escape_whitespaces(model.escape_whitespaces);
}

}  // namespace

std::string SerializeSentencePieceModel(const SentencePieceModel& model) {
  proto::Model stored;
  for (const Piece& piece : model.pieces) {
    proto::SentencePiece& entry = *stored.add_pieces();
    entry.set_piece(piece.text);
    entry.set_score(piece.score);
    entry.set_type(static_cast<int64_t>(piece.type));
  }
  FillTrainer(model, *stored.mutable_trainer_spec());
  FillNormalizer(model, *stored.mutable_normalizer_spec());
  return stored.SerializeAsString();
}

}  // namespace quern::formats::huggingface
