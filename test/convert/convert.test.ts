// Conversions of what torchtitan and transformers wrote, against the hashes of what torchtitan itself makes of it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

function expectSameFiles(a: string, b: string): void {
  expect(readdirSync(b).sort()).toEqual(readdirSync(a).sort());
  for (const name of readdirSync(a)) {
    expect(readFileSync(join(b, name)).equals(readFileSync(join(a, name))), name).toBe(true);
  }
}

/** Buffers that upstream's from_hf leaves to the model: made again here, as torchtitan's strict load asks for them. */
const isBuffer = ([key]: readonly [string, unknown]) => /\.(?:moe|mlp)\.expert_bias(_E)?$/.test(key);

/** Kimi-VL spells the projector in its own way, which only a record can tell of a native checkpoint. */
const asWithoutRecord = <T>([key, hash]: readonly [string, T]): [string, T] => [
  key.replace(
    /^multi_modal_projector\.(linear_(\d))?/,
    (_, linear, i) => `mm_projector.${linear ? `proj.${2 * i - 2}` : ""}`,
  ),
  hash,
];

describe.each(tableCases)("$name", (one) => {
  const mapped = (native: string) =>
    new Map([...hashes(native)].filter((tensor) => one.fromHf.has(tensor[0]) || !isBuffer(tensor)));

  it.each(Object.entries(one.natives))("%s → hf is what torchtitan's to_hf makes", async (_, native) => {
    const target = join(scratch(), "hf");
    await converted(native, target, { config: one.hf });
    expect(sorted(hashes(target))).toEqual(sorted(new Map([...one.toHf].map(asWithoutRecord))));
    expect(readFileSync(join(target, "config.json"), "utf8")).toBe(readFileSync(join(one.hf, "config.json"), "utf8"));
  });

  it.each(Object.entries(one.hfs))("%s → native is what torchtitan's from_hf makes", async (_, hf) => {
    const target = join(scratch(), "native");
    await converted(hf, target, { to: one.layout });
    expect(sorted(mapped(target))).toEqual(sorted(one.fromHf));
    const buffers = [...hashes(target)].filter(isBuffer);
    expect(buffers.map(([key]) => key).sort()).toEqual(
      [...hashes(one.native)]
        .filter(isBuffer)
        .map(([key]) => key)
        .sort(),
    );
    expect(buffers.every(([, { dtype }]) => dtype === "F32")).toBe(true);
  });

  it.each(Object.entries(one.hfs))("%s → native → hf gives the same files", async (_, hf) => {
    const directory = scratch();
    await converted(hf, join(directory, "native"));
    await converted(join(directory, "native"), join(directory, "hf"));
    expectSameFiles(hf, join(directory, "hf"));
  });

  it.each(Object.entries(one.natives))("%s → hf → native gives the same bits", async (_, native) => {
    const directory = scratch();
    await converted(native, join(directory, "hf"), { config: one.hf });
    await converted(join(directory, "hf"), join(directory, "native"), { to: one.layout });
    const model = [...hashes(native)].filter(([key]) => one.fromHf.has(key));
    expect(sorted(mapped(join(directory, "native")))).toEqual(sorted(new Map(model)));
  });
});
