// What a match looked at, check by check.
import type { Check } from "../../base/check.ts";
import type { Difference } from "../../views/difference.ts";
import type { ConfigMatch } from "./compare-config.ts";
import type { StoredComparison } from "./compare-stored.ts";

const OF_TENSORS: Readonly<Record<string, readonly Difference["kind"][]>> = {
  "the tensors of the seal, and no other": ["missing", "extra"],
  "same shapes": ["shape"],
  "same element types": ["dtype"],
  "same values": ["values"],
  "ties and buffers as they should be": ["tie", "dropped"],
};

export function checksOf(differences: readonly Difference[], config: ConfigMatch, stored: StoredComparison): Check[] {
  const ofTensors = Object.entries(OF_TENSORS).map(([name, kinds]) => {
    const count = differences.filter(({ kind }) => kinds.includes(kind)).length;
    return count === 0 ? passed(name) : failed(name, `${count} ${count === 1 ? "tensor" : "tensors"}`);
  });
  return [...ofTensors, ...storedCheck(stored), configCheck(config)];
}

const passed = (name: string): Check => ({ name, status: "passed" });
const failed = (name: string, detail: string): Check => ({ name, status: "failed", detail });

function storedCheck({ status, reason, differences }: StoredComparison): Check[] {
  const name = "same codes and scales";
  if (status === "none") return [];
  if (status === "not checked") return [{ name, status, detail: reason ?? "" }];
  return [differences.length === 0 ? passed(name) : failed(name, `${differences.length} of them`)];
}

function configCheck({ differences, reason }: ConfigMatch): Check {
  const name = "the config gives the same mathematics";
  if (differences === null) return { name, status: "not checked", detail: reason ?? "" };
  if (differences.length === 0) return passed(name);
  return failed(name, differences.map(({ field }) => field).join(", "));
}
