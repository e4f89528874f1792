// A sharded model that no other test has: the Hub keeps large files once, whatever repository they were sent for.
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fixture } from "../fixtures.ts";
import { scratch } from "../scratch.ts";

let made = 0;

/** In a folder of its own, which goes when the test ends: four shards, each with a last weight that no other has. */
export function ownSharded(): string {
  made += 1;
  const copy = join(scratch(), "model");
  cpSync(`${fixture("llama3/split").hf}-sharded`, copy, { recursive: true });
  for (const file of readdirSync(copy).filter((name) => name.endsWith(".safetensors"))) {
    const bytes = readFileSync(join(copy, file));
    bytes.writeUInt32LE(made, bytes.length - 4);
    writeFileSync(join(copy, file), bytes);
  }
  return copy;
}
