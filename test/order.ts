// How the test files are run: which need a process of their own, and which are begun first.

/** Files that change what a process keeps: modules in place of others, or the environment that Dawn reads once. */
export const ALONE: readonly string[] = [
  "test/model/counts.test.ts",
  "test/numerics/webgpu/matrices.test.ts",
  "test/numerics/webgpu/matrix-sizes.test.ts",
  "test/numerics/webgpu/no-adapter.test.ts",
  "test/numerics/webgpu/subgroup-width.test.ts",
  "test/numerics/webgpu/tile-family.test.ts",
  "test/parity/fallback.test.ts",
  "test/report/lazy.test.ts",
  "test/verify/faults.test.ts",
  "test/verify/sizes-in-configs.test.ts",
];

/** Files that take ten seconds and more, the longest first: one that is begun last runs while the other cores are idle. */
export const LONGEST: readonly string[] = [
  "test/parity/parity.test.ts",
  "test/convert/ledger.test.ts",
  "test/numerics/webgpu/model.test.ts",
  "test/trust/sample.test.ts",
  "test/acceptance/prove.test.ts",
  "test/acceptance/convert.test.ts",
  "test/convert/convert.test.ts",
  "test/numerics/wasm/model.test.ts",
  "test/cli/process.test.ts",
  "test/verify/run-time-order.test.ts",
  "test/model/detect.test.ts",
  "test/adapters/qwen3_5/graph.test.ts",
  "test/convert/init.test.ts",
  "test/convert/crew.test.ts",
  "test/numerics/wasm/onnx.test.ts",
  "test/scripts/docs.test.ts",
  "test/cli/parity-encodings.test.ts",
  "test/acceptance/faults.test.ts",
  "test/verify/roundtrip.test.ts",
  "test/output/swap.test.ts",
  "test/adapters/qwen3_vl/graph.test.ts",
  "test/docs/library.test.ts",
  "test/parity/hypotheses/golden.test.ts",
  "test/adapters/vllm.test.ts",
  "test/convert/critical.test.ts",
  "test/gate/check.test.ts",
  "test/hub/commands.test.ts",
  "test/acceptance/action.test.ts",
  "test/acceptance/packages.test.ts",
];
