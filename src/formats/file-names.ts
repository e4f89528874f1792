// Names that the files of a checkpoint have beside its weights.

/** Configs by the names that model directories give them: HF's, and Meta's where there is no other. */
export const CONFIG_NAMES = ["config.json", "params.json"] as const;

export const isConfigName = (name: string): boolean => CONFIG_NAMES.some((known) => known === name);

/** What a model directory holds besides weights and config.json, and what the way back needs. */
const COMPANIONS: readonly RegExp[] = [
  /^tokenizer\.(?:json|model|model\.v\d+)$/,
  /^(?:tokenizer_config|special_tokens_map|added_tokens|generation_config)\.json$/,
  /^(?:vocab\.(?:json|txt)|merges\.txt|tekken\.json)$/,
  /^(?:spiece|sentencepiece\.bpe)\.model$/,
  /\.tiktoken$/,
  /^chat_template\.(?:json|jinja)$/,
  /^(?:preprocessor|processor|image_processor|video_preprocessor|feature_extractor)_config\.json$/,
];

/** Whether a file of this name is one for tokenizer, generation or processor. */
export const isCompanion = (name: string): boolean => COMPANIONS.some((pattern) => pattern.test(name));

/** What a trainer keeps beside its weights: no checkpoint of a model, and nothing that we write. */
export const TRAINER_FILE = /^(?:optimizer|scheduler|rng_state.*|scaler)\.pth?$/;

/** What a native target carries of its source: src/model/record.ts. */
export const RECORD_NAME = "convert-checkpoint.json";
