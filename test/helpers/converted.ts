// Conversions as a library call, and what is in a checkpoint, by hash.
import { createHash } from "node:crypto";
import { adapters } from "../../adapters/registry.ts";
import { type Conversion, type ConvertOptions, convert } from "../../src/convert/convert.ts";
import { type ConversionOptions, planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import type { TensorHash } from "./fixtures.ts";

export type Options = Partial<ConversionOptions> & { readonly config?: string } & Pick<ConvertOptions, "force">;

/** Converts with the built-in families; `config` is what --config gives. */
export async function converted(
  from: string,
  to: string,
  { config, force = false, ...options }: Options = {},
): Promise<Conversion> {
  const source = openCheckpoint(from);
  try {
    const plan = planConversion(source, to, { adapters, config, ...options });
    return await convert(plan, { fsync: false, force });
  } finally {
    source.close();
  }
}

/** Every tensor of a checkpoint. */
export function hashes(path: string): Map<string, TensorHash> {
  const checkpoint = openCheckpoint(path);
  try {
    return new Map(
      [...checkpoint.tensors.values()].map(({ key, dtype, shape, byteLength }) => {
        const bytes = new Uint8Array(byteLength);
        checkpoint.read(key, 0, bytes);
        return [key, { dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }];
      }),
    );
  } finally {
    checkpoint.close();
  }
}

export const sorted = (map: ReadonlyMap<string, TensorHash>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
