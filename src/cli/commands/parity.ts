import { formatBytes, formatSeconds, plural } from "../../report/units.ts";
import type { ParityReport } from "../../verify/parity.ts";
import type { BackendChoice } from "../../verify/parity-backend.ts";
import type { NoiseFloor } from "../../verify/parity-noise.ts";
import type { RoutingReport } from "../../verify/parity-routing.ts";
import type { Command, Outcome } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { flag, pairOptions, text } from "../options.ts";
import { inputsOf, tokenizerBeside, tokenTexts } from "../parity-inputs.ts";
import { sideOptionsOf } from "../side-options.ts";
import { withCheckpoints } from "../with-checkpoints.ts";

const BACKENDS = ["auto", "webgpu", "wasm", "cpu"] as const satisfies readonly BackendChoice[];

/** Runs one or two checkpoints forward and compares the logits: the proof that a conversion is right. */
export const parity: Command = {
  usage: "parity <a> [b]",
  describe: "Run forward and compare logits: a against b, or against --golden",
  positionals: { a: "a checkpoint's directory or file", b: "another one of the same model" },
  options: {
    ids: text("JSON array of token ids; repeatable"),
    prompt: text("Text, or @FILE; repeatable"),
    prompts: text("Many prompts: a JSON array of strings (.json), or a text of one a line"),
    "chat-template": flag("Put the prompt into the checkpoint's chat template, as a user's message"),
    image: text("PNG or JPEG file that goes with each prompt, for models that see; repeatable"),
    tokenizer: text("tokenizer.json, or a directory holding one [the checkpoint's]"),
    inputs: text(
      "safetensors with input_ids; for models that see also pixel_values, image_grid_thw, position_ids; repeatable",
    ),
    golden: text("safetensors with input_ids and logits to compare with"),
    "save-logits": text("Write input_ids, logits_a and logits_b as safetensors"),
    backend: text("auto, webgpu, wasm or cpu (f64) [auto]"),
    tokens: text("Number of random ids [512]"),
    routing: text("free or pinned: whether the second side takes the first one's experts [free]"),
    localise: flag("Name the first place where the sides part, whatever the verdict"),
    "accept-known": flag("Let known differences between the upstreams pass"),
    "max-kl": text("Largest mean KL in nats per token [1e-8]"),
    "min-top1": text("Smallest share of positions with the same most likely token"),
    "max-ram": text("Memory that the run may take; impossible limits are refused up front"),
    ...pairOptions,
  },
  examples: [
    ["parity step-1000 my-model --config Qwen3-8B", "what a trainer saved against what was converted"],
    ["parity my-model --golden golden.safetensors", "against logits that transformers computed"],
    ['parity step-1000 my-model --prompt "The quick brown fox"', "on a text"],
    ['parity a b --chat-template --image cat.jpg --prompt "What is this?"', "on a question about an image"],
  ],
  async run(args, context) {
    const [adapters, { modelCheckpoint, resolveSide }, { decodedAlike }, { runParity }] = await Promise.all([
      loadAdapters(args),
      import("../../convert/sides.ts"),
      import("../../verify/decoded-alike.ts"),
      import("../../verify/parity.ts"),
    ]);
    const paths = [args.required("a"), args.text("b")].filter((path) => path !== undefined);
    return withCheckpoints(paths, async (checkpoints) => {
      const resolved = checkpoints.map((checkpoint, i) =>
        resolveSide(checkpoint, sideOptionsOf(args, adapters, i === 0 ? "a" : "b")),
      );
      const [first, second] = resolved;
      const alike = first && second ? decodedAlike([first, second]) : resolved;
      const sides = alike.map((side) => ({ ...side, checkpoint: modelCheckpoint(side) }));
      const report = await runParity({
        a: sides[0]!,
        b: sides[1],
        golden: args.text("golden"),
        input: await inputsOf(args, paths),
        backend: args.choice("backend", BACKENDS),
        maxKlNats: args.number("max-kl", 0),
        minTop1: args.number("min-top1", 0),
        saveLogits: args.text("save-logits"),
        localise: args.flag("localise"),
        acceptKnown: args.flag("accept-known"),
        maxRamBytes: args.size("max-ram"),
        routing: args.choice("routing", ["free", "pinned"] as const),
        signal: context.signal,
        onProgress: ({ done, total }) => context.progress({ label: "forward", done, total, unit: "FLOP" }),
      });
      return outcome(report, await tokenTexts(report.nextTokens, tokenizerBeside(args, paths)));
    });
  },
};

const tokenName = (id: number, texts: ReadonlyMap<number, string>): string =>
  texts.has(id) ? `${JSON.stringify(texts.get(id))} (${id})` : String(id);

const beginning = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 48 ? line : `${line.slice(0, 47)}…`;
};

const scientific = (x: number): string => (x === 0 ? "0" : x.toExponential(2));
const percent = (x: number): string => `${(100 * x).toFixed(x === 1 ? 0 : 2)} %`;

function outcome(report: ParityReport, texts: ReadonlyMap<number, string>): Outcome {
  const { metrics, thresholds, verdict, findings, firstDivergence, cause } = report;
  return {
    json: report,
    document: {
      command: "parity",
      verdict,
      headline: headline(report),
      facts: facts(report),
      checks: [
        {
          name: `mean KL at most ${scientific(thresholds.klMeanNats)} nats/token (${thresholds.origin} limit)`,
          status: findings.some(({ code }) => code === "KL") ? "fail" : "pass",
          detail: `${scientific(metrics.klMeanNats)}${isAccepted(report) ? ", known upstream differences accepted" : ""}`,
        },
        ...findings
          .filter(({ code }) => code !== "KL")
          .map(({ code, message }) => ({ name: code, status: "fail" as const, detail: message })),
      ],
      tables: [
        {
          title: "KL by position",
          columns: [
            { name: "positions" },
            { name: "mean (nats)", align: "right" },
            { name: "largest (nats)", align: "right" },
          ],
          rows: report.positions.bands.map(({ begin, end, klMeanNats, klMaxNats }) => [
            end - begin === 1 ? `${begin}` : `${begin} – ${end - 1}`,
            scientific(klMeanNats),
            scientific(klMaxNats),
          ]),
        },
        {
          title: "Inputs",
          columns: [
            { name: "" },
            { name: "tokens", align: "right" },
            { name: "mean KL (nats)", align: "right" },
            { name: "largest (nats)", align: "right" },
            { name: "top-1", align: "right" },
          ],
          rows: (report.inputs.prompts ?? []).map(({ source = "", tokens, klMeanNats, klMaxNats, top1 }, i) => [
            `${i + 1} ${beginning(source)}`,
            `${tokens}`,
            scientific(klMeanNats),
            scientific(klMaxNats),
            percent(top1),
          ]),
        },
        {
          title: `Likeliest next tokens${report.inputs.prompts ? ", behind the last input" : ""}`,
          columns: [{ name: "a" }, { name: "", align: "right" }, { name: "b" }, { name: "", align: "right" }],
          rows: report.nextTokens.a.map((a, i) => {
            const b = report.nextTokens.b[i]!;
            return [tokenName(a.id, texts), percent(a.probability), tokenName(b.id, texts), percent(b.probability)];
          }),
        },
        {
          title: "Known differences upstream",
          columns: [{ name: "code" }, { name: "mean KL (nats)", align: "right" }, { name: "source" }],
          rows: report.knownDifferences.map(({ code, klMeanNats, source }) => [code, scientific(klMeanNats), source]),
        },
      ],
      notes: [
        ...(report.backend.fallbackFrom
          ? [`fell back from ${report.backend.fallbackFrom}: ${report.backend.fallbackReason}`]
          : []),
        ...(report.inputs.note ? [report.inputs.note] : []),
        ...(report.inputs.prompts ?? []).flatMap(({ note }, i) => (note ? [`input ${i + 1}: ${note}`] : [])),
        ...(report.unexercisedTensors.length > 0
          ? [
              `${plural(report.unexercisedTensors.length, "tensor")} of the vision tower not exercised by this input: give --image or --inputs`,
            ]
          : []),
        ...(firstDivergence
          ? [
              `first difference at ${firstDivergence.tap}: relative error ${scientific(firstDivergence.added)} added, ${scientific(firstDivergence.inherited)} inherited; that step read ${firstDivergence.tensors.join(", ")}`,
            ]
          : []),
        ...(cause ? [`${cause.code}: ${cause.explanation} (${cause.evidence}); ${cause.fix}`] : []),
      ],
    },
  };
}

/** Whether it passes only as known differences count for nothing. */
const isAccepted = ({ verdict, metrics, thresholds }: ParityReport): boolean =>
  verdict === "pass" && metrics.klMeanNats > thresholds.klMeanNats;

function headline(report: ParityReport): string {
  const { verdict, verdictWithoutKnown, metrics, thresholds, findings, knownDifferences } = report;
  const kl = `mean KL ${scientific(metrics.klMeanNats)} nats/token over ${plural(metrics.tokens, "token")}`;
  const codes = knownDifferences.map(({ code }) => code).join(", ");
  if (isAccepted(report)) return `the same model but for known upstream differences (${codes}): ${kl}`;
  if (verdict === "pass") return `the same model: ${kl}, limit ${scientific(thresholds.klMeanNats)}`;
  const only = `known upstream differences alone (${codes}); --accept-known lets them pass`;
  return `NOT the same model: ${findings[0]?.message ?? kl}${verdictWithoutKnown === "pass" ? `: ${only}` : ""}`;
}

function routingText({ mode, choices, flipped, largestFlippedMargin, smallestMargin }: RoutingReport): string {
  const margin = `smallest margin ${scientific(smallestMargin)}`;
  if (flipped === null) return margin;
  const flips = `${flipped} of ${choices} choices differ${mode === "pinned" ? " (pinned to those of a)" : ""}`;
  return largestFlippedMargin === null
    ? `${flips}, ${margin}`
    : `${flips}, by a margin of at most ${scientific(largestFlippedMargin)}`;
}

const noiseText = ({ klMeanNats, klMaxNats, side, tokens }: NoiseFloor): string =>
  `mean KL ${scientific(klMeanNats)}, largest ${scientific(klMaxNats)} of rounding alone (${side} summed in two orders, ${plural(tokens, "token")})`;

function facts(report: ParityReport) {
  const { a, b, backend, inputs, metrics, memory, reference, positions, routing, noiseFloor } = report;
  const side = ({ path, family, layout, format, dtype, encoding }: ParityReport["a"]) => {
    const kind = family === null ? "recorded logits" : `${family}, ${layout}, ${format}`;
    return `${path} (${kind}, ${encoding === null ? dtype : `${encoding} decoded to ${dtype}`})`;
  };
  const { worst } = positions;
  return [
    { label: "a", value: side(a) },
    { label: "b", value: side(b) },
    { label: "reference", value: reference },
    {
      label: "input",
      value: `${inputs.prompts ? `${inputs.prompts.length} × ` : ""}${inputs.kind}, ${plural(inputs.tokens, "token")}${inputs.images ? `, ${plural(inputs.images, "image")}` : ""}`,
    },
    {
      label: "backend",
      value:
        backend.adapter === null
          ? `${backend.name} (${backend.name === "cpu" ? "f64" : "f32"}${backend.library ? `, matrix products by ${backend.library}` : ""})`
          : `${backend.name}, ${backend.adapter}`,
    },
    {
      label: "KL (nats/token)",
      value: `mean ${scientific(metrics.klMeanNats)}, 95 % ${scientific(metrics.klP95Nats)}, 99 % ${scientific(metrics.klP99Nats)}, largest ${scientific(metrics.klMaxNats)} at position ${worst.position}${worst.prompt === undefined ? "" : ` of input ${worst.prompt + 1}`}`,
    },
    {
      label: "agreement",
      value: `top-1 ${percent(metrics.top1)}, top-5 ${percent(metrics.top5)}${metrics.ties > 0 ? `, ${plural(metrics.ties, "tie")} let pass` : ""}`,
    },
    {
      label: "logits",
      value: `largest difference ${scientific(metrics.maxAbsDiff)}, smallest cosine ${metrics.cosineMin.toFixed(9)}`,
    },
    ...(noiseFloor === null ? [] : [{ label: "noise floor", value: noiseText(noiseFloor) }]),
    ...(routing === null ? [] : [{ label: "routing", value: routingText(routing) }]),
    {
      label: "took",
      value: `${formatSeconds(report.seconds)}, ${formatBytes(report.peakRamBytes)} of memory (${formatBytes(memory.backendPeakBytes)} on the backend)`,
    },
  ];
}
