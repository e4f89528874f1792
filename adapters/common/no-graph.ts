import { InputError } from "../../src/base/errors.ts";

/** For families whose tables are here and whose forward graphs are not, and for layouts that none is written for. */
export function noGraph(family: string, layout?: string): never {
  if (layout === undefined) {
    throw new InputError("NO_GRAPH", `${family}: there is no forward graph of this family yet`, {
      expected: "a family with graphs (see `convert-checkpoint families`)",
      found: family,
      help: "use `roundtrip`, `diff` and `validate`, which need no graph",
    });
  }
  throw new InputError("NO_GRAPH", `${family}: there is no forward graph of layout ${layout}`, {
    expected: "hf or a torchtitan layout",
    found: layout,
    help: "convert it to hf first and compare that: `diff` shows that both hold the same weights",
  });
}
