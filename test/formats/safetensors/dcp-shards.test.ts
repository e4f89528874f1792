import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../src/model/open.ts";
import { openingCode } from "../../helpers/checkpoints.ts";
import { scratch } from "../../helpers/scratch.ts";
import { expectedTensors, plainTensors, sorted } from "../dcp/expected.ts";
import { HF_SHARDS } from "./hf-shards.ts";

function copyOf(ranks: readonly number[]): string {
  const directory = scratch();
  for (const name of HF_SHARDS.names) {
    if (ranks.includes(Number(name.slice(6, 11)))) copyFileSync(join(HF_SHARDS.folder, name), join(directory, name));
  }
  return directory;
}

test("the shards of all ranks are whole tensors: cut along any axis, unevenly, or saved once", () => {
  const checkpoint = openCheckpoint(HF_SHARDS.folder);
  expect(checkpoint.format).toBe("safetensors");
  const expected = sorted(expectedTensors(HF_SHARDS.name));
  expect(expected.map(([key]) => key)).toEqual(["a", "b", "c", "d", "e", "f"]);
  expect(sorted(plainTensors(checkpoint))).toEqual(expected);
  expect(sorted(plainTensors(checkpoint, 5))).toEqual(expected);
  expect(checkpoint.files).toEqual(HF_SHARDS.names);
  checkpoint.verify();
  checkpoint.close();
});

test("shards of one rank, or of some, are never whole tensors", () => {
  expect(openingCode(copyOf([1]))).toBe("SHARD_ALONE");
  expect(openingCode(copyOf([2]))).toBe("SHARD_ALONE");
  expect(openingCode(copyOf([1, 3]))).toBe("SHARD_ALONE");
  for (const name of HF_SHARDS.names) expect(openingCode(join(HF_SHARDS.folder, name))).toBe("SHARD_ALONE");
});

test("a shard of another name whose tensors begin elsewhere is refused, too", () => {
  const directory = scratch();
  const second = HF_SHARDS.names.find((name) => name.startsWith("shard-00002-model-00001"));
  copyFileSync(join(HF_SHARDS.folder, second ?? ""), join(directory, "blob"));
  expect(openingCode(join(directory, "blob"))).toBe("SHARD_ALONE");
});

test("a hole between the parts is refused", () => {
  const directory = copyOf([1, 2, 3]);
  rmSync(join(directory, "shard-00002-model-00001-of-00003.safetensors"));
  expect(openingCode(directory)).toBe("DCP_CHUNK_HOLE");
});
