// What a check came to, as every report and JSON document says it.

/**
 * A check that could not see what it is for is `not checked`: it is shown, and never counts as passed. So it is where one
 * config served both sides, or where no token chose an expert.
 */
export type CheckStatus = "passed" | "failed" | "not checked";

export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  readonly detail?: string;
}
