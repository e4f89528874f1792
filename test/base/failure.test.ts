import { expect, test } from "vitest";
import { failureOf } from "../../src/base/failure.ts";

test.each([
  "WebAssembly.Memory(): could not allocate memory",
  "WebAssembly.Instance(): Out of memory: Cannot allocate Wasm memory for new instance",
  "Array buffer allocation failed",
])("%s is told as a lack of memory", (message) => {
  const failure = failureOf(new RangeError(message));
  expect(failure).toMatchObject({ exitCode: 4, code: "ENOMEM" });
  expect(failure.details.help).toContain("ulimit -v");
});

test("whatever else is thrown is a defect", () => {
  expect(failureOf(new RangeError("Invalid array length"))).toMatchObject({ exitCode: 70, code: "INTERNAL" });
});
