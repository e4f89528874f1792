// Methods of quantisation that are known and not read: by the config's word for it, and by the keys that they store.

import type { Dtype } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { JsonObject } from "../base/json.ts";
import { encodingNamed, quantisationOf, methodOf as wordOf } from "../encodings/quantisation.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";

type Tensors = ReadonlyMap<string, TensorInfo>;

interface Method {
  readonly name: string;
  /** `quant_method` of configs. */
  readonly configs: readonly string[];
  /** Keys that it alone stores. */
  readonly key?: RegExp;
  /** What else has to hold of a tensor with such a key. */
  readonly is?: (info: TensorInfo, tensors: Tensors) => boolean;
  /** How its own tools give the weights back, decoded. */
  readonly decoder?: string;
  /** Whether they do so only where the config names the method. */
  readonly needsConfig?: true;
}

/** As transformers 5 decodes; its own save_pretrained refuses what it decoded. */
const decoded = (options: string, then: string): string =>
  `torch.save(AutoModelForCausalLM.from_pretrained(FOLDER${options})${then}.state_dict(), 'model.pt') in Python, then convert model.pt with --config FOLDER --encoding none`;

const sibling = (key: string, from: RegExp, to: string, tensors: Tensors): TensorInfo | undefined =>
  tensors.get(key.replace(from, to));

const stemIs = (dtypes: readonly Dtype[], end: RegExp, of: string) => (info: TensorInfo, tensors: Tensors) => {
  const codes = sibling(info.key, end, of, tensors);
  return codes !== undefined && dtypes.includes(codes.dtype);
};

const FP8: readonly Dtype[] = ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"];
const COMPRESSED = decoded(", quantization_config=CompressedTensorsConfig(dequantize=True)", "");

/** In the order in which they are looked for: a method whose keys are a part of another's comes behind it. */
const METHODS: readonly Method[] = [
  {
    name: "bitsandbytes",
    configs: ["bitsandbytes"],
    key: /\.(?:SCB|quant_state\.bitsandbytes__\w+|(?:weight\.)(?:nested_)?(?:absmax|quant_map))$/,
    decoder: decoded("", ".dequantize()"),
    needsConfig: true,
  },
  { name: "HQQ", configs: ["hqq"], key: /\.W_q$/ },
  { name: "AQLM", configs: ["aqlm"], key: /\.codebooks$/ },
  { name: "VPTQ", configs: ["vptq"], key: /\.centroids(?:\.weight)?$/ },
  { name: "GPTQ", configs: ["gptq", "auto-round"], key: /\.g_idx$/ },
  { name: "AWQ", configs: ["awq"], key: /\.qzeros$/ },
  { name: "packed integers (GPTQ, AWQ)", configs: [], key: /\.qweight$/ },
  {
    name: "NVFP4 of compressed-tensors",
    configs: [],
    key: /\.weight_global_scale$/,
    decoder: COMPRESSED,
    needsConfig: true,
  },
  { name: "NVFP4 of ModelOpt", configs: ["modelopt"], key: /\.weight_scale_2$/ },
  {
    name: "MXFP4 of compressed-tensors",
    configs: [],
    key: /_packed$/,
    is: ({ key, dtype }, tensors) => dtype === "U8" && sibling(key, /_packed$/, "_scale", tensors)?.dtype === "U8",
    decoder: COMPRESSED,
    needsConfig: true,
  },
  {
    name: "compressed-tensors",
    configs: ["compressed-tensors"],
    key: /\.weight_packed$/,
    decoder: COMPRESSED,
    needsConfig: true,
  },
  { name: "torchao", configs: ["torchao"], key: /\._?weight_qdata$/ },
  { name: "quanto", configs: ["quanto"], key: /\.weight\._data(?:\._data)?$/ },
  {
    name: "MLX",
    configs: [],
    key: /\.scales$/,
    is: stemIs(["U32"], /\.scales$/, ".weight"),
    decoder: "mlx_lm.convert --hf-path FOLDER --mlx-path OUT --dequantize",
  },
  {
    name: "FP8 with a scale a tensor or a row (compressed-tensors, ModelOpt, FBGEMM)",
    configs: ["fbgemm_fp8"],
    key: /\.weight_scale$/,
    is: stemIs(FP8, /\.weight_scale$/, ".weight"),
    decoder: COMPRESSED,
    needsConfig: true,
  },
  {
    name: "INT8 with a scale a tensor or a row (compressed-tensors, EETQ)",
    configs: ["eetq"],
    key: /\.weight_scales?$/,
    is: stemIs(["I8"], /\.weight_scales?$/, ".weight"),
  },
  { name: "BitNet", configs: ["bitnet"], key: /\.weight_scale$/, is: stemIs(["U8"], /\.weight_scale$/, ".weight") },
  { name: "HIGGS", configs: ["higgs"], key: /\.tables2?$/ },
];

const ANY_KEY = new RegExp(METHODS.map(({ key }) => key?.source ?? "(?!)").join("|"));

export interface Quantised {
  /** In words. */
  readonly method: string;
  /** A key that shows it. */
  readonly example: string;
  /** What the config says, as it stands; null where it says nothing. */
  readonly declared: JsonObject | null;
  readonly help: string;
}

/** Whether a tensor may hold codes. Integers of 64 bits and truth values are buffers. */
const isCode = ({ dtype, shape }: TensorInfo): boolean =>
  shape.length > 1 && !isFloat(dtype) && !["I64", "U64", "BOOL", "C64"].includes(dtype);

/**
 * What stores the weights in codes that are not read here. The config's word for it names the method where codes are stored;
 * where the config says nothing, or one of the encodings that are read, the keys do.
 * @param tensors the model's
 */
export function quantisedBy(tensors: Tensors, config: JsonObject | null): Quantised | null {
  const declared = quantisationOf(config);
  const word = declared === null || encodingNamed(declared) !== null ? null : wordOf(declared);
  const byKeys = methodOf(tensors);
  const example = byKeys?.example ?? (word === null ? undefined : [...tensors.values()].find(isCode)?.key);
  if (example === undefined) return null;
  const known = METHODS.find(({ configs }) => word !== null && configs.includes(word)) ?? byKeys?.method;
  return {
    method: word === null ? known!.name : spelled(word, declared),
    example,
    declared,
    help: helpOf(known, word),
  };
}

/** `compressed-tensors (nvfp4-pack-quantized)` */
function spelled(word: string, declared: JsonObject | null): string {
  const detail = [declared?.format, declared?.bnb_4bit_quant_type].find((each) => typeof each === "string");
  return typeof detail === "string" && detail !== word ? `${word} (${detail})` : word;
}

function helpOf(method: Method | undefined, word: string | null): string {
  const others = "take the model's unquantised weights, or change the container alone with --to raw";
  if (method?.decoder === undefined || (word === null && method.needsConfig === true)) return others;
  return `${others}; to decode what you have: ${method.decoder}`;
}

function methodOf(tensors: Tensors): { readonly method: Method; readonly example: string } | null {
  const found = new Map<Method, string>();
  for (const info of tensors.values()) {
    // Of most keys this is all that is looked at.
    if (!ANY_KEY.test(info.key)) continue;
    const method = METHODS.find(({ key, is }) => key?.test(info.key) === true && (is?.(info, tensors) ?? true));
    if (method !== undefined && !found.has(method)) found.set(method, info.key);
  }
  const method = METHODS.find((each) => found.has(each));
  return method === undefined ? null : { method, example: found.get(method)! };
}
