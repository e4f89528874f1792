// One forward pass of a Hugging Face checkpoint on ids of a file, a process of its own for forward.bench.mjs.
//   node forward-once.mjs MODEL IDS BACKEND     prints { argmax: [T], seconds: { … } }
import { readFileSync } from "node:fs";
import { adapters } from "../../dist/adapters/registry.js";
import { runForwards } from "../../dist/numerics/driver.js";
import { openModel } from "../../dist/src/model/model.js";
import { openCheckpoint } from "../../dist/src/model/open.js";
import { openBackend } from "../../dist/src/parity/backend.js";
import { SideWeights } from "../../dist/src/parity/side.js";

const [path, idsFile, choice] = process.argv.slice(2);
const checkpoint = openCheckpoint(path);
const model = openModel(checkpoint, { adapters });
const { layout } = model;
const weights = new SideWeights(model);
const input = { ids_T: JSON.parse(readFileSync(idsFile, "utf8")) };
const forward = layout.forward();
const plan = weights.plan(forward, input);
const { backend } = await openBackend(choice, plan.flops);
const argmax = [];
const side = { forward, plan, weight: (key) => weights.weight(key), has: (key) => weights.has(key) };
await runForwards(backend, [side], input, {
  logits(_, [block]) {
    const vocab = plan.logits[1];
    for (let row = 0; row < block.length; row += vocab) {
      let best = 0;
      for (let i = 1; i < vocab; i++) if (block[row + i] > block[row + best]) best = i;
      argmax.push(best);
    }
  },
});
await backend.close();
checkpoint.close();
console.log(JSON.stringify({ argmax, flops: plan.flops, backendBytes: backend.peakBytes }));
