// What FSDP trainers leave, to Hugging Face's files: fixtures/generate/rank_files.py.
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { opened } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { scratch } from "../helpers/scratch.ts";

const HOME = fileURLToPath(new URL("../../fixtures/ranks/", import.meta.url));
const CONFIG = join(HOME, "columns", "config.json");

const expected = (name: string): unknown => JSON.parse(readFileSync(join(HOME, name, "expected.json"), "utf8"));
const found = (path: string): unknown => Object.fromEntries(hashes(path));

test("verl's folder as it is: config and tokenizer come from huggingface/, the optimizer's ranks stay", async () => {
  const folder = join(scratch(), "actor");
  cpSync(join(HOME, "verl-fsdp2"), folder, { recursive: true });
  writeFileSync(join(folder, "huggingface", "tokenizer.json"), "{}");
  writeFileSync(join(folder, "huggingface", "stray.bin"), "x");
  const out = join(scratch(), "hf");
  const { leftBehind, ...conversion } = await converted(folder, out);
  expect(conversion).toMatchObject({ family: "qwen3", from: { layout: "hf" }, to: { layout: "hf" }, notChecked: null });
  expect(found(out)).toEqual(expected("verl-fsdp2"));
  expect(existsSync(join(out, "tokenizer.json"))).toBe(true);
  expect(readFileSync(join(out, "config.json"), "utf8")).toBe(
    readFileSync(join(folder, "huggingface", "config.json"), "utf8"),
  );
  const ofRanks = [0, 1, 2].flatMap((rank) =>
    ["extra_state", "optim"].map((of) => `${of}_world_size_3_rank_${rank}.pt`),
  );
  expect(leftBehind).toEqual(["expected.json", ...ofRanks, "fsdp_config.json", "huggingface/stray.bin"].sort());
});

test("ranks to torchtitan's layout, and back", async () => {
  const [native, out] = [join(scratch(), "native"), join(scratch(), "hf")];
  await converted(join(HOME, "fsdp2-tp"), native, { to: "torchtitan" });
  await converted(native, out);
  expect(found(out)).toEqual(expected("fsdp2-tp"));
});

test("ranks to one file of torch.save, keys and bits as they are", async () => {
  const out = join(scratch(), "model.pt");
  await converted(join(HOME, "accelerate-ranks"), out, { to: "raw" });
  expect(found(out)).toEqual(expected("accelerate-ranks"));
});

test.each([
  ["accelerate-dcp", "pytorch_model_fsdp_0"],
  ["hf-writer", ""],
  ["slime", ""],
])("%s: Hugging Face's keys in what torch.distributed.checkpoint wrote", async (name, inside) => {
  const out = join(scratch(), "hf");
  const { dropped } = await converted(join(HOME, name, inside), out, { config: CONFIG });
  expect(found(out)).toEqual(expected(name));
  const kinds = new Set(dropped.map(({ reason }) => reason));
  expect([...kinds]).toEqual(name === "slime" ? ["trainer state"] : []);
});

test("inspect tells the ranks, and what is wrong with flat parameters", async () => {
  await opened(join(HOME, "verl-fsdp2"), (checkpoint) => {
    expect(inspect(checkpoint, { adapters })).toMatchObject({ family: "qwen3", layout: "hf", ranks: 3, problems: [] });
  });
  await opened(join(HOME, "accelerate-local"), (checkpoint) => {
    const { family, problems } = inspect(checkpoint, { adapters });
    expect(family).toBeNull();
    expect(problems).toMatchObject([
      { code: "LAYOUT_UNSUPPORTED", message: expect.stringContaining("flat parameters") },
    ]);
  });
});
