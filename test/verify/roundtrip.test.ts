import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { Family } from "../../src/family/family.ts";
import { type ModelOptions, openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { compileTable, type Table } from "../../src/table/plan.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { tableOf } from "../../src/views/tables.ts";
import { flipped, readState, writeDcp } from "../helpers/checkpoints.ts";
import { fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

async function trip(path: string, config?: string, options: Partial<ModelOptions> = {}) {
  const checkpoint = openCheckpoint(path);
  try {
    return await roundtrip(openModel(checkpoint, { adapters, config, ...options }));
  } finally {
    checkpoint.close();
  }
}

describe.each(tableCases)("$name", (one) => {
  it.each(Object.entries(one.hfs))("%s comes back, file by file", async (_, hf) => {
    const result = await trip(hf);
    expect(result.differences).toEqual([]);
    expect(result.verdict).toBe("pass");
    expect(result.files.length).toBeGreaterThan(0);
    expect(result.files.every(({ same }) => same)).toBe(true);
    expect(result.hashes).toHaveLength(result.tensors);
  });

  it.each(Object.entries(one.natives))("%s comes back, tensor by tensor", async (_, native) => {
    const result = await trip(native, one.hf);
    expect(result.differences).toEqual([]);
    // A model that was cast whole has its load-balancing buffer in bf16; it is made again as torchtitan makes it
    const cast = result.notes.filter((note) => note.includes("BF16 in a, F32 in b; the values are equal"));
    expect(cast.length > 0).toBe(one.name === "gpt_oss/torchtitan-0.2");
    expect(result.layout).toBe(one.layout);
  });
});

describe("norms that one trainer keeps around 0, in bf16", () => {
  const { hf } = fixture("qwen3_5/vision-tied-bf16");
  const [norm, head] = ["model.language_model.layers.0.linear_attn.norm.weight", "mtp.fc.weight"] as const;

  it("go through the layout that only moves them; through the other, if asked, what is rounded shows", async () => {
    expect(await trip(hf)).toMatchObject({ verdict: "pass", via: "torchtitan" });
    const checkpoint = openCheckpoint(hf);
    const result = await roundtrip(openModel(checkpoint, { adapters }), { to: "megatron" });
    checkpoint.close();
    expect(result).toMatchObject({ verdict: "fail", via: "megatron", differences: [{ key: norm, kind: "values" }] });
  });

  it("go through the layout that has a place for all the files hold", async () => {
    const own = fixture("qwen3_5_moe/megatron").hf;
    expect([...readState(own).keys()]).toContain(head);
    expect(await trip(own)).toMatchObject({ verdict: "pass", via: "megatron", dropped: [] });
  });
});

describe("what must fail", () => {
  const { hf } = fixture("llama3/split");

  /** A table that is another one on the way back: gate and up change places. */
  function fickle({ layouts: [native] }: Family): Table {
    const swapped = native.rules().map((rule) => {
      const takes = (name: string) => rule.kind === "map" && rule.native.some(({ key }) => key.endsWith(name));
      const [from, to] = takes("w1.weight") ? ["gate", "up"] : takes("w3.weight") ? ["up", "gate"] : ["", ""];
      return rule.kind === "map"
        ? { ...rule, hf: rule.hf.map((term) => ({ ...term, key: term.key.replace(from, to) })) }
        : rule;
    });
    const [right, wrong] = [tableOf(native, new Map()), compileTable(swapped, native.axes())];
    const plan: Table["plan"] = (direction, ...rest) => (direction === "toHf" ? wrong : right).plan(direction, ...rest);
    return { ...right, plan };
  }

  it("finds gate and up swapped on one of the two ways", async () => {
    const checkpoint = openCheckpoint(hf);
    const model = openModel(checkpoint, { adapters });
    const result = await roundtrip({ ...model, table: fickle(model.family) });
    checkpoint.close();
    expect(result.verdict).toBe("fail");
    expect(result.differences.map(({ key }) => key).sort()).toEqual(
      [0, 1].flatMap((l) => ["gate", "up"].map((name) => `model.layers.${l}.mlp.${name}_proj.weight`)),
    );
    expect(result.differences[0]!.detail).toMatch(/elements differ, first at \[0, 0\]/);
  });

  it("refuses a stale tied head", async () => {
    const tied = fixture("llama3/fused-tied");
    const state = readState(tied.native);
    state.set("lm_head.weight", flipped(state.get("lm_head.weight")!));
    const path = writeDcp(join(scratch(), "native"), state);
    await expect(trip(path, tied.hf)).rejects.toThrow(expect.objectContaining({ code: "TIE_BROKEN" }));
  });

  it("refuses a way that does not lead back", async () => {
    const checkpoint = openCheckpoint(hf);
    await expect(roundtrip(openModel(checkpoint, { adapters }), { to: "hf" })).rejects.toThrow(/no way there and back/);
    checkpoint.close();
  });
});
