import { expect, test } from "vitest";
import { unpickle } from "../../../src/formats/pickle/unpickle.ts";
import { PickleObject, PicklePersistent } from "../../../src/formats/pickle/value.ts";
import { PickleWriter } from "../../../src/formats/pickle/write.ts";
import { TENSOR_GLOBALS, type TensorView, tensorView } from "../../../src/formats/torch/rebuild.ts";
import { isTensor } from "../../../src/formats/torch/tensor-types.ts";
import { writeTensor } from "../dcp/tamper.ts";

const where = { file: "file.pt", tensor: "t" };

function viewOf(write: (w: PickleWriter) => void): TensorView {
  const w = new PickleWriter();
  write(w);
  const options = {
    where,
    globals: TENSOR_GLOBALS,
    persistent: (id: PicklePersistent["id"]) => new PicklePersistent(id),
  };
  const { value } = unpickle(w.end(), options);
  if (!(value instanceof PickleObject) || !isTensor(value)) throw new Error("no tensor");
  return tensorView(value, where);
}

const PLAIN: TensorView = {
  dtype: "F32",
  shape: [4, 3],
  strides: [3, 1],
  offset: 0,
  storage: { key: "0", byteLength: 48 },
};

const hooks = (w: PickleWriter) => (): void => w.call("collections OrderedDict");

test("a parameter is the tensor it wraps, with or without attributes", () => {
  const wrapped = (w: PickleWriter) => (): void => writeTensor(w, {});
  expect(viewOf((w) => w.call("torch._utils _rebuild_parameter", wrapped(w), () => w.bool(true), hooks(w)))).toEqual(
    PLAIN,
  );
  expect(
    viewOf((w) =>
      w.call(
        "torch._utils _rebuild_parameter_with_state",
        wrapped(w),
        () => w.bool(true),
        hooks(w),
        () => w.dict([], () => {}),
      ),
    ),
  ).toEqual(PLAIN);
});

test("a parameter of a parameter, and one of nothing, are refused", () => {
  const nested = (w: PickleWriter): void =>
    w.call("torch._utils _rebuild_parameter", () =>
      w.call("torch._utils _rebuild_parameter", () => writeTensor(w, {})),
    );
  expect(() => viewOf(nested)).toThrow("instead of a tensor");
  expect(() => viewOf((w) => w.call("torch._utils _rebuild_parameter", () => w.none()))).toThrow("wraps a none");
});

test("torch.Size is a tuple", () => {
  expect(viewOf((w) => writeTensor(w, { shape: [12], strides: [1] })).shape).toEqual([12]);
});

test("empty tensors may have any strides, and scalars have none", () => {
  expect(viewOf((w) => writeTensor(w, { shape: [0, 3], strides: [900, 1], count: 0 })).shape).toEqual([0, 3]);
  expect(viewOf((w) => writeTensor(w, { shape: [], strides: [], offset: 11 })).offset).toBe(11);
  expect(() => viewOf((w) => writeTensor(w, { shape: [], strides: [], offset: 12 }))).toThrow("beyond its storage");
});
