// Where reports go: files by their extension, a format before the file, stdout, and the summary of a step on GitHub.
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { EnvironmentError, UsageError } from "../../base/errors.ts";
import type { ReportDocument } from "../../report/document.ts";
import { type Renderer, rendererFor, rendererOf } from "../../report/renderers.ts";

interface Target {
  /** Then nothing else may be there. */
  readonly isStdout: boolean;
  readonly write: (document: ReportDocument) => void;
}

interface Streams {
  stdout(text: string): void;
}

/**
 * What `--report` asks for, each time that it is given: `FILE`, `FORMAT:FILE`, or `-` for stdout, as Markdown unless a format
 * stands before it. The file that GITHUB_STEP_SUMMARY names is Markdown, and grows.
 */
export class ReportTargets {
  private readonly targets: Target[] = [];

  /** @param json whether stdout has the JSON document */
  constructor(
    private readonly json: boolean,
    private readonly streams: Streams,
  ) {}

  get isEmpty(): boolean {
    return this.targets.length === 0;
  }

  /** Whether stdout has a report, and nothing else. */
  get hasStdout(): boolean {
    return this.targets.some(({ isStdout }) => isStdout);
  }

  /** Throws UsageError REPORT_FORMAT_UNKNOWN, REPORT_STDOUT_TWICE: before anything has run. */
  add(text: string): void {
    const target = targetOf(text, this.streams);
    if (target.isStdout && (this.json || this.hasStdout)) {
      throw new UsageError("REPORT_STDOUT_TWICE", "stdout holds one document", {
        expected: "--json, or one --report to stdout",
        found: `${this.json ? "--json" : "another one"} and --report ${text}`,
        help: "write one of them to a file: --report FILE",
      });
    }
    this.targets.push(target);
  }

  /** Throws EnvironmentError REPORT_UNWRITABLE. */
  write(document: ReportDocument): void {
    for (const { write } of this.targets) write(document);
  }
}

function targetOf(text: string, { stdout }: Streams): Target {
  const [, format = "", name = text] = /^([a-z]+):(.+)$/s.exec(text) ?? [];
  const given = rendererOf(format);
  const file = given === undefined ? text : name;
  if (file === "-") {
    const render = given ?? rendererFor("-.md");
    return { isStdout: true, write: (document) => stdout(render(document)) };
  }
  const { GITHUB_STEP_SUMMARY: summary = "" } = process.env;
  if (summary !== "" && resolve(file) === resolve(summary)) {
    const render = given ?? rendererFor("summary.md");
    return { isStdout: false, write: written(file, render, (rendered) => appendFileSync(file, `${rendered}\n`)) };
  }
  const render = given ?? rendererFor(file);
  return { isStdout: false, write: written(file, render, (rendered) => writeFileSync(file, rendered)) };
}

function written(file: string, render: Renderer, write: (rendered: string) => void): Target["write"] {
  return (document) => {
    try {
      mkdirSync(dirname(file), { recursive: true });
      write(render(document));
    } catch (cause) {
      throw new EnvironmentError("REPORT_UNWRITABLE", `--report ${file}: ${causeOf(cause)}`, {
        file,
        help: "name a path that can be written",
        cause,
      });
    }
  };
}

const causeOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
