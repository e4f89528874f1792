import { describeGpu } from "../../helpers/gpu.ts";
import { wholeModels } from "../whole-models.ts";

describeGpu("whole models", () => wholeModels("webgpu"));
