// A checkpoint that is on no disk: the tensors that a config describes, with seeded values, made as they are read.
import type { Dtype } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { FLOAT_BYTES, type Float, isFloat } from "../../base/floats.ts";
import type { Adapter } from "../../family/adapter.ts";
import { type Family, tableLayout } from "../../family/family.ts";
import type { Checkpoint, TensorInfo } from "../../formats/checkpoint.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { readConfig } from "../../model/configs/config-files.ts";
import { compileTable, type Table } from "../../table/plan.ts";
import { cast } from "../../views/cast.ts";
import { tensorInfo } from "../../views/tensor-source.ts";
import { roleOf } from "./roles.ts";
import { Values } from "./values.ts";

export interface SeededOptions {
  readonly adapters: readonly Adapter[];
  readonly family?: string | undefined;
  readonly seed: string;
  /** Of weights; the one that the config declares unless given, else BF16. */
  readonly dtype?: Float | undefined;
  /** Keys and shapes by a checkpoint, for a family that leaves them to its files. */
  readonly like?: ReadonlyMap<string, TensorInfo> | undefined;
}

/** A multiple of no element's size needs to be more: elements made at a time. */
const BLOCK = 1 << 16;

export interface Seeded {
  readonly checkpoint: Checkpoint;
  /** Of the config. */
  readonly family: Family;
}

const DECLARED: Readonly<Record<string, Float>> = { float32: "F32", float16: "F16", bfloat16: "BF16", float64: "F64" };

/** In Hugging Face's layout. Throws what reading the config throws, and InputError INIT_FAMILY, INIT_SHAPES. */
export function seededCheckpoint(config: PathOrLocation, options: SeededOptions): Seeded {
  const { path, folder, json } = readConfig(config);
  const family = familyAt(path, json.model_type, options).open(json, path, shapesOf(options.like));
  const dtype = options.dtype ?? DECLARED[family.dtype ?? ""] ?? "BF16";
  const tensors = tensorsOf(family, dtype, path, options.like);
  const layers = 1 + Math.max(0, ...[...tensors.keys()].map((key) => Number(/\blayers\.(\d+)\./.exec(key)?.[1] ?? 0)));
  const values = new Map(
    [...tensors.values()].map((info) => [info.key, new Values(options.seed, info.key, roleOf(info, layers, family))]),
  );
  const checkpoint: Checkpoint = {
    path: locate(config).path,
    folder,
    files: [],
    format: "safetensors",
    tensors,
    others: [],
    read(key, begin, target) {
      const info = tensors.get(key);
      const made = values.get(key);
      if (info === undefined || made === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)}`);
      readSeeded(made, info.dtype, begin, target);
    },
    verify: () => undefined,
    close: () => undefined,
  };
  return { checkpoint, family };
}

function readSeeded(values: Values, dtype: Dtype, begin: number, target: Uint8Array): void {
  if (!isFloat(dtype)) throw new RangeError(`no values of ${dtype}`);
  const size = FLOAT_BYTES[dtype];
  const [first, count] = [begin / size, target.length / size];
  const block = new Float32Array(Math.min(BLOCK, count));
  for (let done = 0; done < count; done += block.length) {
    const part = block.subarray(0, Math.min(block.length, count - done));
    values.fill(first + done, part);
    const bytes = new Uint8Array(part.buffer, 0, part.byteLength);
    target.set(dtype === "F32" ? bytes : cast(bytes, "F32", dtype), done * size);
  }
}

const shapesOf = (like: SeededOptions["like"]) =>
  like === undefined ? undefined : new Map([...like.values()].map(({ key, shape }) => [key, shape]));

function familyAt(file: string, type: unknown, { adapters, family }: SeededOptions): Adapter {
  const found = adapters.find((adapter) =>
    family === undefined ? adapter.modelTypes.some((each) => each === type) : adapter.family === family,
  );
  if (found !== undefined) return found;
  throw new InputError("INIT_FAMILY", `${file}: no family for model_type ${JSON.stringify(type) ?? "(none)"}`, {
    file,
    expected: adapters.map((adapter) => adapter.family).join(", "),
    found: family ?? JSON.stringify(type) ?? "no model_type",
    help: "give Hugging Face's config.json, or name the family with --family",
  });
}

/** Every tensor that files of Hugging Face must have, in the type of weights, or F32 where the family marks it as critical. */
function tensorsOf(
  family: Family,
  dtype: Float,
  file: string,
  like: SeededOptions["like"],
): ReadonlyMap<string, TensorInfo> {
  const native = tableLayout(family, family.hf);
  const table = compileTable(native.rules(), native.axes());
  const keys = like === undefined ? required(table, family, file) : [...like.values()];
  const wide = new Map(keys.map(({ key, shape }) => [key, tensorInfo(key, "F32", shape)]));
  // Proves that these tensors, and no others, make each tensor of the trainer's layout once.
  const { critical } = table.plan("fromHf", wide);
  return new Map([...wide].map(([key, info]) => [key, critical.has(key) ? info : tensorInfo(key, dtype, info.shape)]));
}

function required(table: Table, { family }: Family, file: string) {
  const all = table.tensors("hf").filter(({ need }) => need === "required");
  const known = all.map(({ key, shape }) => ({ key, shape: shape.map((size) => size ?? -1) }));
  const layers = known.some(({ key }) => /\blayers\.\d+\./.test(key));
  if (layers && known.every(({ shape }) => !shape.includes(-1))) return known;
  throw new InputError("INIT_SHAPES", `${file}: the tensors of ${family} models are known by their files alone`, {
    file,
    expected: "a folder that holds a checkpoint beside its config: its keys and shapes are taken",
    help: "give a folder with a checkpoint of this architecture, any weights in it",
  });
}
