// Files of Llama 4 through whole conversions: ties, biases, the vision tower of the Hub's files, the text alone.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { f32, flipped, readState, type State, writeDcp, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted, hashes, type Options, sorted } from "../../helpers/converted.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const one = fixture("llama4/split");
const TEXT = "language_model.";
const BIAS = "layers.1.moe.expert_bias_E";

type Fields = Readonly<Record<string, unknown>>;

/** Changes the tensors of one side of the fixture, and fields of its text config; `alone` has that config for its own. */
function variant(side: "native" | "hf", edit: (state: State) => void, text: Fields = {}, alone = false): string {
  const state = readState(one[side]);
  edit(state);
  const write = side === "hf" ? writeSafetensors : writeDcp;
  const directory = write(join(scratch(), side), state);
  const json = JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8"));
  const text_config = { ...json.text_config, ...text };
  writeFileSync(join(directory, "config.json"), JSON.stringify(alone ? text_config : { ...json, text_config }));
  return directory;
}

const out = () => join(scratch(), "out");

async function failure(from: string, options: Options = {}): Promise<InputError> {
  try {
    await converted(from, out(), options);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("tied", () => {
  const tied = (side: "native" | "hf", broken: boolean) => {
    const prefix = side === "hf" ? TEXT : "";
    const of = side === "hf" ? `${TEXT}model.embed_tokens.weight` : "tok_embeddings.weight";
    const edit = (state: State) => {
      const embedding = state.get(of)!;
      state.set(`${prefix}lm_head.weight`, broken ? flipped(embedding, embedding.bytes.length - 1) : embedding);
    };
    return variant(side, edit, { tie_word_embeddings: true });
  };

  it.each(["native", "hf"] as const)("from %s: a head that is not the embedding is named", async (side) => {
    expect(await failure(tied(side, true))).toMatchObject({
      code: "TIE_BROKEN",
      exitCode: 3,
      details: { tensor: expect.stringMatching(/lm_head\.weight$/) },
    });
    const target = out();
    await converted(tied(side, false), target);
    expect(hashes(target).has(`${TEXT}lm_head.weight`)).toBe(false);
    expect(hashes(target).has("lm_head.weight")).toBe(side === "hf");
  });
});

describe("load-balancing biases", () => {
  it("that were trained are refused by name, and let go on the user's word", async () => {
    const source = variant("native", (state) =>
      state.set(
        BIAS,
        f32([12], (i) => (i === 7 ? 0.25 : 0)),
      ),
    );
    expect(await failure(source)).toMatchObject({ code: "DROP_NOT_DEFAULT", details: { tensor: BIAS, found: "0.25" } });
    const { dropped } = await converted(source, out(), { allowDrop: [BIAS] });
    expect(dropped.map(({ key }) => key)).toContain(BIAS);
  });

  it("are made again as zeros, unless not wanted", async () => {
    const target = out();
    await converted(one.hf, target, { to: "torchtitan" });
    const made = [...readState(target)].filter(([key]) => key.endsWith("expert_bias_E"));
    expect(made.map(([key, { dtype, shape }]) => [key, dtype, shape])).toEqual(
      [1, 3].map((l) => [`layers.${l}.moe.expert_bias_E`, "F32", [12]]),
    );
    expect(made.every(([, { bytes }]) => bytes.every((byte) => byte === 0))).toBe(true);
    const bare = out();
    await converted(one.hf, bare, { to: "torchtitan", buffers: false });
    expect(hashes(bare).has(BIAS)).toBe(false);
  });
});

/** Tensors of the vision tower and of its projector, as the Hub has them beside the text. */
const withTower = (state: State) => {
  state.set(
    "vision_model.class_embedding",
    f32([6], (i) => i),
  );
  state.set(
    "vision_model.model.layers.0.mlp.fc1.weight",
    f32([4, 6], (i) => -i),
  );
  state.set(
    "multi_modal_projector.linear_1.weight",
    f32([34, 6], (i) => i / 8),
  );
};
const BOTH = ["vision_model.*", "multi_modal_projector.*"];

describe("the vision tower of a Hub file", () => {
  it("is refused by name", async () => {
    const error = await failure(variant("hf", withTower));
    expect(error).toMatchObject({ code: "UNKNOWN_TENSOR", exitCode: 3 });
    expect(error.details.tensor).toMatch(/^(vision_model|multi_modal_projector)\./);
    for (const glob of BOTH) expect(error.details.help).toContain(`--allow-drop '${glob}'`);
    expect((await failure(variant("hf", withTower), { allowDrop: [BOTH[0]!] })).details.tensor).toMatch(/^multi_modal/);
  });

  it("goes on the user's word, and the text converts as without it", async () => {
    const target = out();
    const { dropped, notes } = await converted(variant("hf", withTower), target, { allowDrop: BOTH });
    expect(dropped.map(({ key }) => key).sort()).toEqual([
      "multi_modal_projector.linear_1.weight",
      "vision_model.class_embedding",
      "vision_model.model.layers.0.mlp.fc1.weight",
    ]);
    expect(dropped[0]?.reason).toContain("waived: it belongs to the vision tower");
    expect(notes.join()).not.toContain("absent");
    const plain = out();
    await converted(one.hf, plain, { to: "torchtitan" });
    expect(sorted(hashes(target))).toEqual(sorted(hashes(plain)));
  });

  it("is carried along within the Hugging Face side", async () => {
    const source = variant("hf", withTower);
    const target = out();
    const { dropped } = await converted(source, target, { to: "hf" });
    expect(dropped).toEqual([]);
    expect(sorted(hashes(target))).toEqual(sorted(hashes(source)));
    const without = out();
    await converted(source, without, { to: "hf", allowDrop: BOTH });
    expect(sorted(hashes(without))).toEqual(sorted(hashes(one.hf)));
  });

  it.each([
    ["hf", "torchtitan"],
    ["native", "hf"],
  ] as const)("is told to be absent as a whole from %s", async (side, to) => {
    const absent = expect.stringContaining("the vision tower that the config describes is absent as a whole");
    const source = variant(side, () => {});
    expect((await converted(source, out(), { to })).notes).toContainEqual(absent);
    const text = variant(side, () => {}, {}, true);
    expect((await converted(text, out(), { to })).notes).not.toContainEqual(absent);
  });
});

const renamed = (edit: (key: string) => string) => (state: State) => {
  const entries = [...state];
  state.clear();
  for (const [key, stored] of entries) state.set(edit(key), stored);
};
const bare = renamed((key) => key.replace(TEXT, ""));

describe("the text alone", () => {
  it("has no prefix, gives the same native tensors, and comes back without it", async () => {
    const source = variant("hf", bare, {}, true);
    const native = out();
    const plain = out();
    await converted(source, native);
    await converted(one.hf, plain);
    expect(sorted(hashes(native))).toEqual(sorted(hashes(plain)));
    const back = out();
    await converted(native, back);
    expect(sorted(hashes(back))).toEqual(sorted(hashes(source)));
    const made = out();
    await converted(
      variant("native", () => {}, {}, true),
      made,
    );
    expect(sorted(hashes(made))).toEqual(sorted(hashes(source)));
  });

  it("spelled without the prefix under the config of the whole comes back as it was", async () => {
    const source = variant("hf", bare);
    const native = out();
    await converted(source, native);
    const back = out();
    await converted(native, back);
    expect(sorted(hashes(back))).toEqual(sorted(hashes(source)));
    expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(source, "model.safetensors")));
  });
});

describe("one layout of torchtitan to another", () => {
  it.each(["torchtitan-fused", "torchtitan-2026-04-27-fused", "torchtitan-2026-04-16", "torchtitan-0.2"])(
    "%s, and back to the same bytes",
    async (layout) => {
      const [there, back] = [out(), out()];
      const config = one.hf;
      await converted(one.native, there, { to: layout, config });
      await converted(there, back, { to: "torchtitan", config });
      expect(sorted(hashes(back))).toEqual(sorted(hashes(one.native)));
      expect(sorted(hashes(there))).not.toEqual(sorted(hashes(one.native)));
    },
  );
});
