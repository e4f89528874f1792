import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { planSafetensors } from "../../../src/formats/safetensors/write.ts";
import { scratch } from "../../helpers/scratch.ts";
import { payloadsOf } from "../dcp/tamper.ts";
import { writeOutput } from "../dcp/write-output.ts";

/** Shards of a tensor each, with their index. */
function write(directory: string, singleName: string, keys: readonly string[]): string {
  const tensors = keys.map((key) => ({ key, dtype: "F32" as const, shape: [2] }));
  writeOutput(directory, planSafetensors(tensors, { singleName, maxShardSize: 8 }), payloadsOf(tensors));
  return directory;
}

const VARIANT = "model.safetensors.index.fp16.json";

/** As transformers saves a variant: its name is in the shards' stem, and behind `index` in the index. */
function writeVariant(directory: string, keys: readonly string[]): string {
  const at = write(scratch(), "model.fp16.safetensors", keys);
  for (let i = 1; i <= keys.length; i++) {
    const name = `model.fp16-0000${i}-of-0000${keys.length}.safetensors`;
    copyFileSync(join(at, name), join(directory, name));
  }
  copyFileSync(join(at, "model.fp16.safetensors.index.json"), join(directory, VARIANT));
  return directory;
}

const keysOf = (path: string): string[] => {
  const checkpoint = openSafetensors(path);
  checkpoint.close();
  return [...checkpoint.tensors.keys()];
};

test("a sharded variant is read by its folder and by its index; the plain one comes before it", () => {
  const directory = writeVariant(scratch(), ["a", "b"]);
  expect(keysOf(directory)).toEqual(["a", "b"]);
  expect(keysOf(join(directory, VARIANT))).toEqual(["a", "b"]);
  write(directory, "model.safetensors", ["c", "d", "e"]);
  expect(keysOf(directory)).toEqual(["c", "d", "e"]);
  expect(keysOf(join(directory, VARIANT))).toEqual(["a", "b"]);
});

test("single files: of a name other than model, the plain one is meant", () => {
  const directory = scratch();
  write(directory, "unet.safetensors", ["a"]);
  write(directory, "unet.fp16.safetensors", ["b"]);
  expect(keysOf(directory)).toEqual(["a"]);
  write(directory, "vae.safetensors", ["c"]);
  expect(() => keysOf(directory)).toThrow("more than one checkpoint");
});

test("an index that was named counts where shards of another split lie beside it", () => {
  const directory = write(scratch(), "model.safetensors", ["a", "b"]);
  const stray = "model-00001-of-00005.safetensors";
  copyFileSync(join(directory, "model-00001-of-00002.safetensors"), join(directory, stray));
  expect(() => keysOf(directory)).toThrow(`the shard ${stray} beside it is not in the index`);
  expect(keysOf(join(directory, "model.safetensors.index.json"))).toEqual(["a", "b"]);
  const sameSplit = write(scratch(), "model.safetensors", ["a", "b"]);
  const text = readFileSync(join(sameSplit, "model.safetensors.index.json"), "utf8");
  writeFileSync(join(sameSplit, "model.safetensors.index.json"), text.replace(/,\n\s*"b".*/, ""));
  expect(() => keysOf(join(sameSplit, "model.safetensors.index.json"))).toThrow("is not in the index");
});
