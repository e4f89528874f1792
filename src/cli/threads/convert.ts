// A thread of `convert`: plans the same again, and makes what nobody has taken.
import { parentPort, workerData } from "node:worker_threads";
import "../../hub/serve.ts";
import { loadAdapters } from "../../../adapters/load.ts";
import type { CrewData } from "../../convert/crew/messages.ts";
import { serveCrew } from "../../convert/crew/serve.ts";
import { planConversion } from "../../convert/plan.ts";
import { openCheckpoint } from "../../model/open.ts";

const data: CrewData = workerData;
if (parentPort !== null) {
  // What it throws ends the thread, and whoever started it is told. The bundle is no module that could wait for it.
  void serveCrew(parentPort, data, async () => {
    const { source, target, adapters, options } = data.from;
    return planConversion(openCheckpoint(source), target, { ...options, adapters: await loadAdapters(adapters) });
  });
}
