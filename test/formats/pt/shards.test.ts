import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { planTorchFile, type TargetTensor } from "../../../src/formats/pt/plan.ts";
import { shardAlone } from "../../../src/formats/shard-alone.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { openingCode } from "../../helpers/checkpoints.ts";
import { scratch } from "../../helpers/scratch.ts";
import { plainTensors } from "../dcp/expected.ts";
import { payloadsOf } from "../dcp/tamper.ts";
import { writeOutput } from "../dcp/write-output.ts";

const tensor = (key: string): TargetTensor => ({ key, dtype: "F32", shape: [2, 3] });

/** Files of torch.save, each with the tensors of the given names, and an index where it has a name. */
function write(files: Readonly<Record<string, readonly string[]>>, index?: string, weightMap?: object): string {
  const directory = scratch();
  for (const [name, keys] of Object.entries(files)) {
    const tensors = keys.map(tensor);
    writeOutput(directory, planTorchFile(tensors, name), payloadsOf(tensors));
  }
  const map = Object.entries(files).flatMap(([name, keys]) => keys.map((key) => [key, name]));
  if (index !== undefined)
    writeFileSync(join(directory, index), JSON.stringify({ weight_map: weightMap ?? Object.fromEntries(map) }));
  return directory;
}

const TWO = { "pytorch_model-00001-of-00002.bin": ["a", "b"], "pytorch_model-00002-of-00002.bin": ["c"] };
const INDEX = "pytorch_model.bin.index.json";

test("shards of torch.save with an index are one checkpoint, by the folder and by the index", () => {
  const directory = write(TWO, INDEX);
  for (const path of [directory, join(directory, INDEX)]) {
    const checkpoint = openCheckpoint(path);
    expect(checkpoint.format).toBe("pt");
    expect(checkpoint.path).toBe(path);
    expect(checkpoint.files).toEqual([INDEX, ...Object.keys(TWO)]);
    const hex = Buffer.from(payloadsOf([tensor("a")]).get("a")!).toString("hex");
    expect([...plainTensors(checkpoint)]).toEqual(
      ["a", "b", "c"].map((key) => [key, { dtype: "F32", shape: [2, 3], hex }]),
    );
    checkpoint.verify();
    checkpoint.verify(["c"]);
    checkpoint.close();
  }
});

test("a variant stands for itself, and behind the plain one", () => {
  const variant = { "pytorch_model.fp16-00001-of-00001.bin": ["v"] };
  const alone = openCheckpoint(write(variant, "pytorch_model.bin.index.fp16.json"));
  expect([...alone.tensors.keys()]).toEqual(["v"]);
  alone.close();
  const directory = write({ ...variant, ...TWO }, INDEX, { a: Object.keys(TWO)[0], c: Object.keys(TWO)[1] });
  writeFileSync(
    join(directory, "pytorch_model.bin.index.fp16.json"),
    JSON.stringify({ weight_map: { v: Object.keys(variant)[0] } }),
  );
  const plain = openCheckpoint(directory);
  expect([...plain.tensors.keys()]).toEqual(["a", "b", "c"]);
  plain.close();
  const named = openCheckpoint(join(directory, "pytorch_model.bin.index.fp16.json"));
  expect([...named.tensors.keys()]).toEqual(["v"]);
  named.close();
});

test("a whole pytorch_model.bin comes before shards; torchtune's files join by their numbers", () => {
  const both = openCheckpoint(write({ ...TWO, "pytorch_model.bin": ["w"] }, INDEX));
  expect([...both.tensors.keys()]).toEqual(["w"]);
  both.close();
  const tune = openCheckpoint(write({ "hf_model_0002_0.pt": ["b"], "hf_model_0001_0.pt": ["a"] }));
  expect([...tune.tensors.keys()]).toEqual(["a", "b"]);
  tune.close();
  const gap = { "hf_model_0003_0.pt": ["b"], "hf_model_0001_0.pt": ["a"] };
  expect(openingCode(write(gap))).toBe("AMBIGUOUS_CHECKPOINT");
  const epochs = { "hf_model_0001_0.pt": ["a"], "hf_model_0001_1.pt": ["a"] };
  expect(openingCode(write(epochs))).toBe("AMBIGUOUS_CHECKPOINT");
});

test("a shard that is missing, a tensor in none or in two, and shards without index are refused", () => {
  const directory = write(TWO, INDEX);
  rmSync(join(directory, "pytorch_model-00002-of-00002.bin"));
  expect(openingCode(directory)).toBe("SHARD_MISSING");
  const [first, second] = Object.keys(TWO);
  expect(openingCode(write(TWO, INDEX, { a: first, c: second, d: second }))).toBe("TENSOR_IN_NO_SHARD");
  expect(openingCode(write({ [first!]: ["a"], [second!]: ["a"] }, INDEX, { a: first, b: second }))).toBe(
    "TENSOR_IN_TWO_SHARDS",
  );
  expect(openingCode(write(TWO))).toBe("AMBIGUOUS_CHECKPOINT");
});

test("one shard of several is said to be one", () => {
  const directory = write(TWO, INDEX);
  const shard = openCheckpoint(join(directory, "pytorch_model-00002-of-00002.bin"));
  const fault = shardAlone(shard);
  expect(fault?.message).toContain("is one of 2 shards, number 2");
  expect(fault?.details.help).toContain(INDEX);
  shard.close();
  const whole = openCheckpoint(directory);
  expect(shardAlone(whole)).toBeNull();
  whole.close();
});
