// Good pairs: two ways to hold one model. Whatever refuses one raises a false alarm.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import { ConvertCheckpointError } from "../../src/base/errors.ts";
import { convert } from "../../src/convert/convert.ts";
import { type ConversionOptions, planConversion } from "../../src/convert/plan.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { match } from "../../src/verify/identity/match.ts";
import { seal } from "../../src/verify/identity/seal.ts";
import { everyKnown, fixtureCases } from "../helpers/fixtures.ts";
import type { Base } from "./bases.ts";

export interface GoodPair {
  readonly name: string;
  /** How the two differ. */
  readonly how: string;
  /** Whether the files hold other bytes: another type, other dims, other keys. */
  readonly bits: boolean;
  readonly family: string;
  readonly a: string;
  /** Made of `a` where there is a conversion. */
  readonly b: string | ConversionOptions;
  /** Layout that b is converted to: one that has a place for all of it, which the default may lack. */
  readonly to: string;
  readonly config: string;
  readonly inputs: string | null;
  /** Whether b is a cast of a that was asked for. */
  readonly cast: boolean;
  readonly runs: boolean;
}

export interface PairRow {
  readonly name: string;
  readonly how: string;
  readonly bits: boolean;
  /** What refused it, by check; empty where nothing did. */
  readonly alarms: readonly string[];
  readonly ran: readonly string[];
  readonly seconds: number;
}

const EVERY_SO_MANY = 3;

export function goodPairs(unrun: readonly Base[]): readonly GoodPair[] {
  const plain = { cast: false, runs: true } as const;
  const layouts = fixtureCases.map(
    (one): GoodPair => ({
      name: one.name,
      how: `${one.layout} as DCP, hf as safetensors`,
      bits: true,
      family: one.family,
      a: one.native,
      b: one.hf,
      to: one.layout,
      config: one.hf,
      inputs: one.inputs,
      ...plain,
    }),
  );
  const variants = fixtureCases.flatMap(({ name, family, layout, natives, hfs, native, hf, inputs }) => [
    ...Object.entries(natives)
      .filter(([, path]) => path !== native)
      .map(
        ([folder, path]): GoodPair => ({
          name: `${name}/${folder}`,
          how: "other ranks",
          bits: false,
          family,
          a: path,
          b: hf,
          to: layout,
          config: hf,
          inputs,
          ...plain,
        }),
      ),
    ...Object.entries(hfs)
      .filter(([, path]) => path !== hf)
      .map(
        ([folder, path]): GoodPair => ({
          name: `${name}/${folder}`,
          how: "other shards, names or config",
          bits: /saved|hub/.test(folder),
          family,
          a: native,
          b: path,
          to: layout,
          config: hf,
          inputs,
          ...plain,
        }),
      ),
  ]);
  const made = fixtureCases.flatMap(({ name, family, layout, dtype, hf, native, inputs }, i): GoodPair[] => {
    const of = { family, config: hf, inputs };
    return [
      ...(dtype === "F32" && i % 2 === 0
        ? [
            {
              name: `${name} bf16`,
              how: "cast to bf16, asked for (--after-cast)",
              bits: true,
              a: native,
              b: { adapters, config: hf, dtype: ["bf16"] },
              to: layout,
              cast: true,
              runs: true,
              ...of,
            },
            {
              name: `${name} f16`,
              how: "cast to f16, asked for (--after-cast)",
              bits: true,
              a: hf,
              b: { adapters, dtype: ["f16"], to: layout },
              to: "hf",
              cast: true,
              runs: false,
              ...of,
            },
          ]
        : []),
      ...(i % EVERY_SO_MANY === 0
        ? [
            {
              name: `${name} shards`,
              how: "converted, in shards of 40 kB",
              bits: true,
              a: native,
              b: { adapters, config: hf, maxShardSize: 40_000 },
              to: layout,
              cast: false,
              runs: false,
              ...of,
            },
          ]
        : []),
    ];
  });
  const others = unrun.map(
    ({ name, family, layout, native, hf, config }): GoodPair => ({
      name,
      how: `${layout} against hf`,
      bits: true,
      family,
      a: native,
      b: hf,
      to: layout,
      config,
      inputs: null,
      cast: false,
      runs: false,
    }),
  );
  return [...layouts, ...variants, ...made, ...others];
}

export async function tryPair(pair: GoodPair, parent: string): Promise<PairRow> {
  const begin = performance.now();
  const folder = mkdtempSync(join(parent, "pair-"));
  const alarms: string[] = [];
  const ran: string[] = [];
  const ask = async (check: string, run: () => Promise<{ readonly verdict: string } | null>) => {
    try {
      const said = await run();
      if (said === null) return;
      ran.push(check);
      if (said.verdict !== "pass") alarms.push(check);
    } catch (error) {
      if (!(error instanceof ConvertCheckpointError)) throw error;
      ran.push(check);
      alarms.push(`${check}: ${error.code}`);
    }
  };
  const { a: left, b: right, to, config, cast, family, inputs, runs } = pair;
  const a = openCheckpoint(left);
  const path = typeof right === "string" ? right : join(folder, "made");
  if (typeof right !== "string") await convert(planConversion(a, path, right), { fsync: false });
  const b = openCheckpoint(path);
  const options = { adapters, config };
  try {
    await ask("diff", () => diff(a, b, { a: options, b: options, afterCast: cast }));
    await ask("seal", async () => (cast ? null : match(b, (await seal(a, options)).seal, options)));
    await ask("coverage", async () => {
      await convert(planConversion(b, join(folder, "converted"), { ...options, to }), { fsync: false });
      return { verdict: "pass" };
    });
    await ask("parity", async () =>
      runs
        ? runParity({
            a: openModel(a, options),
            b: openModel(b, options),
            input: inputs === null ? { kind: "random", tokens: 96 } : { kind: "inputs", file: inputs },
            backend: "cpu",
            afterCast: cast,
            acceptKnown: everyKnown(family),
          })
        : null,
    );
  } finally {
    a.close();
    b.close();
    rmSync(folder, { recursive: true, force: true });
  }
  const { name, how, bits } = pair;
  return { name, how, bits, alarms, ran, seconds: (performance.now() - begin) / 1e3 };
}
