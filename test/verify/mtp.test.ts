// Layers that predict further tokens: announced by the config and absent from the files, or the other way round.
// transformers loads both without a word: it has no place for these layers.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { isJsonObject, type JsonObject } from "../../src/base/json.ts";
import { configIn } from "../../src/model/configs/config-files.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { validate } from "../../src/verify/validate.ts";
import { readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, native } = fixture("deepseek_v3/mtp");

function configOf(folder: string, change: JsonObject): JsonObject {
  const checkpoint = openCheckpoint(folder);
  checkpoint.close();
  return { ...configIn(checkpoint.folder)!.json, ...change };
}

function files(state: State, config: JsonObject, format = writeSafetensors): string {
  const folder = format(join(scratch(), "files"), state);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

async function told(folder: string) {
  const checkpoint = openCheckpoint(folder);
  try {
    const seen = inspect(checkpoint, { adapters });
    const judged = await validate(openModel(checkpoint, { adapters }));
    return { inspect: seen, validate: judged };
  } finally {
    checkpoint.close();
  }
}

const { num_nextn_predict_layers: _, ...silentConfig } = configOf(hf, {});

const note = expect.stringMatching(
  /^the part that predicts further tokens that the config describes is absent as a whole/,
);

describe.each([
  ["hf", hf, writeSafetensors, /^model\.layers\.2\./],
  ["native", native, writeDcp, /^mtp_layers\./],
] as const)("announced and absent, %s", (_, from, format, layer) => {
  const lacking = () => new Map([...readState(from)].filter(([key]) => !layer.test(key)));

  test("is a note everywhere, and no fault", async () => {
    const folder = files(lacking(), configOf(hf, {}), format);
    const found = await told(folder);
    expect(found.inspect).toMatchObject({ problems: [], notes: [note] });
    expect(found.validate).toMatchObject({ verdict: "pass", notes: expect.arrayContaining([note]) });
    const { notes } = await converted(folder, join(scratch(), "out"));
    expect(notes).toEqual(expect.arrayContaining([note]));
  });

  test("is no news where the config is silent, or the layers are there", async () => {
    const silent = files(lacking(), silentConfig, format);
    expect((await told(silent)).inspect.notes).toEqual([]);
    const whole = files(readState(from), configOf(hf, {}), format);
    expect((await told(whole)).inspect.notes).toEqual([]);
  });
});

test("present and not announced: refused by name, alike", async () => {
  const folder = files(readState(hf), configOf(hf, { num_nextn_predict_layers: 0 }));
  const reason = /belongs to a layer that predicts further tokens, and the config announces none/;
  const { inspect: seen, validate: judged } = await told(folder);
  expect(seen.problems).toMatchObject([{ code: "UNKNOWN_TENSOR", message: expect.stringMatching(reason) }]);
  expect(judged.verdict).toBe("fail");
  expect(judged.differences.map(({ key }) => key)).toContain("model.layers.2.eh_proj.weight");
  await expect(converted(folder, join(scratch(), "out"))).rejects.toThrow(reason);
  const { dropped } = await converted(folder, join(scratch(), "without"), { allowDrop: ["model.layers.2.*"] });
  expect(dropped.map(({ key }) => key)).toContain("model.layers.2.eh_proj.weight");
});

test("Qwen3.5's head that predicts a second token", async () => {
  const qwen = fixture("qwen3_5/dense").hf;
  const { text_config: text, ...config } = configOf(qwen, {});
  if (!isJsonObject(text)) throw new Error("no text_config");
  const announced = (count: number) => ({ ...config, text_config: { ...text, mtp_num_hidden_layers: count } });
  const found = await told(files(readState(qwen), announced(1)));
  expect(found.inspect).toMatchObject({ problems: [], notes: [expect.stringContaining("second token")] });
  expect(found.validate.verdict).toBe("pass");
  expect((await told(files(readState(qwen), announced(0)))).inspect.notes).toEqual([]);
});
