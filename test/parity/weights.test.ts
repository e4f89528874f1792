// What was done to a weight, named in the report's cause.
import { describe, expect, test } from "vitest";
import { runParity } from "../../src/parity/parity.ts";
import type { ParitySide } from "../../src/parity/side.ts";
import { bytesOf, hfSide, mutated, nativeSide, reordered } from "../helpers/models.ts";

const hf = hfSide("llama3/split");
const key = (name: string, layer = 1) => `model.layers.${layer}.${name}.weight`;

const causeOf = async (b: ParitySide, a = nativeSide("llama3/split")) => {
  const { verdict, cause } = await runParity({ a, b, backend: "cpu" });
  expect(verdict).toBe("fail");
  return cause;
};

/** Each value of an f32 tensor by a function of it. */
function recalculated(side: ParitySide, name: string, f: (x: number, i: number) => number): ParitySide {
  const bytes = bytesOf(side.checkpoint, name);
  const values = new Float32Array(bytes.buffer);
  values.set(values.map((x, i) => f(x, i)));
  return mutated(side, { [name]: { bytes } });
}

/** llama3/split: heads of 10 channels. */
const toAdjacent = (row: number) => row - (row % 10) + 5 * ((row % 10) % 2) + Math.floor((row % 10) / 2);

describe("the cause names the tensor, and what was done to it", () => {
  test("rotary embedding of the other order", async () => {
    const name = key("self_attn.k_proj", 0);
    const b = mutated(hf, { [name]: { bytes: reordered(hf.checkpoint, name, toAdjacent) } });
    const cause = await causeOf(b);
    expect(cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [name] });
    expect(cause?.explanation).toContain("heads of 10 channels");
  });

  test("rows in string order", async () => {
    const name = key("mlp.up_proj");
    const rows = hf.checkpoint.tensors.get(name)!.shape[0]!;
    const order = Array.from({ length: rows }, (_, row) => row).sort((x, y) => (`${x}` < `${y}` ? -1 : 1));
    const cause = await causeOf(
      mutated(hf, { [name]: { bytes: reordered(hf.checkpoint, name, (row) => order[row]!) } }),
    );
    expect(cause).toMatchObject({ code: "ROWS_REORDERED", tensors: [name] });
  });

  test("gate and up exchanged", async () => {
    const [gate, up] = [key("mlp.gate_proj"), key("mlp.up_proj")];
    const swapped = mutated(hf, {
      [gate]: { bytes: bytesOf(hf.checkpoint, up) },
      [up]: { bytes: bytesOf(hf.checkpoint, gate) },
    });
    expect(await causeOf(swapped)).toMatchObject({ code: "TENSORS_SWAPPED", tensors: [gate, up] });
  });

  test("a scale that was not applied, an offset, a cast, other values", async () => {
    const name = key("mlp.down_proj");
    const bf16 = (x: number) => {
      const bits = new Uint32Array(Float32Array.of(x).buffer);
      bits[0] = (bits[0]! + 0x7fff) & 0xffff0000;
      return new Float32Array(bits.buffer)[0]!;
    };
    const codes = await Promise.all(
      [
        recalculated(hf, name, (x) => 448 * x),
        recalculated(hf, key("post_attention_layernorm"), (x) => x - 1),
        recalculated(hf, name, bf16),
        recalculated(hf, name, (x, i) => (i === 3 ? x + 1 : x)),
      ].map(async (side) => (await causeOf(side))?.code),
    );
    expect(codes).toEqual(["SCALED", "OFFSET", "ROUNDED", "WEIGHTS_DIFFER"]);
  });

  test("a square matrix transposed", async () => {
    const square = hfSide("hf_dense/olmo2");
    const found = [...square.checkpoint.tensors.values()].find(
      ({ shape, key }) => shape.length === 2 && shape[0] === shape[1] && key.startsWith("model.layers.0."),
    );
    const { key: name, shape, dtype } = found!;
    const [n, bytes] = [shape[0]!, bytesOf(square.checkpoint, found!.key)];
    const size = bytes.length / n ** 2;
    const turned = new Uint8Array(bytes.length);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++)
        turned.set(bytes.subarray((i * n + j) * size, (i * n + j + 1) * size), (j * n + i) * size);
    }
    expect(dtype).toMatch(/F/);
    const cause = await causeOf(mutated(square, { [name]: { bytes: turned } }), nativeSide("hf_dense/olmo2"));
    expect(cause).toMatchObject({ code: "TRANSPOSED", tensors: [name] });
  });
});
