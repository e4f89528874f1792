import { basename } from "node:path";
import { expect, it } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { targetAt } from "../../src/output/target.ts";

it.each([
  ...[
    "model.gguf",
    "u.bin",
    "pytorch_model.bin",
    "u.ckpt",
    "u.ckpt/",
    "u.onnx",
    "U.GGUF",
    "model.safetensors.index.json",
  ],
  ...[
    "config.json",
    "__0_0.distcp",
    "x.metadata",
    "x.npz",
    "x.tar.gz",
    "x.zip",
    "x.nemo",
    "x.h5",
    "README.md",
    "x.pkl",
  ],
])("%s is no target: nothing of that kind is written", (path) => {
  for (const format of [undefined, "pt", "safetensors"] as const) {
    const error = (() => {
      try {
        return targetAt(`/models/${path}`, format, "dcp");
      } catch (thrown) {
        return thrown;
      }
    })();
    if (!(error instanceof UsageError)) return expect.fail(`${path} is accepted`);
    expect([error.code, error.exitCode]).toEqual(["TARGET_NAME", 2]);
    expect(error.details.expected).toMatch(/safetensors.*DCP.*\.pt/);
  }
});

it.each(["model", "Llama-3.1-8B", "step.1000", ".hidden", "v2.0", "model.d", "a.b.c", ".bin"])(
  "%s is a directory",
  (path) => {
    expect(targetAt(path, undefined, "dcp")).toEqual({ path, format: "dcp", fileName: null });
  },
);

it.each([
  ["m.safetensors", "safetensors"],
  ["dir/m.PT", "pt"],
  ["m.pth", "pt"],
])("%s is a file", (path, format) => {
  expect(targetAt(path, undefined, "dcp")).toEqual({ path, format, fileName: basename(path) });
});
