import { doctorDocument } from "../../../report/views/doctor.ts";
import type { Command } from "../../command.ts";

/** Backends, adapters, limits and versions found on this machine. */
export const doctor: Command = {
  usage: "doctor",
  describe: "Backends, adapters, limits, versions found on this machine",
  positionals: {},
  options: {},
  examples: [],
  async run() {
    const [{ adapters }, { doctor: diagnose }] = await Promise.all([
      import("../../../../adapters/registry.ts"),
      import("../../../parity/doctor.ts"),
    ]);
    return doctorDocument(await diagnose(adapters));
  },
};
