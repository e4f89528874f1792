import { expect, test } from "vitest";
import { hubAddressOf, parseHubAddress } from "../../src/hub/address.ts";

const model = { type: "model", revision: null, path: "" } as const;

test.each([
  ["hf://acme/m-1.5_x", { ...model, repository: "acme/m-1.5_x" }],
  ["hf://models/acme/m/", { ...model, repository: "acme/m" }],
  ["HF://acme/m/sub/a.safetensors", { ...model, repository: "acme/m", path: "sub/a.safetensors" }],
  ["hf://acme/m@v1", { ...model, repository: "acme/m", revision: "v1" }],
  ["hf://acme/m@v1/sub", { ...model, repository: "acme/m", revision: "v1", path: "sub" }],
  ["hf://acme/m@refs/pr/12/sub", { ...model, repository: "acme/m", revision: "refs/pr/12", path: "sub" }],
  ["hf://acme/m@a%2Fb/sub", { ...model, repository: "acme/m", revision: "a/b", path: "sub" }],
  ["hf://acme/m/file@1.txt", { ...model, repository: "acme/m", path: "file@1.txt" }],
  ["hf://datasets/acme/goldens@v2/x", { type: "dataset", repository: "acme/goldens", revision: "v2", path: "x" }],
])("%s", (text, expected) => {
  expect(parseHubAddress(text)).toEqual(expected);
  expect(parseHubAddress(hubAddressOf(parseHubAddress(text)))).toEqual(expected);
});

test.each([
  "hf://",
  "hf://acme",
  "hf://acme/m@",
  "hf://acme/m@/x",
  "hf://acme/..",
  "hf://acme/m/../../etc",
  "hf://acme/m//x",
  "hf://spaces/acme/m",
  "hf://buckets/acme/m",
  "hf://acme/m@%zz",
  "hf://ac me/m",
])("%s is none", (text) => {
  expect(() => parseHubAddress(text)).toThrow(expect.objectContaining({ code: "HUB_ADDRESS" }));
});
