// A way to make a fault on a good model: what a conversion can get wrong, in the places where this model can have it.
import type { JsonObject } from "../../base/json.ts";
import { type Change, edited } from "../edit.ts";
import type { Sample } from "../fault.ts";

/** The sample with a fault, and what was changed for it. */
export interface Made extends Sample {
  /** Hugging Face keys of tensors that are new, gone or other now. */
  readonly tensors: readonly string[];
  /** Fields of config.json that have another value now, nested ones by their path: `rope_parameters.rope_theta`. */
  readonly fields: readonly string[];
}

export interface Kind {
  /** Public: `mutate --fault NAME`. */
  readonly name: string;
  /** What reports must call it, as `cause.code`. Null for a control: what the model computes is the same. */
  readonly code: string | null;
  /** Other codes that are as right. */
  readonly alsoCodes?: readonly string[];
  /** One line: what is wrong, and where it was seen. */
  readonly about: string;
  /** Whether all keys, shapes and dtypes stay: then no header shows the fault. */
  readonly keepsShapes: boolean;
  /** Taps of a forward pass where the fault shows first, of one that no tensor holds: `layers.0.attn`, `logits`. */
  readonly taps?: RegExp;
  /** Where this model can have it: Hugging Face keys, or fields of the config. Empty where it has no place for it. */
  places(sample: Sample): readonly string[];
  /** The model with the fault in one of its places. @param seed of what is random in it; equal seeds give equal models */
  make(sample: Sample, place: string, seed?: number): Made;
}

/** The sample with some tensors replaced, added or (null) taken away. */
export const withTensors = ({ source, config }: Sample, changes: Readonly<Record<string, Change | null>>): Made => ({
  source: edited(source, changes),
  config,
  tensors: Object.keys(changes),
  fields: [],
});

/** The sample with another config. @param fields what differs in it */
export const withConfig = ({ source }: Sample, config: JsonObject, fields: readonly string[]): Made => ({
  source,
  config,
  tensors: [],
  fields,
});

/** What is told of a kind whose every place is one tensor that gets other bytes. */
export interface TensorKind extends Omit<Kind, "keepsShapes" | "make" | "taps"> {
  bytes(sample: Sample, key: string, seed: number): Uint8Array;
}

export const tensorKind = ({ bytes, ...kind }: TensorKind): Kind => ({
  ...kind,
  keepsShapes: true,
  make: (sample, key, seed = 0) => withTensors(sample, { [key]: { bytes: bytes(sample, key, seed) } }),
});
