// Files of Qwen3.5 with a tensor for each expert, as transformers saves a model that it made itself.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { readState, type State, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { hfSide, withCheckpoint } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const STACK = /^(.*\.experts)\.(gate_up|down)_proj$/;

/** Cuts the stacks of a state: rows of the gate lie above those of up. */
function unstacked(state: State): State {
  const cut = (key: string, { dtype, shape, bytes }: Stored): [string, Stored][] => {
    const match = STACK.exec(key);
    if (match === null) return [[key, { dtype, shape, bytes }]];
    const [, prefix, kind] = match;
    const [experts = 0, rows = 0, columns = 0] = shape;
    const names = kind === "down" ? ["down_proj"] : ["gate_proj", "up_proj"];
    const size = bytes.length / experts / names.length;
    return Array.from({ length: experts }, (_, e) =>
      names.map((name, i): [string, Stored] => [
        `${prefix}.${e}.${name}.weight`,
        {
          dtype,
          shape: [rows / names.length, columns],
          bytes: bytes.slice((e * names.length + i) * size, (e * names.length + i + 1) * size),
        },
      ]),
    ).flat();
  };
  return new Map([...state].flatMap(([key, tensor]) => cut(key, tensor)));
}

describe.each(["qwen3_5_moe/text", "qwen3_5_moe/vision"])("%s", (name) => {
  const one = fixture(name);
  const written = (edit: (state: State) => void = () => undefined) => {
    const state = unstacked(readState(one.hf));
    edit(state);
    return writeSafetensors(join(scratch(), "hf"), state, {
      config: join(one.hf, "config.json"),
      maxShardSize: 20_000,
    });
  };

  test("become what the stacked ones become, and come back as they were", async () => {
    const source = written();
    expect(readState(source).size).toBeGreaterThan(readState(one.hf).size + 20);
    const native = join(scratch(), "native");
    await converted(source, native);
    const same = join(scratch(), "same");
    await converted(one.hf, same);
    expect(sorted(hashes(native))).toEqual(sorted(hashes(same)));
    const back = join(scratch(), "back");
    await converted(native, back);
    expect([...hashes(back)]).toEqual([...hashes(source)]);
    const options = { a: { adapters }, b: { adapters } };
    for (const other of [one.hf, native, same]) {
      const [a, b] = [openCheckpoint(source), openCheckpoint(other)];
      expect(await diff(a, b, options)).toMatchObject({ verdict: "pass", differences: [] });
    }
  });

  test("run as the stacked ones do, and a wrong one shows", async () => {
    const side = (edit?: (state: State) => void) => withCheckpoint(hfSide(name), openCheckpoint(written(edit)));
    const images = one.inputs === null ? {} : { input: { kind: "inputs", file: one.inputs } as const };
    const compare = (a: ReturnType<typeof side>) => runParity({ a, golden: one.golden, backend: "cpu", ...images });
    expect(await compare(side())).toMatchObject({ verdict: "pass", findings: [], unusedTensors: [] });
    const swapped = side((state) => {
      const [a, b] = [2, 3].map((e) => [...state.keys()].find((key) => key.includes(`.experts.${e}.down_proj`))!);
      const kept = state.get(a!)!;
      state.set(a!, state.get(b!)!).set(b!, kept);
    });
    expect(await compare(swapped)).toMatchObject({ verdict: "fail" });
  });

  test("one expert missing, one too many, one changed", async () => {
    const key = [...unstacked(readState(one.hf)).keys()].findLast((name) => /\.experts\.\d+\.up_proj\./.test(name))!;
    const fails = (edit: (state: State) => void) => converted(written(edit), join(scratch(), "out"));
    await expect(fails((state) => state.delete(key))).rejects.toMatchObject({
      code: "MISSING_TENSOR",
      details: { tensor: key },
    });
    const more = key.replace(/\.experts\.\d+\./, ".experts.40.");
    await expect(fails((state) => state.set(more, state.get(key)!))).rejects.toMatchObject({
      code: "UNKNOWN_TENSOR",
      details: { tensor: more },
    });
    const changed = written((state) => {
      const tensor = state.get(key)!;
      state.set(key, { ...tensor, bytes: tensor.bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte)) });
    });
    const [a, b] = [openCheckpoint(changed), openCheckpoint(one.hf)];
    const found = await diff(a, b, { a: { adapters }, b: { adapters } });
    expect(found.differences.map((one) => one.key)).toEqual([key.replace(/\.\d+\.up_proj\.weight$/, ".gate_up_proj")]);
  });
});
