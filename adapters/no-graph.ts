import { InputError } from "../src/errors.ts";

/** For families whose tables are here and whose forward graphs are not. */
export function noGraph(family: string): never {
  throw new InputError("NO_GRAPH", `${family}: there is no forward graph of this family yet`, {
    expected: "a family with graphs (see `convert-checkpoint families`)",
    found: family,
    help: "use `roundtrip`, `diff` and `validate`, which need no graph",
  });
}
