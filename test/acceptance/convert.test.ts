// A fixture of every family converted by the built command, against what torchtitan and transformers themselves made of it.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { commandCases, type TensorHash } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { byKey, hashes, run } from "./command.ts";

const convert = (from: string, to: string, ...options: string[]): void => {
  const { code, stderr } = run("convert", from, to, "--no-fsync", ...options);
  expect(code, stderr).toBe(0);
};

/** Buffers that from_hf leaves to the model, and a strict load asks for: zeros in F32. */
function withoutBuffers(tensors: readonly [string, TensorHash][]): [string, TensorHash][] {
  return tensors.filter(([key, { dtype, shape, sha256 }]) => {
    const zeros = createHash("sha256").update(new Uint8Array(4 * shape[0]!));
    return !(/\.expert_bias(_E)?$/.test(key) && dtype === "F32" && sha256 === zeros.digest("hex"));
  });
}

/** Kimi-VL's spelling of the projector: the fixture's config.json, which transformers wrote, is Kimi K2.5's. */
const inCanonicalSpelling = (key: string): string =>
  key.replace(/^multi_modal_projector\.(?:linear_(\d)\.|)/, (_, i) =>
    i === undefined ? "mm_projector." : `mm_projector.proj.${2 * (i - 1)}.`,
  );

describe.each(commandCases)("$name", ({ natives, hfs, hf, layout, toHf, fromHf }) => {
  test.each(Object.entries(natives))("%s → HF: the tensors of torchtitan's to_hf, bit for bit", (_, from) => {
    const target = join(scratch(), "hf");
    convert(from, target, "--config", hf);
    const expected = [...toHf].map(([key, hash]): [string, TensorHash] => [inCanonicalSpelling(key), hash]);
    expect(hashes(target)).toEqual(expected.sort(byKey));
  });

  test.each(Object.entries(hfs))(
    "%s → DCP: the tensors of torchtitan's from_hf, and the same files back",
    (_, from) => {
      const directory = scratch();
      const [there, raw, back] = [join(directory, "dcp"), join(directory, "raw"), join(directory, "hf")];
      convert(from, there, "--to", layout);
      convert(there, raw, "--to", "raw", "--format", "safetensors");
      expect(withoutBuffers(hashes(raw))).toEqual(withoutBuffers([...fromHf].sort(byKey)));
      convert(there, back);
      expect(readdirSync(back).sort()).toEqual(readdirSync(from).sort());
      for (const name of readdirSync(from))
        expect(readFileSync(join(back, name)).equals(readFileSync(join(from, name))), name).toBe(true);
    },
  );
});
