import { describe } from "vitest";
import { wholeModels } from "../whole-models.ts";

describe("whole models", () => wholeModels("wasm"));
