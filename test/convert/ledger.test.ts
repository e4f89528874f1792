// The ledger, on every checkpoint that upstream wrote: whatever is done to one tensor, the conversion is refused, and says
// which tensor it was. Headers are edited, as what is refused here is refused before a byte is read.
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { Checkpoint, TensorInfo } from "../../src/formats/checkpoint.ts";
import { leftAlone } from "../../src/model/keys.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { encodedCases, type FixtureCase, tableCases } from "../helpers/fixtures.ts";

type Tensors = Map<string, TensorInfo>;

/** Every checkpoint whose kinds of tensors no other one of its family and layout has. */
const sides = new Map(
  [...tableCases, ...encodedCases].flatMap((one) =>
    (["native", "hf"] as const).map((side) => {
      const kinds = kindsOf(one[side]).map(({ key }) => key.replace(/\d+/g, "#"));
      return [`${one.family} ${one.layout} ${one.tied} ${kinds.sort()}`, { name: `${one.name} ${side}`, one, side }];
    }),
  ),
);

/** What Transformer Engine's modules hand over beside their weights: without FP8, tensors that hold nothing. */
function isEmptyState({ key, byteLength }: TensorInfo): boolean {
  return /\._extra_state\/shard_[\d._]+\.0$/.test(key) && byteLength === 0;
}

/** A tensor of each kind, the last one: those of one kind differ in numbers only. */
function kindsOf(path: string): TensorInfo[] {
  const { tensors } = openCheckpoint(path);
  const ofModel = [...tensors.values()].filter(
    (info) => !/^(optimizer|lr_scheduler|dataloader|train_state)\./.test(info.key) && !isEmptyState(info),
  );
  return [...new Map(ofModel.map((info) => [info.key.replace(/\d+/g, "#"), info])).values()];
}

/** Nothing is there: a plan writes none. */
const TARGET = join(tmpdir(), "convert-checkpoint-ledger", "out");

/** The failure that planning a conversion of edited headers ends with; null where there is none. */
function failure(checkpoint: Checkpoint, { hf, layout }: FixtureCase, edit: (tensors: Tensors) => void) {
  const tensors: Tensors = new Map(checkpoint.tensors);
  edit(tensors);
  const isHf = checkpoint.format === "safetensors";
  const options = { adapters, config: hf, ...(isHf ? { to: layout } : {}) };
  try {
    // Its methods stand in a class: a copy by fields would have none.
    const edited: Checkpoint = Object.create(checkpoint, { tensors: { value: tensors } });
    planConversion(edited, TARGET, options);
    return null;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

/** Layers of hf-dense are compared with each other: of two that differ, either may be the one at fault (005). */
function anyOfTwoLayers(text: string, { family, hf }: FixtureCase): string {
  const isPair = family === "hf-dense" && JSON.parse(readFileSync(`${hf}/config.json`, "utf8")).num_hidden_layers === 2;
  return isPair ? text.replace(/\.layers\.\d\./g, ".layers.#.") : text;
}

function names(error: InputError | null, key: string, one: FixtureCase): boolean {
  const said = `${error?.message} ${error?.details.tensor} ${error?.details.expected}`;
  return error?.exitCode === 3 && anyOfTwoLayers(said, one).includes(anyOfTwoLayers(key, one));
}

const HEAD = /(^|\.)(lm_head|output)\.weight$/;
const EMBEDDING = /(^|\.)(embed_tokens|tok_embeddings|tok_embeddings\.embedding)\.weight$/;

/** Buffers that HF has no place for may be absent, and either of the two names of a tied head where both are there. */
function mayBeAbsent(key: string, { tied, fromHf }: FixtureCase, kinds: readonly TensorInfo[]): boolean {
  if (/\.expert_bias(_E)?$/.test(key)) return !fromHf.has(key);
  return tied && (HEAD.test(key) || (EMBEDDING.test(key) && kinds.some((other) => HEAD.test(other.key))));
}

describe.each([...sides.values()])("$name", ({ one, side }) => {
  const checkpoint = openCheckpoint(one[side]);
  const kinds = kindsOf(one[side]);
  const refused = (info: TensorInfo, edit: (tensors: Tensors) => void, key = info.key) => {
    const error = failure(checkpoint, one, edit);
    return names(error, key, one) ? [] : [{ key: info.key, error: error?.message ?? "it was accepted" }];
  };

  test("is whole", () => {
    expect(failure(checkpoint, one, () => undefined)).toBeNull();
  });

  test("one tensor removed", () => {
    const required = kinds.filter(({ key }) => !mayBeAbsent(key, one, kinds));
    expect(required.flatMap((info) => refused(info, (all) => all.delete(info.key)))).toEqual([]);
  });

  test("one tensor added", () => {
    const added = (info: TensorInfo) => `${info.key}_more`;
    expect(
      kinds.flatMap((info) => refused(info, (all) => all.set(added(info), { ...info, key: added(info) }), added(info))),
    ).toEqual([]);
  });

  test("one tensor renamed", () => {
    const rename = (all: Tensors, info: TensorInfo, key: string) => {
      all.delete(info.key);
      all.set(key, { ...info, key });
    };
    // Its new name begins with the old one: what may be absent is told by the name that no rule knows.
    expect(kinds.flatMap((info) => refused(info, (all) => rename(all, info, `${info.key}_other`)))).toEqual([]);
  });

  // Rows behind a vocabulary that one tensor has, are looked at as they are read (test/adapters/megatron.test.ts).
  const mayHaveMoreRows = ({ key }: TensorInfo) =>
    one.layout === "megatron" && one.tied && /^(?:language_model\.)?embedding\.word_embeddings\.weight$/.test(key);

  test("one tensor of another shape", () => {
    const longer = ({ shape, byteLength, ...rest }: TensorInfo, axis: number) => {
      if (shape.length === 0) return { ...rest, shape: [2], byteLength: 2 * byteLength };
      const size = shape[axis]!;
      return { ...rest, shape: shape.with(axis, size + 1), byteLength: (byteLength / size) * (size + 1) };
    };
    expect(
      kinds.flatMap((info, i) =>
        refused(info, (all) =>
          all.set(info.key, longer(info, mayHaveMoreRows(info) ? 1 : i % Math.max(info.shape.length, 1))),
        ),
      ),
    ).toEqual([]);
  });
});

test("what modules hand over beside their weights is no weight: left alone, each by its name", () => {
  const withState = [...sides.values()].filter(
    ({ one }) => /^qwen3_(?:vl|5)/.test(one.family) && one.layout === "megatron",
  );
  for (const { one } of withState) {
    const checkpoint = openCheckpoint(one.native);
    const empty = [...checkpoint.tensors.values()].filter(isEmptyState).map(({ key }) => key);
    expect(empty.length).toBeGreaterThan(10);
    const named = leftAlone(checkpoint).flatMap(({ key, reason }) =>
      reason === "extra state of a module" ? [key] : [],
    );
    expect(empty.filter((key) => !named.includes(key))).toEqual([]);
    checkpoint.close();
  }
  expect(withState.length).toBeGreaterThan(3);
});
