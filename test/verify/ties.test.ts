// A tie stored under one name or the other: of two names for one tensor, safetensors' save_model keeps the first by the
// alphabet, `lm_head.weight`, and notes the other in the file's metadata. transformers loads both.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { runParity } from "../../src/parity/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { f32, opened, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

/** One of each family. */
const tied = [...new Map(tableCases.filter((entry) => entry.tied).map((entry) => [entry.family, entry])).values()];

/** Key of the embedding and of the head, as the case has them or would. */
function namesIn(state: State): readonly [embedding: string, head: string] {
  const embedding = [...state.keys()].find((key) =>
    /(?:embed_tokens|tok_embeddings|word_embeddings)\.weight$/.test(key),
  )!;
  const head = [...state.keys()].find((key) => /^(?:model\.|language_model\.)?(?:lm_head|output)\.weight$/.test(key));
  if (embedding.includes("word_embeddings"))
    return [embedding, embedding.replace("embedding.word_embeddings", "output_layer")];
  return [
    embedding,
    head ?? (embedding.startsWith("language_model.") ? "language_model.lm_head.weight" : "lm_head.weight"),
  ];
}

function underHead(path: string): State {
  const state = readState(path);
  const [embedding, head] = namesIn(state);
  const tensor = state.get(embedding)!;
  state.delete(embedding);
  return new Map(
    [...state, [head, tensor]].toSorted(([a], [b]) => (`${a}` < `${b}` ? -1 : 1)) as [string, typeof tensor][],
  );
}

const differences = (a: string, b: string, config: string) =>
  opened(a, (one) =>
    opened(b, async (other) => {
      const options = { adapters, config };
      return (await diff(one, other, { a: options, b: options })).differences;
    }),
  );

describe.each(tied.map((entry) => [entry.name, entry] as const))("%s, under the head's name alone", (_, entry) => {
  const config = join(entry.hf, "config.json");
  const metadata = { format: "pt", "model.embed_tokens.weight": "lm_head.weight" };

  test("Hugging Face's: valid, equal, converted alike, and its own bytes on the way back", async () => {
    const files = writeSafetensors(join(scratch(), "files"), underHead(entry.hf), { config, metadata });
    expect((await opened(files, (one) => validate(openModel(one, { adapters })))).differences).toEqual([]);
    expect(await opened(files, (one) => roundtrip(openModel(one, { adapters })))).toMatchObject({ differences: [] });
    expect(await differences(entry.hf, files, config)).toEqual([]);
    const [there, plain, back] = ["native", "plain", "back"].map((name) => join(scratch(), name)) as [
      string,
      string,
      string,
    ];
    await converted(files, there);
    await converted(entry.hf, plain);
    expect(hashes(there)).toEqual(hashes(plain));
    await converted(there, back);
    expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(files, "model.safetensors")));
  });

  test("the trainer's: valid, and the Hub's files come of it", async () => {
    const files = writeDcp(join(scratch(), "files"), underHead(entry.native), { config });
    const found = await opened(files, (one) => inspect(one, { adapters }));
    expect(found).toMatchObject({ layout: entry.layout, problems: [] });
    expect((await opened(files, (one) => validate(openModel(one, { adapters })))).differences).toEqual([]);
    expect(await differences(entry.native, files, config)).toEqual([]);
    const [there, plain] = ["hf", "plain"].map((name) => join(scratch(), name)) as [string, string];
    await converted(files, there);
    await converted(entry.native, plain, { config });
    expect(hashes(there)).toEqual(hashes(plain));
  });
});

test("computes what the model computes", async () => {
  const { hf, golden } = fixture("qwen3/fused-tied");
  const files = writeSafetensors(join(scratch(), "files"), underHead(hf), { config: join(hf, "config.json") });
  const result = await opened(files, (one) => runParity({ a: openModel(one, { adapters }), golden, backend: "cpu" }));
  expect(result.verdict).toBe("pass");
});

test("keys alone tell the family", async () => {
  const files = writeDcp(join(scratch(), "files"), underHead(fixture("qwen3/fused-tied").hf));
  expect(await opened(files, (one) => inspect(one, { adapters }))).toMatchObject({ family: "qwen3", layout: "hf" });
});

test("what stands under neither name is missing, and so is an embedding that is no head", async () => {
  const { hf } = fixture("qwen3/fused-tied");
  const config = join(hf, "config.json");
  const state = underHead(hf);
  state.delete("lm_head.weight");
  const files = writeSafetensors(join(scratch(), "files"), state, { config });
  await expect(converted(files, join(scratch(), "out"))).rejects.toThrow(/"model\.embed_tokens\.weight" is missing/);
  const untied = fixture("qwen3/split").hf;
  const lost = readState(untied);
  lost.delete("model.embed_tokens.weight");
  const other = writeSafetensors(join(scratch(), "untied"), lost, { config: join(untied, "config.json") });
  await expect(converted(other, join(scratch(), "out"))).rejects.toThrow(/"model\.embed_tokens\.weight" is missing/);
});

test("its shape is checked under the name that it has", async () => {
  const { hf } = fixture("qwen3/fused-tied");
  const state = underHead(hf).set(
    "lm_head.weight",
    f32([3, 4], (i) => i),
  );
  const files = writeSafetensors(join(scratch(), "files"), state, { config: join(hf, "config.json") });
  await expect(converted(files, join(scratch(), "out"))).rejects.toThrow(
    /"lm_head\.weight": expected \[\d+,\d+\] = \[v, d\]/,
  );
});
