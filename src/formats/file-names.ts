// Names that the files of a checkpoint have beside its weights.

/** Configs by the names that model directories give them: HF's, and Meta's where there is no other. */
export const CONFIG_NAMES = ["config.json", "params.json"] as const;

export const isConfigName = (name: string): boolean => CONFIG_NAMES.some((known) => known === name);

/** Chat templates beside the main one, a file each: transformers since 4.53. */
export const TEMPLATES_FOLDER = "additional_chat_templates";

/** Any of these is what a tokenizer is read from. */
const TOKENIZERS: readonly RegExp[] = [
  /^tokenizer\.(?:json|model|model\.v\d+)$/,
  /^(?:vocab\.(?:json|txt|bpe)|encoder\.json|tekken\.json)$/,
  /^(?:spiece|sentencepiece|sentencepiece\.bpe|tiktoken)\.model$/,
  /\.tiktoken$/,
];

/** What a model directory holds besides weights and config.json, and what the way back needs. */
const COMPANIONS: readonly RegExp[] = [
  ...TOKENIZERS,
  /^(?:tokenizer_config|special_tokens_map|added_tokens|generation_config)\.json$/,
  /^merges\.txt$/,
  /^chat_template\.(?:json|jinja)$/,
  new RegExp(`^${TEMPLATES_FOLDER}/[^/]+\\.jinja$`),
  /^(?:preprocessor|processor|image_processor|video_preprocessor|audio_preprocessor|feature_extractor)_config\.json$/,
];

/** Licences, notices, the model card, and what git needs to keep weights in the Hub. */
const DOCUMENTS: readonly RegExp[] = [
  /^(?:.+[-_.])?(?:licen[cs]es?|notices?|copying|use[-_]policy|acceptable[-_]use[-_]policy)(?:[-_.].+)?$/i,
  /^readme(?:\.(?:md|txt|rst))?$/i,
  /^\.gitattributes$/,
];

const CODE = /\.(?:py|pyc|json|sh|safetensors|pt|pth|bin|ckpt)$/i;

/** Whether a file of this name is one for tokenizer, generation or processor. */
export const isCompanion = (name: string): boolean => COMPANIONS.some((pattern) => pattern.test(name));

/** Whether a tokenizer can be read from a file of this name. */
export const isTokenizer = (name: string): boolean => TOKENIZERS.some((pattern) => pattern.test(name));

/** Whether a file of this name is text about a model that goes wherever the model goes. */
export const isDocument = (name: string): boolean =>
  DOCUMENTS.some((pattern) => pattern.test(name)) && !CODE.test(name);

/** What a trainer keeps beside its weights: no checkpoint of a model, and nothing that we write. */
export const TRAINER_FILE = /^(?:optimizer|scheduler|rng(?:_state.*)?|scaler|data|trainer_state)\.pth?$/;

/** Where Megatron-LM, slime and verl say which step of a run is the latest: `100`; Megatron also `release`. */
export const TRACKER_FILE = "latest_checkpointed_iteration.txt";

/** Of PEFT: what an adapter is, beside its weights. */
export const ADAPTER_CONFIG = "adapter_config.json";
/** Weights of a PEFT adapter, by peft's own name for them: beside a base's they are not the model. */
export const ADAPTER_FILE = /^adapter_model\.(?:safetensors|bin)$/;

/** What a native target carries of its source: src/model/record.ts. */
export const RECORD_NAME = "convert-checkpoint.json";
