// Files of ranks that verl, accelerate and torch itself wrote: fixtures/generate/rank_files.py.
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { opened } from "../../helpers/checkpoints.ts";
import { scratch } from "../../helpers/scratch.ts";

const HOME = fileURLToPath(new URL("../../../fixtures/ranks/", import.meta.url));

/** What the trainer's model held as a whole, by its own state_dict before it was cut. */
const expected = (name: string): unknown => JSON.parse(readFileSync(join(HOME, name, "expected.json"), "utf8"));

const hashes = (path: string, step = Number.POSITIVE_INFINITY) =>
  opened(path, (checkpoint) => {
    const found = [...checkpoint.tensors.values()].map(({ key, dtype, shape, byteLength }) => {
      const bytes = Buffer.alloc(byteLength);
      for (let at = 0; at < byteLength; at += step)
        checkpoint.read(key, at, bytes.subarray(at, Math.min(at + step, byteLength)));
      return [key, { dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }] as const;
    });
    checkpoint.verify();
    return Object.fromEntries(found);
  });

/** A copy of a case that may be damaged. */
function copyOf(name: string): string {
  const folder = join(scratch(), name);
  cpSync(join(HOME, name), folder, { recursive: true });
  return folder;
}

const file = (world: number, rank: number): string => `model_world_size_${world}_rank_${rank}.pt`;

function refusal(path: string): InputError {
  try {
    openCheckpoint(path).close();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error(`${path} opened`);
}

test.each([
  ["verl-fsdp2", "verl, three ranks of FSDP2, unevenly cut"],
  ["verl-hsdp", "verl, two by two: replicas of what is cut"],
  ["verl-fsdp1", "verl, FSDP1 on a mesh of devices"],
  ["fsdp2-tp", "FSDP2 of what tensor parallelism cut along the same dim, and along another"],
  ["columns", "cut along the second dim"],
  ["accelerate-ranks", "accelerate, FSDP1 without a mesh: ShardedTensors"],
  ["torch-2.4.1/fsdp2", "FSDP2 of torch 2.4", "torch-2.4.1"],
  ["torch-2.4.1/fsdp1", "FSDP1 of torch 2.4", "torch-2.4.1"],
  ["torch-2.7.1/fsdp2", "FSDP2 of torch 2.7", "torch-2.7.1"],
  ["torch-2.11.0/fsdp2", "FSDP2 of torch 2.11", "torch-2.11.0"],
])("%s: %s", async (name, _, whole = name) => {
  expect(await hashes(join(HOME, name))).toEqual(expected(whole));
});

test("any bytes of a joined tensor can be read", async () => {
  expect(await hashes(join(HOME, "fsdp2-tp"), 37)).toEqual(expected("fsdp2-tp"));
  expect(await hashes(join(HOME, "verl-hsdp"), 37)).toEqual(expected("verl-hsdp"));
});

test("the files of the ranks are the checkpoint, what the trainer keeps beside them is not", async () => {
  await opened(join(HOME, "verl-fsdp2"), (checkpoint) => {
    expect(checkpoint.files).toEqual([0, 1, 2].map((rank) => file(3, rank)));
    expect(checkpoint).toMatchObject({ format: "pt", savedBy: 3 });
    expect(checkpoint.companions?.path).toBe(join(HOME, "verl-fsdp2", "huggingface"));
    expect(checkpoint.notChecked?.()).toBeNull();
  });
});

test("a rank that is not there is named", () => {
  for (const [name, world] of [
    ["verl-fsdp2", 3],
    ["verl-hsdp", 4],
    ["fsdp2-tp", 4],
  ] as const) {
    const folder = copyOf(name);
    rmSync(join(folder, file(world, 1)));
    const error = refusal(folder);
    expect(error).toMatchObject({ code: "RANK_MISSING", details: { expected: file(world, 1) } });
    expect(error.details.found).toBe(`${world - 1} of ${world} ranks`);
  }
  const folder = copyOf("accelerate-ranks");
  rmSync(join(folder, "pytorch_model_fsdp_0_rank1.bin"));
  expect(refusal(folder).details.expected).toBe("pytorch_model_fsdp_0_rank1.bin");
});

test("a rank that is another's, twice or of another save is named", () => {
  const copied = copyOf("verl-fsdp2");
  copyFileSync(join(copied, file(3, 0)), join(copied, file(3, 1)));
  expect(refusal(copied)).toMatchObject({ code: "RANK_TWICE", details: { file: join(copied, file(3, 1)) } });

  const swapped = copyOf("accelerate-ranks");
  const names = [0, 1].map((rank) => join(swapped, `pytorch_model_fsdp_0_rank${rank}.bin`));
  renameSync(names[0]!, join(swapped, "x"));
  renameSync(names[1]!, names[0]!);
  renameSync(join(swapped, "x"), names[1]!);
  expect(refusal(swapped)).toMatchObject({ code: "RANK_FOREIGN", details: { found: "rank 1" } });

  const fewer = copyOf("columns");
  copyFileSync(join(HOME, "verl-fsdp2", file(3, 1)), join(fewer, file(2, 1)));
  expect(refusal(fewer)).toMatchObject({ code: "RANK_FOREIGN", details: { file: join(fewer, file(2, 1)) } });

  const other = copyOf("columns");
  copyFileSync(join(HOME, "verl-fsdp1", file(2, 1)), join(other, file(2, 1)));
  expect(refusal(other)).toMatchObject({
    code: "RANKS_DIFFER",
    details: { tensor: "model.embed_tokens.weight", found: expect.stringContaining("[Shard(0)] on a mesh of [2]") },
  });

  const two = copyOf("columns");
  copyFileSync(join(HOME, "verl-fsdp2", file(3, 0)), join(two, file(3, 0)));
  expect(refusal(two).code).toBe("RANKS_AMBIGUOUS");
});

test("one file of several ranks is not the model", () => {
  const error = refusal(join(HOME, "verl-fsdp2", file(3, 1)));
  expect(error).toMatchObject({
    code: "RANK_ALONE",
    details: { help: `give the directory, ${join(HOME, "verl-fsdp2")}` },
  });
  const alone = scratch();
  copyFileSync(join(HOME, "verl-fsdp2", file(3, 1)), join(alone, "model.pt"));
  expect(refusal(alone)).toMatchObject({
    code: "RANK_ALONE",
    details: { help: expect.stringContaining("model_rank_0.pt") },
  });
});

test("a summand of a tensor is no part of it", () => {
  const error = refusal(join(HOME, "partial"));
  expect(error).toMatchObject({
    code: "PLACEMENT_UNSUPPORTED",
    details: { tensor: "model.embed_tokens.weight", help: expect.stringContaining("each rank holds a summand") },
  });
  expect(error.details.found).toMatch(/\.Partial$/);
});

test("the folder above is not taken for the data loader's file in it", () => {
  const step = join(scratch(), "global_step_5");
  cpSync(join(HOME, "columns"), join(step, "actor"), { recursive: true });
  copyFileSync(join(HOME, "slime", "rng.pt"), join(step, "data.pt"));
  expect(refusal(step)).toMatchObject({
    code: "NOT_A_CHECKPOINT",
    details: { help: `there is one below it; did you mean ${join(step, "actor")}?` },
  });
});

test("files of any name that ends in a rank are joined", async () => {
  const folder = scratch();
  for (const rank of [0, 1]) copyFileSync(join(HOME, "columns", file(2, rank)), join(folder, `step5-rank0${rank}.pth`));
  expect(await hashes(folder)).toEqual(expected("columns"));
});

test("replicas that differ are refused when they are read, and a changed bit anywhere is", async () => {
  const folder = copyOf("verl-hsdp");
  const path = join(folder, file(4, 3));
  const bytes = readFileSync(path);
  const other = readFileSync(join(folder, file(4, 1)));
  const at = dataOf(bytes);
  expect(other.subarray(at, at + 64).equals(bytes.subarray(at, at + 64))).toBe(true);
  bytes[at] = bytes[at]! ^ 1;
  writeFileSync(path, bytes);
  await expect(hashes(folder)).rejects.toMatchObject({
    code: expect.stringMatching(/^(?:REPLICAS_DIFFER|CRC_MISMATCH)$/),
  });
});

/** Where the values of the first tensor lie in a file of torch.save. */
const dataOf = (bytes: Buffer): number => bytes.indexOf("/data/0", 0, "latin1") + 128;

test("what each rank saved of flat parameters is joined and named for what it is", async () => {
  await opened(join(HOME, "accelerate-local"), ({ tensors }) => {
    expect([...tensors.keys()]).toEqual(["_flat_param"]);
  });
});
