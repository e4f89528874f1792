// Three ranks' shards of torch's HuggingFaceStorageWriter, under fixtures/dcp.
import { readdirSync } from "node:fs";
import { DCP_FIXTURES } from "../dcp/expected.ts";

const folder = `${DCP_FIXTURES}hf-shards/ckpt`;

export const HF_SHARDS = { name: "hf-shards", folder, names: readdirSync(folder).sort() } as const;
