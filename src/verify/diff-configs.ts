// What a diff says of the configs: it compares tensors, and equal tensors under other configs are another model.
import { InputError } from "../base/errors.ts";
import { type ConfigDifference, compareConfigs, unreadDifferences } from "../family/config-differences.ts";
import type { Model } from "../model/model.ts";

export interface ConfigComparison {
  /** In what the forward pass computes, by the fields of config.json; null where nothing was compared. */
  readonly differences: readonly ConfigDifference[] | null;
  /** Fields that differ, and that no graph reads: they are not among the differences. */
  readonly unread: readonly string[];
  /** Why nothing was. */
  readonly reason: string | null;
}

const notCompared = (reason: string): ConfigComparison => ({ differences: null, unread: [], reason });

/** @param models null where a side has no config, or is of no known family */
export function configsOf(models: readonly [Model, Model] | null): ConfigComparison {
  if (models === null) return notCompared("a side has no config, or is of no known family");
  const [a, b] = models;
  if (a.stored.config.path === b.stored.config.path) return notCompared(`both sides use ${a.stored.config.path}`);
  try {
    const unread = unreadDifferences(a.family, b.family);
    return { differences: compareConfigs(a.family, b.family), unread, reason: null };
  } catch (error) {
    if (error instanceof InputError) return notCompared(error.message);
    throw error;
  }
}
