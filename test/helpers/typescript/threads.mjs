// Lets threads that begin with a file of TypeScript load it: Node 20 does not by itself. Nothing else pays for it.
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

if (!isMainThread && process.argv[1]?.endsWith(".ts")) register("./hooks.mjs", import.meta.url);
